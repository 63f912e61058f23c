"""Whether two texts say the same, by their words."""

import re
from collections import Counter


MIN_TOKEN_F1 = 0.5
"""How alike their words must be; one event, seen in two halves, is often told in somewhat other words."""


def is_paraphrase(first: str, second: str) -> bool:
    """Whether two sentences may tell of one event in somewhat other words."""
    return token_f1(first, second) >= MIN_TOKEN_F1


def token_f1(first: str, second: str) -> float:
    """F-measure of the words that two sentences share, 0 to 1; for every language that parts its words."""
    words = [Counter(re.findall(r"\w+", text.lower())) for text in (first, second)]
    shared = sum((words[0] & words[1]).values())
    total = sum(words[0].values()) + sum(words[1].values())
    return 2 * shared / total if total else 0.0


_STOP_WORDS = frozenset(
    "a an the is are was were be being something someone anything there any in of on at to it its this that".split()  # noqa: SIM905
)


_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")


_ENDING = re.compile(r"(?:wards?|ing|es|s|e|ed)$")


def sentences(text: str) -> list[str]:
    """The sentences of a text, without their ends."""
    return [sentence for part in _SENTENCE_END.split(text) if (sentence := part.strip())]


def contains_query(query: str, description: str) -> bool:
    """Whether one of the sentences holds all words of the query, whatever their endings."""
    wanted = _stems(query)
    return bool(wanted) and any(wanted <= _stems(sentence) for sentence in sentences(description))


def _stems(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in words if word not in _STOP_WORDS}


def has_paraphrase(claim: str, description: str) -> bool:
    """Whether one of the sentences may tell of the same in somewhat other words."""
    return any(is_paraphrase(claim, sentence) for sentence in sentences(description))
