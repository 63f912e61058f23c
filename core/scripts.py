"""Writing systems: which scripts have no spaces between words, and where a sentence ends."""

import re

UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})
"""Languages that are written without spaces between words."""
UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Letters of scripts without spaces between words, as ranges of a regular expression. Korean has spaces."""
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
"""Letters and syllables of Korean, as ranges of a regular expression."""
CLOSING_MARKS = "\"'”’»)\\]」』）"
"""Marks that may follow the end of a sentence, as a part of a regular expression."""
MAX_ABBREVIATION_CHARACTERS = 12
"""Maximum length of what is read before a full stop to see whether it ends an abbreviation."""

_END = re.compile(rf"[.!?…。！？｡؟۔।॥።։][{CLOSING_MARKS}]*+$")
_BREAK = re.compile(rf"(?<=[.!?…؟۔।॥։።])[{CLOSING_MARKS}]{{0,3}}\s++|(?<=[。！？｡])[{CLOSING_MARKS}]{{0,3}}\s*+|\n++")
_ABBREVIATION = re.compile(
    r"\W{0,4}+(?:[^\W\d_]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|Vol|Fig|Nr|bzw|ca|e\.g|i\.e|z\.B|d\.h|u\.a|p\.ej|Sr|Jr|Gen|Col|Capt|Lt|Sgt|Rev)\."
)


def ends_sentence(word: str, following: str = "") -> bool:
    """Whether a word with its punctuation ends a sentence. `following`: the word after it; a lower-case one continues it."""
    if not _END.search(word):
        return False
    return not (word.endswith(".") and (following[:1].islower() or _ABBREVIATION.fullmatch(word)))


def sentence_ends(text: str) -> list[int]:
    """Return the indices after the sentences of a text but the last one, and after their space. A line break ends a sentence."""
    return [match.end() for match in _BREAK.finditer(text) if "\n" in match[0] or not _is_abbreviation(text, match.start())]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text with their marks, without the space around them, and without empty ones."""
    ends = [*sentence_ends(text), len(text)]
    parts = (text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False))
    return [part for part in parts if part]


def _is_abbreviation(text: str, end: int) -> bool:
    word = (text[max(0, end - MAX_ABBREVIATION_CHARACTERS) : end].split() or [""])[-1]
    return _ABBREVIATION.fullmatch(word) is not None
