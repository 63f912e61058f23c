"""The rows of tracks: segments, passages, versions and removals."""
