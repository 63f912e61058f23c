"""Examination, recovery and copies of a database."""
