"""Chapters and summaries, extracted from the captions or written by a checkpoint that can answer about texts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from longview.core.timeline import Event, Span
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import ServerFailed
from longview.model.tasks.chapters import (
    MAX_PART_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    MIN_CHAPTER_S,
    Chapter,
    Summary,
    summarize,
)
from longview.model.tasks.verifier import FreeFormVerifier, Verifier
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder
from tests.support.fakes import FakePool

WHOLE = Span(0.0, 600.0)
MATCH = [Event(Span(start, start + 8), f"A player kicks the ball, number {start}.") for start in range(5, 200, 20)]
TALK = [Event(Span(start, start + 8), f"Two people talk at a desk about topic {start}.") for start in range(260, 420, 20)]
NIGHT = [Event(Span(start, start + 8), f"Cars drive through rain at night, lane {start}.") for start in range(440, 590, 20)]
TIMELINE = [*MATCH, *TALK, *NIGHT]


def check_layout(chapters: Sequence[Chapter], span: Span = WHOLE) -> None:
    """Check that chapters cover the span without gaps, and none is too short, as players and YouTube require."""
    assert chapters[0].span.start_s == span.start_s and chapters[-1].span.end_s == span.end_s
    for before, after in zip(chapters, chapters[1:], strict=False):
        assert before.span.end_s == after.span.start_s
    assert all(chapter.span.duration_s >= MIN_CHAPTER_S for chapter in chapters)
    assert all(chapter.title and len(chapter.title) <= MAX_TITLE_CHARACTERS for chapter in chapters)


def summarize_with_replies(*replies: str | Exception, events: Sequence[Event] = TIMELINE) -> tuple[Summary, list[str]]:
    """Summarize with scripted replies. Returns the summary and the prompts."""
    pool = FakePool(list(replies))
    return summarize(events, WHOLE, cast(SessionPool, pool), FreeFormVerifier()), pool.prompts


def test_chapters_begin_where_the_captions_change(pool: SessionPool, verifier: Verifier) -> None:
    summary = summarize(TIMELINE, WHOLE, pool, verifier)
    check_layout(summary.chapters)
    assert [chapter.span.start_s for chapter in summary.chapters] == [0.0, TALK[0].span.start_s, NIGHT[0].span.start_s]
    for chapter, words in zip(summary.chapters, ("kicks the ball", "talk at a desk", "rain at night"), strict=True):
        assert words in chapter.title
        assert words in summary.text
    assert str(len(TIMELINE)) in summary.text


@pytest.mark.parametrize(("duration_s", "chapters"), [(9.0, 1), (25.0, 2), (60.0, 3), (3600.0, 12), (36_000.0, 24)])
def test_longer_videos_have_more_chapters(pool: SessionPool, verifier: Verifier, duration_s: float, chapters: int) -> None:
    count = max(1, int(duration_s / 5))
    events = [Event(Span(at * 5.0, at * 5.0 + 3), f"Thing {at * at} moves {at % 7} times.") for at in range(count)]
    summary = summarize(events, Span(0.0, duration_s), pool, verifier)
    assert len(summary.chapters) == chapters
    if duration_s >= MIN_CHAPTER_S:
        check_layout(summary.chapters, Span(0.0, duration_s))


def test_no_captions_give_no_chapters(pool: SessionPool, verifier: Verifier) -> None:
    assert summarize([], WHOLE, pool, verifier) == Summary("No events detected.", ())


def test_written_chapters_begin_at_events_without_gaps() -> None:
    drafts = [
        {"start": 3.0, "title": "The match", "summary": "They play."},
        {"start": 6.0, "title": "Too soon after", "summary": "x"},
        {"start": 262.4, "title": "The " + "very " * 30 + "long talk.", "summary": "They talk."},
        {"start": 441.0, "title": "Rain", "summary": "It rains."},
        {"start": 9000.0, "title": "Never", "summary": "Beyond the end."},
        {"start": "soon", "title": 3},
    ]
    summary, (first, second) = summarize_with_replies(json.dumps(drafts), " A match, a talk\nand rain. ")
    check_layout(summary.chapters)
    assert [chapter.span.start_s for chapter in summary.chapters] == [0.0, 260.0, 440.0]
    assert summary.chapters[1].title.endswith("…")
    assert summary.text == "A match, a talk and rain."
    assert "5.0 A player kicks the ball, number 5.\n25.0 A player" in first
    assert "0:07:20.0 Rain: It rains." in second and "Never" not in second


@pytest.mark.parametrize(
    "reply",
    ["", "I cannot.", "[]", ServerFailed("unreachable"), '[{"start": 1}]', '{"start": NaN, "title": "x"}'],
    ids=["empty", "refusal", "empty list", "server failed", "no title", "no number"],
)
def test_unusable_reply_falls_back_to_the_captions(reply: str | Exception, pool: SessionPool, verifier: Verifier) -> None:
    summary, _ = summarize_with_replies(reply, "not requested")
    assert summary == summarize(TIMELINE, WHOLE, pool, verifier)


def test_long_timeline_is_summarized_in_parts() -> None:
    text = "A person walks across a street and looks at the sky for a while. " * 3
    events = [Event(Span(at, at + 1), text + str(at)) for at in range(0, 600, 2)]
    parts = sum(len(event.text) for event in events) // MAX_PART_CHARACTERS + 1
    replies = [json.dumps([{"start": 600 * part / 4, "title": f"Part {part}", "summary": "s"}]) for part in range(parts + 1)]
    summary, prompts = summarize_with_replies(*replies, "All of it.", events=events)
    assert len(prompts) >= 3
    assert all(len(prompt) < MAX_PART_CHARACTERS * 1.2 for prompt in prompts)
    check_layout(summary.chapters)


def test_real_engine_writes_chapters(decoder: Decoder) -> None:
    """The bundled checkpoint was not trained on texts, but the grammar makes its reply valid, so every step runs."""
    free = LocalEngine(replace(find_checkpoint(str(DEMO)), question_templates=()), device="cpu", cpu_threads=1)
    pool = SessionPool(free, decoder, memory_bytes=1 << 28)
    summary = summarize(MATCH[:4], Span(0.0, 90.0), pool, verifier_for(free.checkpoint))
    check_layout(summary.chapters, Span(0.0, 90.0))
    assert summary.text
