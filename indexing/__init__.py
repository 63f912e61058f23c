"""The library: what is known of which video, words and vectors to find it by, and ways to take it out again."""
