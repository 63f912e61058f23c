"""What is said of a span is confirmed where it is seen, and only there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from longview.model.demo import prober_for
from longview.model.engine.base import VideoSession
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.text_match import contains_query, has_paraphrase
from longview.model.tasks.verifier import confirm_span, verify_claim
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.synthetic import ShapesEvent
from longview.video.timeline import Span


@pytest.fixture(scope="module")
def pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    return SessionPool(engine, decoder, memory_bytes=1 << 29)


@pytest.mark.parametrize(
    ("query", "told", "does"),
    [
        ("red circle", "A red circle moves up.", True),
        ("A red circle is moving up.", "A red circle moves up.", True),
        ("red circle", "A red square moves up. A blue circle grows.", False),
        ("red circle", "Nothing happens at that time.", False),
        ("the", "A red circle moves up.", False),
        ("", "A red circle moves up.", False),
    ],
)
def test_one_sentence_must_hold_all_of_the_query(query: str, told: str, does: bool) -> None:
    assert contains_query(query, told) is does


def test_a_caption_resembles_what_is_told_of_the_same() -> None:
    assert has_paraphrase("A red circle moves up.", "A blue star grows. A red circle moves down.")
    assert not has_paraphrase("A red circle moves up.", "A blue star grows.")
    assert not has_paraphrase("A red circle moves up.", "Nothing happens at that time.")


def test_what_is_there_holds_and_what_is_not_does_not(
    pool: SessionPool, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...]
) -> None:
    for event, other in zip(shapes_events, (*shapes_events[1:], shapes_events[0]), strict=True):
        assert verify_claim(pool, prober_for(pool.engine.checkpoint), shapes_video, event.event.span, event.text) is True
        assert verify_claim(pool, prober_for(pool.engine.checkpoint), shapes_video, event.event.span, other.text) is False
    both = f"{shapes_events[0].text} {shapes_events[1].text}"
    assert verify_claim(pool, prober_for(pool.engine.checkpoint), shapes_video, shapes_events[0].event.span, both) is False


@dataclass
class Talker:
    """A session of a checkpoint that answers anything: one that sees a dog between 10 and 20 seconds."""

    window: Span = Span(0.0, 60.0)
    clock_offset_s: float = 0.0
    asked: str = ""
    begins: str = "Yes"

    def ask(self, question: str, **_: Any) -> Any:
        self.asked = question
        return Talk(f"{self.begins}, at that time there is. I could go on about it for a long time.")


class Talk:
    def __init__(self, whole: str) -> None:
        self.text, self._whole, self.words_said = "", whole, 0

    def __iter__(self) -> Iterator[str]:
        for word in self._whole.split(" "):
            self.words_said += 1
            self.text += word + " "
            yield word


@pytest.mark.parametrize(
    ("begins", "holds_there"), [("Yes", True), ('"Yes"', True), ("**yes**", True), ("No", False), ("Yesterday", False)]
)
def test_a_checkpoint_that_can_answer_anything_is_asked_for_a_yes(begins: str, holds_there: bool) -> None:
    talker = Talker(clock_offset_s=7200.0, window=Span(7200.0, 7260.0), begins=begins)
    ticks: list[int] = []
    found = confirm_span(cast(VideoSession, talker), Span(7210.0, 7220.0), 'a "dog" runs', (), tick=lambda: ticks.append(1))
    assert found is holds_there
    assert "from 10.0 to 20.0 seconds" in talker.asked and "a 'dog' runs" in talker.asked
    # The rest of the reply is not waited for.
    assert len(ticks) == 1
