"""Frames, sound and text of a video, decoded in child processes with limits."""
