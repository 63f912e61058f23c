"""Answers that consist of quotes, for which no checkpoint is needed."""
