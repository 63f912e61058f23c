"""Verification replies of a real Qwen3-VL: a yes, a no, or neither. Only the model is scripted."""

from collections.abc import Callable

import pytest

from longview.core.timeline import Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.verification import verify_claim
from longview.model.tasks.verifier import parse_yes_or_no
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.model.tasks.real_replies.samples import UNDECIDED
from tests.support.fakes import Script, ScriptedEngine
from tests.support.task_scripts import (
    VERIFIER,
    always,
    scripted,
)

YES = ["Yes.", "Yes", "yes, a dog runs.", "**Yes**", "Answer: yes", "The answer is yes.", "<think>No dog? Here.</think>\n\nYes."]
NO = [
    "No",
    "**No**",
    "No, there is no dog.",
    "no.",
    "Answer: No",
    "The answer is no.",
    "My answer: **no**",
    "dog?</think>No.",
    "Yes or no? No.",
    "The answer to the question is no.",
]


@pytest.mark.parametrize(
    ("reply", "expected"), [*((one, True) for one in YES), *((one, False) for one in NO), *((one, None) for one in UNDECIDED)]
)
def test_verification_replies(play: Callable[[Script], SessionPool], video: VideoInfo, reply: str, expected: bool | None) -> None:
    assert parse_yes_or_no(reply) is expected
    assert verify_claim(play(always(reply)), VERIFIER, video, Span(10, 20), "a dog runs") is expected


def test_verification_waits_for_the_end_of_long_thoughts(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    reply = f"<think>{'I look at every frame once more. ' * 20}No, wait.</think>\n\nYes. And more."
    pool = play(always(reply))
    assert verify_claim(pool, VERIFIER, video, Span(10, 20), "a dog runs") is True
    assert scripted(pool).generations[-1].text.endswith("Yes.")


def test_any_session_with_a_yes_confirms_a_claim(decoder: Decoder, video: VideoInfo) -> None:
    """Without a warm session the question goes to a clip around the span."""
    pool = SessionPool(ScriptedEngine(always("Yes.")), decoder)
    assert verify_claim(pool, VERIFIER, video, Span(100, 110), "a dog runs") is True
    [session] = scripted(pool).sessions
    assert session.window.start_s < 100 and session.window.end_s > 110
    assert session.window.duration_s < 30
