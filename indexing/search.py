"""Words and vectors -> moments, best first."""

import re
from dataclasses import dataclass

from longview.indexing.library import Library
from longview.indexing.vectors import VectorIndex
from longview.video.timeline import Span

MAX_CANDIDATES = 200
"""How many captions each way of searching may propose."""
MIN_COSINE = 0.3
"""Cosine below which a caption that shares no word with the query is left out: unrelated English sentences were at
0.1 to 0.25 with this encoder."""
_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "at",
        "be",
        "by",
        "do",
        "does",
        "for",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "that",
        "the",
        "there",
        "this",
        "to",
        "was",
        "what",
        "when",
        "where",
        "who",
        "with",
    ]
)


@dataclass(frozen=True)
class Moment:
    """A place in a video that a query means."""

    video_id: str
    title: str
    span: Span
    text: str
    score: float
    """0 to 1: half the likeness of meaning (cosine), half the part of the query's words that the caption has."""
    source: str
    """Where the text comes from: `caption`."""
    verified: bool | None = None
    """Whether a second look saw what the text says; None: it was not looked at again, or could not be."""


def captions_with_all_words(library: Library, query: str, video_id: str, *, limit: int = 50) -> tuple[int, ...]:
    """Ids of a video's captions that contain every word of a query, or inflections of them."""
    words = _words(query)
    return library.with_words(words, limit=limit, video_id=video_id, every=True)


def _words(query: str) -> list[str]:
    return [word for word in dict.fromkeys(re.findall(r"\w+", query.lower())) if word not in _STOP_WORDS]


def search(
    library: Library, vectors: VectorIndex, query: str, *, limit: int = 10, video_id: str | None = None
) -> tuple[Moment, ...]:
    """The moments of the library, or of one video, that fit a query in any of the encoder's languages."""
    words = _words(query)
    among = sorted(library.caption_ids(video_id)) if video_id else None
    likeness = dict(vectors.search(query, limit=max(MAX_CANDIDATES, limit), among=among))
    proposed = list(dict.fromkeys([*likeness, *library.with_words(words, limit=MAX_CANDIDATES, video_id=video_id)]))
    having = {word: library.filter_containing(word, proposed) for word in words}
    titles = {entry.video_id: entry.title for entry in library.videos()}
    moments = []
    for caption_id, caption in library.captions_by_id(proposed).items():
        share = sum(caption_id in ids for ids in having.values()) / max(1, len(words))
        cosine = likeness.get(caption_id, 0.0)
        if (share == 0 and cosine < MIN_COSINE) or caption.video_id not in titles:
            continue
        score = round(min(1.0, max(0.0, cosine)) / 2 + share / 2, 4)
        moments.append(
            Moment(caption.video_id, titles[caption.video_id], caption.event.span, caption.event.text, score, caption.source)
        )
    moments.sort(key=lambda moment: (-moment.score, moment.title, moment.span))
    return tuple(moments[:limit])
