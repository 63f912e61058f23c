"""Chapters and a summary of a whole video, out of its captions.

The captions of short stretches are merged into a story of the whole, as the Qwen3-VL report does for its own training data:
by the checkpoint itself, which reads the timeline as text, part by part, then its own chapters. A checkpoint that cannot tell
about texts gets chapters where the captions change, under the caption that says most.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from longview.model.engine.sessions import OnFraction, SessionPool
from longview.model.errors import Cancelled, ModelError
from longview.model.tasks.prompts import chapters_prompt, summary_prompt
from longview.model.tasks.replies import parse_entries
from longview.model.tasks.text_match import token_f1
from longview.video.time_text import format_time
from longview.video.timeline import Event, Span

log = logging.getLogger(__name__)

MIN_CHAPTER_S = 10.0
"""With at least three chapters, the first at 0:00: what YouTube takes as chapters (support.google.com/youtube/answer/9884579)."""
MIN_CHAPTERS, MAX_CHAPTERS = 3, 24
TARGET_CHAPTER_S = 300.0
MAX_PART_CHARACTERS = 24_000
"""Of the timeline, how much is told at once: about 7,000 tokens."""
MAX_CHAPTERS_TOKENS, MAX_SUMMARY_TOKENS = 2048, 512
MAX_TITLE_CHARACTERS = 80
MAX_TITLE_EVENTS = 40
CONTEXT_EVENTS = 3
"""How many captions before and after a border are compared."""


@dataclass(frozen=True)
class Chapter:
    """A part of a video that is about one thing."""

    span: Span
    title: str


@dataclass(frozen=True)
class Summary:
    """What a whole video is about."""

    text: str
    chapters: tuple[Chapter, ...]
    """Without gaps, in order; none if there is no caption."""


class ChapterText(BaseModel):
    """One chapter of a reply."""

    start: float
    title: str
    summary: str


def summarize(events: Sequence[Event], span: Span, pool: SessionPool, *, on_part: OnFraction | None = None) -> Summary:
    """Chapters and summary of the part `span` of a video, from its captions in order of time.

    A checkpoint that fails at telling it, because its server is gone for instance, leaves the captions' own.
    """
    if not events:
        return Summary("Nothing was seen in this video.", ())
    if pool.engine.checkpoint.question_templates:
        return _segment_by_captions(events, span)
    told: list[ChapterText] = []
    parts = list(_split_into_parts(events))
    try:
        for number, part in enumerate(parts):
            told += _draft_chapters(part, span, pool)
            if on_part:
                on_part((number + 1) / (len(parts) + 1))
        chapters = _lay_out(told, span) or _extractive(events, span)
        summary = _write_summary(told, pool) if told else ""
    except Cancelled:
        raise
    except ModelError as error:
        log.warning("Chapters and summary are the captions' own, because the checkpoint could not tell them: %s", error)
        return _segment_by_captions(events, span)
    if not told:
        log.warning("The checkpoint told no chapters that make sense; they were taken from the captions.")
    return Summary(summary or _fallback_summary(chapters, len(events)), chapters)


def _segment_by_captions(events: Sequence[Event], span: Span) -> Summary:
    chapters = _extractive(events, span)
    return Summary(_fallback_summary(chapters, len(events)), chapters)


def _write_summary(drafts: Sequence[ChapterText], pool: SessionPool) -> str:
    lines = [f"{format_time(item.start)} {item.title}: {item.summary}" for item in drafts]
    return " ".join(pool.generate(summary_prompt(lines), max_new_tokens=MAX_SUMMARY_TOKENS).split())


def _target_count(duration_s: float) -> int:
    """How many chapters a stretch of video should have."""
    room = max(1, int(duration_s // MIN_CHAPTER_S))
    return min(room, MAX_CHAPTERS, max(MIN_CHAPTERS, round(duration_s / TARGET_CHAPTER_S)))


def _split_into_parts(events: Sequence[Event]) -> list[list[Event]]:
    """The timeline in pieces that can be told at once."""
    parts: list[list[Event]] = [[]]
    room = MAX_PART_CHARACTERS
    for event in events:
        length = len(event.text) + len("12345.6 \n")
        if parts[-1] and length > room:
            parts.append([])
            room = MAX_PART_CHARACTERS
        parts[-1].append(event)
        room -= length
    return parts


def _draft_chapters(events: Sequence[Event], span: Span, pool: SessionPool) -> list[ChapterText]:
    """What the checkpoint makes of a part of the timeline; nothing if its reply makes no sense."""
    stretch = Span(events[0].span.start_s, max(event.span.end_s for event in events))
    share = max(1, round(_target_count(span.duration_s) * stretch.duration_s / span.duration_s))
    lines = [f"{event.span.start_s:.1f} {event.text}" for event in events]
    reply = pool.generate(chapters_prompt(lines, share), max_new_tokens=MAX_CHAPTERS_TOKENS, item=ChapterText)
    chapters = []
    for entry in parse_entries(reply) or []:
        try:
            chapter = ChapterText.model_validate(entry)
        except ValidationError:
            continue
        if stretch.start_s - MIN_CHAPTER_S <= chapter.start <= stretch.end_s and chapter.title.strip():
            # It begins where an event does: the model's own arithmetic is not to be trusted with times.
            nearest = min(events, key=lambda event: abs(event.span.start_s - chapter.start))
            chapters.append(chapter.model_copy(update={"start": nearest.span.start_s}))
    return chapters


def _lay_out(drafts: Sequence[ChapterText], span: Span) -> tuple[Chapter, ...]:
    """Chapters without gaps from the first to the last second, none too short."""
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
    """Chapters that begin where the captions change most, each under the caption that is most like the others in it."""
    wanted = _target_count(span.duration_s)
    usual_s = span.duration_s / wanted
    changes = _topic_changes(events)
    bounds = [span.start_s, span.end_s]
    while len(bounds) - 1 < wanted:
        room_s = [min(abs(start_s - bound_s) for bound_s in bounds) for _, start_s in changes]
        # Close to another border a change counts for less: chapters of one minute beside one of an hour help nobody.
        gains = [
            change * min(1.0, away_s / usual_s) if away_s >= MIN_CHAPTER_S else 0.0
            for (change, _), away_s in zip(changes, room_s, strict=True)
        ]
        if max(gains, default=0.0) == 0.0:
            break
        bounds = sorted([*bounds, changes[gains.index(max(gains))][1]])
    starts = []
    for first_s, last_s in itertools.pairwise(bounds):
        # What began before and goes on tells about a chapter in which nothing begins.
        inside = [event for event in events if first_s <= event.span.start_s < last_s]
        inside = inside or [event for event in events if event.span.overlap_s(Span(first_s, last_s)) > 0]
        starts.append((first_s, _representative_title(inside)))
    return _chapters_between(starts, span)


def _topic_changes(events: Sequence[Event]) -> list[tuple[float, float]]:
    """How much changes with each event, and when it begins: other words than before, and the time without any event.

    After TextTiling (Hearst 1997), with captions for sentences.
    """
    typical_s = sum(event.span.duration_s for event in events) / len(events)
    changes = []
    until_s = 0.0
    for index in range(1, len(events)):
        until_s = max(until_s, events[index - 1].span.end_s)
        before = " ".join(event.text for event in events[max(0, index - CONTEXT_EVENTS) : index])
        after = " ".join(event.text for event in events[index : index + CONTEXT_EVENTS])
        gap_s = events[index].span.start_s - until_s
        quiet = min(1.0, max(0.0, gap_s) / typical_s) if typical_s else 0.0
        changes.append((1 - token_f1(before, after) + quiet, events[index].span.start_s))
    return changes


def _representative_title(events: Sequence[Event]) -> str:
    if not events:
        return "Nothing happens"
    # Of a long chapter a few captions, evenly spread, stand for all: comparing takes the square of their number.
    some = events[:: -(-len(events) // MAX_TITLE_EVENTS)]
    return _shorten(max(some, key=lambda event: sum(token_f1(event.text, other.text) for other in some)).text)


def _shorten(title: str) -> str:
    line = " ".join(title.split()).rstrip(".")
    return line if len(line) <= MAX_TITLE_CHARACTERS else line[: MAX_TITLE_CHARACTERS - 2].rpartition(" ")[0] + " …"


def _fallback_summary(chapters: Sequence[Chapter], events: int) -> str:
    titles = list(dict.fromkeys(chapter.title for chapter in chapters))
    shown = titles if len(titles) <= 5 else [*titles[:3], "…", titles[-1]]
    return f"{events} {'event' if events == 1 else 'events'}: {'; '.join(shown)}."
