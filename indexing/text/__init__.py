"""Texts as units of search: terms, sentences and passages."""
