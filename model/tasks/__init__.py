"""What the application asks a model for: captions, occurrences of a query, answers, chapters."""
