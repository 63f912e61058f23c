"""Estimates of time and memory, compared with what was needed."""
