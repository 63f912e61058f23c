"""Checkpoints on disk: their files, profiles and precision."""
