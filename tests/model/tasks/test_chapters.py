"""Chapters and summaries, out of the captions alone or told by a checkpoint that can tell about texts."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from longview.model.engine.checkpoints import DEMO, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import ServerFailed
from longview.model.tasks.chapters import MAX_PART_CHARACTERS, MAX_TITLE_CHARACTERS, MIN_CHAPTER_S, summarize
from longview.video.decoder import Decoder
from longview.video.timeline import Event, Span

WHOLE = Span(0.0, 600.0)
MATCH = [Event(Span(start, start + 8), f"A player kicks the ball, number {start}.") for start in range(5, 200, 20)]
TALK = [Event(Span(start, start + 8), f"Two people talk at a desk about topic {start}.") for start in range(260, 420, 20)]
NIGHT = [Event(Span(start, start + 8), f"Cars drive through rain at night, lane {start}.") for start in range(440, 590, 20)]
TIMELINE = [*MATCH, *TALK, *NIGHT]


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 28)


def check_whole(chapters: Any, span: Span = WHOLE) -> None:
    """Without gaps from first to last, none too short: what players and YouTube take."""
    assert chapters[0].span.start_s == span.start_s and chapters[-1].span.end_s == span.end_s
    for before, after in zip(chapters, chapters[1:], strict=False):
        assert before.span.end_s == after.span.start_s
    assert all(chapter.span.duration_s >= MIN_CHAPTER_S for chapter in chapters)
    assert all(chapter.title and len(chapter.title) <= MAX_TITLE_CHARACTERS for chapter in chapters)


def test_chapters_begin_where_the_captions_change(pool: SessionPool) -> None:
    told = summarize(TIMELINE, WHOLE, pool)
    check_whole(told.chapters)
    assert [chapter.span.start_s for chapter in told.chapters] == [0.0, TALK[0].span.start_s, NIGHT[0].span.start_s]
    for chapter, words in zip(told.chapters, ("kicks the ball", "talk at a desk", "rain at night"), strict=True):
        assert words in chapter.title
        assert words in told.text
    assert str(len(TIMELINE)) in told.text


@pytest.mark.parametrize(("duration_s", "chapters"), [(9.0, 1), (25.0, 2), (60.0, 3), (3600.0, 12), (36_000.0, 24)])
def test_longer_videos_have_more_chapters_as_far_as_there_is_room(pool: SessionPool, duration_s: float, chapters: int) -> None:
    count = max(1, int(duration_s / 5))
    events = [Event(Span(at * 5.0, at * 5.0 + 3), f"Thing {at * at} moves {at % 7} times.") for at in range(count)]
    told = summarize(events, Span(0.0, duration_s), pool)
    assert len(told.chapters) == chapters
    if duration_s >= MIN_CHAPTER_S:
        check_whole(told.chapters, Span(0.0, duration_s))


def test_where_nothing_was_seen_there_are_no_chapters(pool: SessionPool) -> None:
    told = summarize([], WHOLE, pool)
    assert told.chapters == () and told.text == "Nothing was seen in this video."


@dataclass
class Teller:
    """An engine that can tell about texts, with its replies written beforehand."""

    replies: list[str]
    prompts: list[str] = field(default_factory=list)

    @dataclass
    class _Checkpoint:
        question_forms: tuple[str, ...] = ()

    checkpoint = _Checkpoint()

    @property
    def engine(self) -> "Teller":
        return self

    def tell(self, prompt: str, **_: Any) -> str:
        self.prompts.append(prompt)
        reply = self.replies[len(self.prompts) - 1]
        if reply == "GONE":
            raise ServerFailed("The server is gone.")
        return reply


def told_by(*replies: str, events: Any = TIMELINE) -> tuple[Any, Teller]:
    teller = Teller(list(replies))
    return summarize(events, WHOLE, cast(SessionPool, teller)), teller


def test_a_checkpoints_own_chapters_begin_at_events_and_leave_no_gap() -> None:
    chapters = [
        {"start": 3.0, "title": "The match", "summary": "They play."},
        {"start": 6.0, "title": "Too soon after", "summary": "x"},
        {"start": 262.4, "title": "The " + "very " * 30 + "long talk.", "summary": "They talk."},
        {"start": 441.0, "title": "Rain", "summary": "It rains."},
        {"start": 9000.0, "title": "Never", "summary": "Beyond the end."},
        {"start": "soon", "title": 3},
    ]
    told, teller = told_by(json.dumps(chapters), " A match, a talk\nand rain. ")
    check_whole(told.chapters)
    assert [chapter.span.start_s for chapter in told.chapters] == [0.0, 260.0, 440.0]
    assert told.chapters[1].title.endswith("…")
    assert told.summary == "A match, a talk and rain."
    first, second = teller.prompts
    assert "5.0 A player kicks the ball, number 5.\n25.0 A player" in first
    assert "0:07:20.0 Rain: It rains." in second and "Never" not in second


@pytest.mark.parametrize("reply", ["", "I cannot.", "[]", "GONE", '[{"start": 1}]', '{"start": NaN, "title": "x"}'])
def test_a_reply_that_makes_no_sense_costs_nothing(reply: str, pool: SessionPool) -> None:
    told, _ = told_by(reply, "never asked")
    assert told == summarize(TIMELINE, WHOLE, pool)


def test_a_timeline_too_long_for_one_prompt_is_told_in_parts() -> None:
    text = "A person walks across a street and looks at the sky for a while. " * 3
    events = [Event(Span(at, at + 1), text + str(at)) for at in range(0, 600, 2)]
    parts = sum(len(event.text) for event in events) // MAX_PART_CHARACTERS + 1
    replies = [json.dumps([{"start": 600 * part / 4, "title": f"Part {part}", "summary": "s"}]) for part in range(parts + 1)]
    told, teller = told_by(*replies[: len(replies)], "All of it.", events=events)
    assert len(teller.prompts) >= 3
    assert all(len(prompt) < MAX_PART_CHARACTERS * 1.2 for prompt in teller.prompts)
    check_whole(told.chapters)


def test_a_real_engine_can_be_told_from(decoder: Decoder) -> None:
    """The bundled checkpoint has read no texts, but its reply is held to the grammar, so the way is the whole one."""
    from dataclasses import replace

    free = LocalEngine(replace(find_checkpoint(str(DEMO)), question_templates=()), device="cpu", cpu_threads=1)
    told = summarize(MATCH[:4], Span(0.0, 90.0), SessionPool(free, decoder, memory_bytes=1 << 28))
    check_whole(told.chapters, Span(0.0, 90.0))
    assert told.text
