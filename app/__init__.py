"""Joins video, model and library into the use cases of Longview, and offers them on the command line."""
