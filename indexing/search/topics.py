"""Chapters of a video without captions: its words, divided where the topic shifts, each part with a quote as its title.

The topic shifts where the vectors of the sentences before and after a time differ most (TextTiling, Hearst 1997, with sentence
vectors in place of word counts).
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.vectors import VectorIndex
from longview.indexing.text.passages import WINDOW_S, WINDOW_STEP_S, Passage
from longview.indexing.text.sentences import Sentence, sentences_of

MIN_CHAPTER_S = 15.0
MAX_CHAPTERS = 12
"""Maximum number of chapters. Two minutes have 4, a quarter of an hour has 7, and an hour has 11."""
WINDOWS_PER_BLOCK = round(WINDOW_S / WINDOW_STEP_S)
"""Number of windows after which the next one does not overlap the first."""
CONTEXT_BLOCKS = 3
"""Number of pieces before and after a time that are compared."""
MAX_TITLE_CHARACTERS = 80
MIN_TITLE_CHARACTERS = 25
OVERALL_WEIGHT = 0.7
"""Weight with which the similarity of a title to the whole video counts against it, from 0 to 1."""
MAX_TITLE_CANDIDATES = 20
"""Maximum number of sentences of a chapter that are compared for its title."""
MAX_SLIDE_SHIFT_S = 8.0
"""Maximum time between a shift of the topic and the slide with which it begins, in seconds. Windows of words start every 10 s."""
MIN_SLIDE_LINES = 2
"""Minimum number of lines that appear together with a new slide."""
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
    title_span: Span
    """When the title is said or shown."""


def find_topics(library: Library, vectors: VectorIndex, video_id: str, duration_s: float) -> tuple[Topic, ...]:
    """Divide what is said in a video, else what is shown in it, into topics; none if it has no words.

    The passages of the library are the pieces that are compared, so only the candidates for titles are embedded.
    """
    segments = [item.segment for item in library.tracks.segments(video_id)]
    main = _main_segments(segments)
    if not main:
        return ()
    blocks = _blocks(library, video_id, main[0])
    try:
        embedded = vectors.of_passages(list(blocks))
    except LookupError:
        # Another process is indexing the video.
        return ()
    sentences = sentences_of(main)
    duration_s = max(duration_s, sentences[-1].span.end_s)
    starts_s = _boundaries_s([passage.span.start_s for passage in blocks.values()], embedded, duration_s)
    lines = [segment for segment in segments if traits_of(segment.source).is_screen]
    slides_s = _slide_starts_s(lines)
    bounds_s = [0.0, *sorted({_topic_start_s(sentences, slides_s, start_s) for start_s in starts_s}), duration_s]
    spans = [Span(start_s, end_s) for start_s, end_s in zip(bounds_s, bounds_s[1:], strict=False)]
    times_s = np.array([passage.span.start_s for passage in blocks.values()])
    topics = []
    for span in spans:
        inside = embedded[(times_s >= span.start_s - WINDOW_STEP_S) & (times_s < span.end_s)]
        center = inside.mean(axis=0) if len(inside) else embedded.mean(axis=0)
        topics.append(_topic(vectors, span, sentences, lines, spans, center=center, overall=embedded.mean(axis=0)))
    return tuple(topic for topic in topics if topic)


def _main_segments(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments of the source and language with the most text; lines on screen only where nothing is said."""
    speech = [segment for segment in segments if traits_of(segment.source).is_spoken]
    if not speech:
        return [segment for segment in segments if traits_of(segment.source).is_screen]
    sizes: dict[tuple[str, str | None], int] = {}
    for segment in speech:
        key = (segment.source, segment.language)
        sizes[key] = sizes.get(key, 0) + len(segment.text)
    largest = max(sizes, key=lambda key: sizes[key])
    return [segment for segment in speech if (segment.source, segment.language) == largest]


def _blocks(library: Library, video_id: str, example: Segment) -> dict[int, Passage]:
    """Return the passages of one source and language by id, in order of time, without those that overlap others."""
    passages = library.tracks.passages_by_id(sorted(library.tracks.passage_ids(video_id, [example.source])))
    best_titles = {
        number: passage
        for number, passage in passages.items()
        if traits_of(passage.source).is_screen
        or (passage.language == example.language and passage.position % WINDOWS_PER_BLOCK == 0)
    }
    return dict(sorted(best_titles.items(), key=lambda item: item[1].position))


def _boundaries_s(starts_s: Sequence[float], embedded: NDArray[np.float32], duration_s: float) -> list[float]:
    """Return the starts of the pieces with which a topic begins, without the first one, in order, in seconds."""
    count = min(MAX_CHAPTERS, round(2 + 1.2 * math.sqrt(duration_s / 60))) - 1
    min_s = max(MIN_CHAPTER_S, duration_s / (count + 1) / 3)
    similarities = [
        _similarity(embedded[max(0, index - CONTEXT_BLOCKS) : index], embedded[index : index + CONTEXT_BLOCKS])
        for index in range(1, len(starts_s))
    ]
    bounds_s = [0.0, duration_s]
    for _ in range(count):
        # The longest part is divided next, so that no chapter becomes much longer than the others.
        for start_s, end_s in sorted(itertools.pairwise(bounds_s), key=lambda part: part[0] - part[1]):
            inside = [
                (similarity, time_s)
                for similarity, time_s in zip(similarities, starts_s[1:], strict=True)
                if start_s + min_s <= time_s <= end_s - min_s
            ]
            if inside:
                bounds_s = sorted([*bounds_s, min(inside)[1]])
                break
    return bounds_s[1:-1]


def _topic_start_s(sentences: Sequence[Sentence], slides_s: Sequence[float], time_s: float) -> float:
    """Return the start of the slide, else of the sentence, that begins nearest to a time, in seconds."""
    near_s = [start_s for start_s in slides_s if abs(start_s - time_s) <= MAX_SLIDE_SHIFT_S]
    return min(near_s or [sentence.span.start_s for sentence in sentences], key=lambda start_s: abs(start_s - time_s))


def _slide_starts_s(lines: Sequence[Segment]) -> list[float]:
    """Return the times at which several lines appear together, in seconds, but not the start of the video."""
    counts = Counter(round(line.span.start_s, 1) for line in lines)
    return [start_s for start_s, count in counts.items() if count >= MIN_SLIDE_LINES and start_s > 0]


def _similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    first, second = before.mean(axis=0), after.mean(axis=0)
    return float(first @ second / max(1e-9, float(np.linalg.norm(first) * np.linalg.norm(second))))


def _topic(
    vectors: VectorIndex,
    span: Span,
    sentences: Sequence[Sentence],
    lines: Sequence[Segment],
    spans: Sequence[Span],
    *,
    center: NDArray[np.float32],
    overall: NDArray[np.float32],
) -> Topic | None:
    """Return the topic of a span: its title is the largest line that is shown in it alone, else its most typical sentence."""
    own = [sentence for sentence in sentences if span.contains(sentence.span.start_s)]
    if not own:
        return None
    line = _largest_line(span, lines, spans)
    if line is not None:
        return Topic(span, _shorten(line.text), line.source, line.span)
    fitting = [item for item in own if MIN_TITLE_CHARACTERS <= len(item.text) <= MAX_TITLE_CHARACTERS] or own
    candidates = fitting[:: -(-len(fitting) // MAX_TITLE_CANDIDATES)]
    vectors_of_candidates = vectors.embed([item.text for item in candidates])
    # What is said in all parts, such as greetings and remarks about the talk itself, says nothing about one of them.
    best = candidates[int(np.argmax(vectors_of_candidates @ (center - OVERALL_WEIGHT * overall)))]
    return Topic(span, _shorten(best.text), best.source, best.span)


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
