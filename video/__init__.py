"""From a file to timed frames. Knows no model, no index and no interface."""
