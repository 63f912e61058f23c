"""Text with times in a video and beside it, and transcripts that are aligned with speech."""
