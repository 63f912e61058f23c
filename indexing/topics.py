"""Chapters of a video without captions: its words, divided where the topic shifts, each part with a quote as its title.

The topic shifts where the vectors of the sentences before and after a time differ most (TextTiling, Hearst 1997, with sentence
vectors in place of word counts).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longview.indexing.library import Library
from longview.indexing.passages import WINDOW_S, is_screen, is_windowed
from longview.indexing.sentences import Sentence, sentences_of
from longview.indexing.vectors import VectorIndex
from longview.video.timeline import Segment, Span, join_words

MIN_CHAPTER_S = 15.0
MAX_CHAPTERS = 12
"""Maximum number of chapters. Two minutes have 4, a quarter of an hour has 7, and an hour has 11."""
HEADING_SHARE = 0.85
"""Minimum height of a heading, as a share of the tallest line: the box of a line depends on its letters."""
BLOCK_S = WINDOW_S
"""Length of the pieces whose vectors are compared, in seconds."""
CONTEXT_BLOCKS = 3
"""Number of pieces before and after a time that are compared."""
MAX_TITLE_CHARACTERS = 80
MIN_TITLE_CHARACTERS = 15
MIN_SHOWN_S = 3.0
"""Minimum time for which a line on screen is shown that is the title of a chapter, in seconds."""


@dataclass(frozen=True)
class Topic:
    """A part of a video about one thing."""

    span: Span
    title: str
    """A quote from the part."""
    source: str
    """Source of the title."""


@dataclass(frozen=True)
class _Block:
    span: Span
    sentences: tuple[Sentence, ...]


def find_topics(library: Library, vectors: VectorIndex, video_id: str, duration_s: float) -> tuple[Topic, ...]:
    """Divide what is said in a video, else what is shown in it, into topics; none if it has no words."""
    segments = [item.segment for item in library.tracks.segments(video_id)]
    sentences = _main_sentences(segments)
    if not sentences:
        return ()
    duration_s = max(duration_s, sentences[-1].span.end_s)
    blocks = _blocks(sentences)
    texts = [join_words((item.text for item in block.sentences), block.sentences[0].language) for block in blocks]
    starts = _boundaries(blocks, vectors.embed(texts), duration_s)
    bounds_s = [0.0, *(blocks[index].span.start_s for index in starts), duration_s]
    spans = [Span(start_s, end_s) for start_s, end_s in zip(bounds_s, bounds_s[1:], strict=False)]
    lines = [segment for segment in segments if is_screen(segment.source)]
    return tuple(topic for span in spans if (topic := _topic(vectors, span, sentences, lines, spans)))


def _main_sentences(segments: Sequence[Segment]) -> tuple[Sentence, ...]:
    """Return the sentences of the source and language with the most text; lines on screen only where nothing is said."""
    said = [segment for segment in segments if is_windowed(segment.source)] or [
        segment for segment in segments if is_screen(segment.source)
    ]
    sizes: dict[tuple[str, str | None], int] = {}
    for segment in said:
        key = (segment.source, None if is_screen(segment.source) else segment.language)
        sizes[key] = sizes.get(key, 0) + len(segment.text)
    if not sizes:
        return ()
    source, language = max(sizes, key=lambda key: sizes[key])
    return sentences_of([item for item in said if item.source == source and (is_screen(source) or item.language == language)])


def _blocks(sentences: Sequence[Sentence]) -> list[_Block]:
    blocks: list[list[Sentence]] = []
    for sentence in sentences:
        if blocks and sentence.span.end_s - blocks[-1][0].span.start_s <= BLOCK_S:
            blocks[-1].append(sentence)
        else:
            blocks.append([sentence])
    return [_Block(Span(items[0].span.start_s, max(item.span.end_s for item in items)), tuple(items)) for items in blocks]


def _boundaries(blocks: Sequence[_Block], embedded: NDArray[np.float32], duration_s: float) -> list[int]:
    """Return the indices of the blocks with which a topic begins, without the first one, in order."""
    count = min(MAX_CHAPTERS, round(2 + 1.2 * math.sqrt(duration_s / 60))) - 1
    min_s = max(MIN_CHAPTER_S, duration_s / (count + 1) / 3)
    similarities = [
        (_similarity(embedded[max(0, index - CONTEXT_BLOCKS) : index], embedded[index : index + CONTEXT_BLOCKS]), index)
        for index in range(1, len(blocks))
    ]
    chosen: list[int] = []
    for _, index in sorted(similarities):
        times_s = [0.0, duration_s, *(blocks[other].span.start_s for other in chosen)]
        if len(chosen) < count and all(abs(blocks[index].span.start_s - time_s) >= min_s for time_s in times_s):
            chosen.append(index)
    return sorted(chosen)


def _similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    first, second = before.mean(axis=0), after.mean(axis=0)
    return float(first @ second / max(1e-9, float(np.linalg.norm(first) * np.linalg.norm(second))))


def _topic(
    vectors: VectorIndex, span: Span, sentences: Sequence[Sentence], lines: Sequence[Segment], spans: Sequence[Span]
) -> Topic | None:
    """Return the topic of a span: its title is the largest line that is shown in it alone, else its most typical sentence."""
    own = [sentence for sentence in sentences if span.contains(sentence.span.start_s)]
    if not own:
        return None
    line = _largest_line(span, lines, spans)
    if line is not None:
        return Topic(span, _shorten(line.text), line.source)
    candidates = [item for item in own if len(item.text) >= MIN_TITLE_CHARACTERS] or own
    embedded = vectors.embed([item.text for item in candidates])
    center = embedded.mean(axis=0)
    fitting = [float(vector @ center) - (0.1 if len(item.text) > MAX_TITLE_CHARACTERS else 0.0)
               for vector, item in zip(embedded, candidates, strict=True)]  # fmt: skip
    best = candidates[int(np.argmax(fitting))]
    return Topic(span, _shorten(best.text), best.source)


def _largest_line(span: Span, lines: Sequence[Segment], spans: Sequence[Span]) -> Segment | None:
    """Return the first of the tallest lines that begins in a span and is shown in no other one, as the heading of a slide is."""
    own = [
        line
        for line in lines
        if line.box
        # A slide is shown some time before it is spoken about.
        and span.start_s - MIN_SHOWN_S <= line.span.start_s < span.end_s - MIN_SHOWN_S
        and line.span.duration_s >= MIN_SHOWN_S
        and len(line.text) > 2
        and not any(other != span and other.overlap_s(line.span) > MIN_SHOWN_S for other in spans)
    ]
    return max(
        own, key=lambda line: (line.box.bottom - line.box.top, -line.span.start_s) if line.box else (0.0, 0.0), default=None
    )


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    if len(text) <= MAX_TITLE_CHARACTERS:
        return text
    head = text[: MAX_TITLE_CHARACTERS - 2]
    return (head.rsplit(" ", 1)[0] if " " in head else head) + " …"
