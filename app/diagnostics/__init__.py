"""Checks of the installation, of the library and of the weights."""
