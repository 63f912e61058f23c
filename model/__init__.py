"""Models: from timed frames to text, spans and answers. The package imports `video`, but no index and no user interface."""
