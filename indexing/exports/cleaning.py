"""Remove characters from text that break a file's structure or make readers see another text."""

import re

_LINE_SEPARATORS = re.compile("[\v\f\x1c-\x1f\x85\u2028\u2029]")
_UNSAFE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f\u202d\u202e\ufeff\ufff9-\ufffb]")
"""Control characters, overrides of the direction of text, byte order marks and interlinear annotations.

Marks, embeddings and isolates of direction stay: subtitles in Arabic and Hebrew need them.
"""


def clean_text(text: str) -> str:
    """Return a text without control characters and direction overrides; its line breaks and tabs stay."""
    return _UNSAFE.sub("", _LINE_SEPARATORS.sub("\n", text))


def one_line(text: str) -> str:
    """Return a cleaned text in one line, with single spaces."""
    return " ".join(clean_text(text).split())
