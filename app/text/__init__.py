"""Texts about videos and tracks for users, on the command line and on the page."""
