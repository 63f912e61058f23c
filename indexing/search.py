"""Search captions by words and vectors; return moments, best first."""

import re
from dataclasses import dataclass

from longview.indexing.library import Library
from longview.indexing.vectors import VectorIndex
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.timeline import Span

MAX_CANDIDATES = 200
"""Maximum number of captions that words and vectors propose each."""
MIN_COSINE = 0.3
"""Minimum cosine of a caption that shares no word with the query: unrelated English sentences had 0.1 to 0.25 with this
encoder."""
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
    """A span of a video that matches a query."""

    video_id: str
    title: str
    span: Span
    text: str
    score: float
    """Score from 0 to 1: half of it the cosine of the embeddings, half the share of the query's words that the caption has."""
    source: str
    """Source of the text: `caption`."""
    verified: bool | None = None
    """Whether the video confirms the text; None: it was not verified, or could not be."""


def captions_with_all_words(library: Library, query: str, video_id: str, *, limit: int = 50) -> tuple[int, ...]:
    """Return the ids of a video's captions that have every word of a query, in any inflection."""
    words = _words(query)
    return library.match_words(words, limit=limit, video_id=video_id, require_all=True)


def _words(query: str) -> list[str]:
    return [word for word in dict.fromkeys(re.findall(r"\w+", query.lower())) if word not in _STOP_WORDS]


def search(
    library: Library,
    vectors: VectorIndex,
    query: str,
    *,
    limit: int = 10,
    video_id: str | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Moment, ...]:
    """Return the moments of the library, or of one video, that match a query in any of the encoder's languages.

    Raises:
        Cancelled: the operation was cancelled.
    """
    words = _words(query)
    among = sorted(library.caption_ids(video_id)) if video_id else None
    cosines = dict(vectors.search(query, limit=max(MAX_CANDIDATES, limit), among=among, progress=progress))
    candidate_ids = list(dict.fromkeys([*cosines, *library.match_words(words, limit=MAX_CANDIDATES, video_id=video_id)]))
    matches = {word: library.filter_containing(word, candidate_ids) for word in words}
    titles = {entry.video_id: entry.title for entry in library.videos()}
    moments = []
    for caption_id, caption in library.captions_by_id(candidate_ids).items():
        share = sum(caption_id in ids for ids in matches.values()) / max(1, len(words))
        cosine = cosines.get(caption_id, 0.0)
        if (share == 0 and cosine < MIN_COSINE) or caption.video_id not in titles:
            continue
        score = round(min(1.0, max(0.0, cosine)) / 2 + share / 2, 4)
        moments.append(
            Moment(caption.video_id, titles[caption.video_id], caption.event.span, caption.event.text, score, caption.source)
        )
    moments.sort(key=lambda moment: (-moment.score, moment.title, moment.span))
    return tuple(moments[:limit])
