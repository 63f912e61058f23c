"""The library: videos and their captions, words and vectors to search them, and exports. The package imports no model."""
