"""Accuracy of the application: on rendered videos with known events, and on videos that users have labelled."""
