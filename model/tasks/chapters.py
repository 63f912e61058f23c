"""Chapters and a summary of a whole video, from its captions.

The checkpoint reads the timeline as text, part by part, and drafts chapters; then it summarizes the chapters, as the Qwen3-VL
report does for its training data. For a checkpoint that cannot answer prompts about text, chapters begin where the captions
change, and the title of each is its most representative caption.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.time_format import format_time
from longview.core.timeline import Event, Span
from longview.model.engine.sessions import SessionPool
from longview.model.errors import ModelError
from longview.model.tasks.replies import parse_entries
from longview.model.tasks.text_match import token_f1
from longview.model.tasks.verifier import Verifier

log = logging.getLogger(__name__)

MIN_CHAPTER_S = 10.0
"""Minimum length of a chapter, in seconds. YouTube accepts chapters of this length, at least three, of which the first begins at
0:00 (support.google.com/youtube/answer/9884579)."""
MIN_CHAPTERS, MAX_CHAPTERS = 3, 24
TARGET_CHAPTER_S = 300.0
MAX_PART_CHARACTERS = 24_000
"""Maximum length of the part of a timeline in one prompt: about 7,000 tokens."""
MAX_CHAPTERS_TOKENS, MAX_SUMMARY_TOKENS = 2048, 512
MAX_TITLE_CHARACTERS = 80
MAX_TITLE_EVENTS = 40
CONTEXT_EVENTS = 3
"""Number of captions before and after an event that are compared."""


@dataclass(frozen=True)
class Chapter:
    """A part of a video that is about one topic."""

    span: Span
    title: str


@dataclass(frozen=True)
class Summary:
    """A summary of a video, and its chapters."""

    text: str
    chapters: tuple[Chapter, ...]
    """Chapters in order, without gaps; empty if there are no captions."""


class ChapterText(BaseModel):
    """One chapter of a reply."""

    start: float
    title: str
    summary: str


def summarize(
    events: Sequence[Event], span: Span, pool: SessionPool, verifier: Verifier, *, progress: Progress = NO_PROGRESS
) -> Summary:
    """Write chapters and a summary for the part `span` of a video, from its captions in order of time.

    If the checkpoint fails, for instance because its server is unreachable, both are extracted from the captions.

    Raises:
        Cancelled: the operation was cancelled.
    """
    if not events:
        return Summary("No events detected.", ())
    if verifier.templates:
        return _segment_by_captions(events, span)
    drafts: list[ChapterText] = []
    parts = list(_split_into_parts(events))
    try:
        for number, part in enumerate(parts):
            drafts += _draft_chapters(part, span, pool, progress)
            progress.update((number + 1) / (len(parts) + 1))
        chapters = _lay_out(drafts, span) or _extractive(events, span)
        summary = _write_summary(drafts, pool, progress) if drafts else ""
    except ModelError as error:
        log.warning("Chapters and summary are extracted from the captions, because the checkpoint failed: %s", error)
        return _segment_by_captions(events, span)
    if not drafts:
        log.warning("The checkpoint wrote no usable chapters; they are extracted from the captions.")
    return Summary(summary or _fallback_summary(chapters, len(events)), chapters)


def _segment_by_captions(events: Sequence[Event], span: Span) -> Summary:
    chapters = _extractive(events, span)
    return Summary(_fallback_summary(chapters, len(events)), chapters)


def _write_summary(drafts: Sequence[ChapterText], pool: SessionPool, progress: Progress) -> str:
    lines = [f"{format_time(item.start)} {item.title}: {item.summary}" for item in drafts]
    prompt = pool.engine.checkpoint.profile.prompts.summary(lines)
    return " ".join(pool.generate_text(prompt, max_new_tokens=MAX_SUMMARY_TOKENS, progress=progress).split())


def _target_count(duration_s: float) -> int:
    """Return the number of chapters that suits a duration."""
    max_count = max(1, int(duration_s // MIN_CHAPTER_S))
    return min(max_count, MAX_CHAPTERS, max(MIN_CHAPTERS, round(duration_s / TARGET_CHAPTER_S)))


def _split_into_parts(events: Sequence[Event]) -> list[list[Event]]:
    """Split a timeline into parts that fit into one prompt each."""
    parts: list[list[Event]] = [[]]
    remaining = MAX_PART_CHARACTERS
    for event in events:
        length = len(event.text) + len("12345.6 \n")
        if parts[-1] and length > remaining:
            parts.append([])
            remaining = MAX_PART_CHARACTERS
        parts[-1].append(event)
        remaining -= length
    return parts


def _draft_chapters(events: Sequence[Event], span: Span, pool: SessionPool, progress: Progress) -> list[ChapterText]:
    """Return the chapters that the checkpoint drafts for a part of the timeline; none if its reply is unusable."""
    covered_span = Span(events[0].span.start_s, max(event.span.end_s for event in events))
    share = max(1, round(_target_count(span.duration_s) * covered_span.duration_s / span.duration_s))
    lines = [f"{event.span.start_s:.1f} {event.text}" for event in events]
    prompt = pool.engine.checkpoint.profile.prompts.chapters(lines, share)
    reply = pool.generate_text(prompt, max_new_tokens=MAX_CHAPTERS_TOKENS, schema=ChapterText, progress=progress)
    chapters = []
    for entry in parse_entries(reply) or []:
        try:
            chapter = ChapterText.model_validate(entry)
        except ValidationError:
            continue
        if covered_span.start_s - MIN_CHAPTER_S <= chapter.start <= covered_span.end_s and chapter.title.strip():
            # Chapters begin where an event does, because checkpoints are inaccurate at times that they compute.
            nearest = min(events, key=lambda event: abs(event.span.start_s - chapter.start))
            chapters.append(chapter.model_copy(update={"start": nearest.span.start_s}))
    return chapters


def _lay_out(drafts: Sequence[ChapterText], span: Span) -> tuple[Chapter, ...]:
    """Lay out chapters without gaps over the span, and drop those that would be too short."""
    starts: list[tuple[float, str]] = []
    for item in sorted(drafts, key=lambda item: item.start):
        start_s = item.start if starts else span.start_s
        if (not starts or start_s - starts[-1][0] >= MIN_CHAPTER_S) and (not starts or span.end_s - start_s >= MIN_CHAPTER_S):
            starts.append((start_s, _shorten(item.title)))
    return _chapters_between(starts, span)


def _chapters_between(starts: Sequence[tuple[float, str]], span: Span) -> tuple[Chapter, ...]:
    bounds = [*(start_s for start_s, _ in starts), span.end_s]
    return tuple(Chapter(Span(*pair), title) for pair, (_, title) in zip(itertools.pairwise(bounds), starts, strict=True))


def _extractive(events: Sequence[Event], span: Span) -> tuple[Chapter, ...]:
    """Extract chapters that begin where the captions change most; title each with its most representative caption."""
    count = _target_count(span.duration_s)
    mean_s = span.duration_s / count
    changes = _topic_changes(events)
    bounds = [span.start_s, span.end_s]
    while len(bounds) - 1 < count:
        distances_s = [min(abs(start_s - bound_s) for bound_s in bounds) for _, start_s in changes]
        # A change close to a boundary counts less, so that chapters have similar lengths.
        gains = [
            change * min(1.0, distance_s / mean_s) if distance_s >= MIN_CHAPTER_S else 0.0
            for (change, _), distance_s in zip(changes, distances_s, strict=True)
        ]
        if max(gains, default=0.0) == 0.0:
            break
        bounds = sorted([*bounds, changes[gains.index(max(gains))][1]])
    starts = []
    for first_s, last_s in itertools.pairwise(bounds):
        # Events that began earlier title a chapter in which none begins.
        inside = [event for event in events if first_s <= event.span.start_s < last_s]
        inside = inside or [event for event in events if event.span.overlap_s(Span(first_s, last_s)) > 0]
        starts.append((first_s, _representative_title(inside)))
    return _chapters_between(starts, span)


def _topic_changes(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return, for each event, how much the topic changes with it, and its start in seconds.

    The change is the share of new words, plus the time without events before it. The method is TextTiling (Hearst 1997), with
    captions for sentences.
    """
    typical_s = sum(event.span.duration_s for event in events) / len(events)
    changes = []
    until_s = 0.0
    for index in range(1, len(events)):
        until_s = max(until_s, events[index - 1].span.end_s)
        before = " ".join(event.text for event in events[max(0, index - CONTEXT_EVENTS) : index])
        after = " ".join(event.text for event in events[index : index + CONTEXT_EVENTS])
        gap_s = events[index].span.start_s - until_s
        silence = min(1.0, max(0.0, gap_s) / typical_s) if typical_s else 0.0
        changes.append((1 - token_f1(before, after) + silence, events[index].span.start_s))
    return changes


def _representative_title(events: Sequence[Event]) -> str:
    if not events:
        return "Nothing happens"
    # A few evenly spread captions represent a long chapter, because the comparison is quadratic.
    some = events[:: -(-len(events) // MAX_TITLE_EVENTS)]
    return _shorten(max(some, key=lambda event: sum(token_f1(event.text, other.text) for other in some)).text)


def _shorten(title: str) -> str:
    line = " ".join(title.split()).rstrip(".")
    return line if len(line) <= MAX_TITLE_CHARACTERS else line[: MAX_TITLE_CHARACTERS - 2].rpartition(" ")[0] + " …"


def _fallback_summary(chapters: Sequence[Chapter], events: int) -> str:
    titles = list(dict.fromkeys(chapter.title for chapter in chapters))
    listed_titles = titles if len(titles) <= 5 else [*titles[:3], "…", titles[-1]]
    return f"{events} {'event' if events == 1 else 'events'}: {'; '.join(listed_titles)}."
