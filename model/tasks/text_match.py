"""Compare texts by their words: parts of a text, words of a query, and paraphrases."""

import re
from collections import Counter

from longview.core.scripts import split_sentences

MIN_TOKEN_F1 = 0.5
"""Minimum F1 of the words of two sentences about one event: halves of an event are often described in other words."""
_STOP_WORDS = frozenset(
    "a an the is are was were be being something someone anything there any in of on at to it its this that".split()  # noqa: SIM905
)
_WORD = re.compile(r"\w++")
_ENDING = re.compile(r"(?:wards?|ing|es|s|e|ed)$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, without their closing marks."""
    return [sentence for part in split_sentences(text) if (sentence := part.rstrip(".!?…。！？").rstrip())]


def contains_query(query: str, description: str) -> bool:
    """Whether one sentence of a description has all words of the query, in any inflection."""
    stems = _stems(query)
    return bool(stems) and any(stems <= _stems(sentence) for sentence in sentences(description))


def has_paraphrase(claim: str, description: str) -> bool:
    """Whether one sentence of a description may be the claim in other words."""
    return any(is_paraphrase(claim, sentence) for sentence in sentences(description))


def is_paraphrase(first: str, second: str) -> bool:
    """Whether two sentences may describe one event in other words."""
    return token_f1(first, second) >= MIN_TOKEN_F1


def token_f1(first: str, second: str) -> float:
    """Return the F1 of the words that two sentences share, 0 to 1, in any language that separates its words."""
    words = [Counter(_WORD.findall(text.lower())) for text in (first, second)]
    shared_count = sum((words[0] & words[1]).values())
    total = sum(words[0].values()) + sum(words[1].values())
    return 2 * shared_count / total if total else 0.0


def _stems(text: str) -> set[str]:
    words = _WORD.findall(text.lower())
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in words if word not in _STOP_WORDS}
