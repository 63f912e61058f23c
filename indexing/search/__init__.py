"""Search by words and by meaning, and what is found: moments, quotes, mentions, topics and entities."""
