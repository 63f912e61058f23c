"""What a file is: its container, streams, durations and geometry."""
