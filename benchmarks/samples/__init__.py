"""Scripts that make the bundled samples."""
