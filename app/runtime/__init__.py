"""The loaded parts of an application: checkpoints, sessions, models of speech and text, vectors, and what they were made with."""
