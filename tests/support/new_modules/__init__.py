"""Modules that somebody would add to this program; tests put them in their places."""
