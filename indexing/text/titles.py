"""Titles without case and accents: the form in which they are sorted and searched."""

import unicodedata
from functools import lru_cache

SORTED_CHARACTERS = 100
"""Length of the beginning of a title by which the videos are sorted, in characters: it is part of a cursor."""
FOLDED_TITLES = 1 << 12
"""Number of titles whose form without case and accents is kept: to make it takes longer than to compare it."""


@lru_cache(maxsize=FOLDED_TITLES)
def folded(text: str) -> str:
    """Return a text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def sort_title(title: str) -> str:
    """Return the text by which a title is sorted: its beginning without case and accents."""
    return folded(title)[:SORTED_CHARACTERS]
