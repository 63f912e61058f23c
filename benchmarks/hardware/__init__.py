"""Checks of an engine on the hardware at hand."""
