"""Estimates of the tokens of a text whose tokenizer is on a server: from above for plans, from below for proofs."""

import re

LETTERS_PER_TOKEN = 2
"""Minimum number of letters in one token of a word in Latin script; in transcripts it is about four."""
BYTES_PER_TOKEN = 2
"""Minimum number of bytes of UTF-8 in one token of other characters; in transcripts it is two to seven."""
MAX_BYTES_PER_TOKEN = 16
"""Maximum mean length of the tokens of a text, in bytes of UTF-8."""
_LATIN_WORD = re.compile("[A-Za-z]+")


def timestamp_tokens(time_s: float) -> int:
    """Count the tokens of a timestamp `<t seconds>` with vision start and end, as Qwen's tokenizer does.

    It gives one token to each character of the number, and three to the text around it.
    """
    return len(f"{time_s:.1f}") + 5


def max_text_tokens(text: str) -> int:
    """Estimate the tokens of a text from above.

    Qwen's tokenizer gives a digit or a mark at most one token. For text of words the other counts are upper limits: the estimate
    for transcripts in English and Korean is 1.7 to 1.8 times the real number. Random letters can have a quarter more tokens than
    estimated.
    """
    letters = sum(-(-len(word) // LETTERS_PER_TOKEN) for word in _LATIN_WORD.findall(text))
    others = _LATIN_WORD.sub(" ", text).split()
    return letters + sum(1 if mark.isascii() else -(-len(mark.encode()) // BYTES_PER_TOKEN) for mark in "".join(others))


def min_text_tokens(text: str) -> int:
    """Return the least tokens that a text can have."""
    return len(text.encode(errors="replace")) // MAX_BYTES_PER_TOKEN
