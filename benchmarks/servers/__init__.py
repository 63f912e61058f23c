"""Checks of model servers."""
