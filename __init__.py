"""Longview: questions about long videos, moments in a library of videos, and timestamped captions."""
