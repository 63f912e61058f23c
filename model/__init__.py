"""From timed frames to text, spans and answers. Knows `video`, but no index and no interface."""
