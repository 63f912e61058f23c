"""Scripts of a real checkpoint: captions in the forms of Qwen3-VL, localisations, and verifications."""

import pytest

from longview.core.timeline import Event
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import Captions
from longview.model.tasks.verifier import FreeFormVerifier
from tests.support.fakes import FakeSession, Script, ScriptedEngine

CONTEXT_TOKENS = 3_600
"""Three minutes of video are four windows of this context."""
VERIFIER = FreeFormVerifier()
PROMPTS = find_profile("qwen3_vl").prompts


def refuse(prompt: str, session: FakeSession) -> str:
    raise AssertionError(f"no script for {prompt}")


def scripted(pool: SessionPool) -> ScriptedEngine:
    assert isinstance(pool.engine, ScriptedEngine)
    return pool.engine


def is_verification(prompt: str) -> bool:
    return PROMPTS.confirmation.partition("{")[0] in prompt


def is_localization(prompt: str) -> bool:
    return PROMPTS.localization.partition("{")[0] in prompt


def always(reply: str) -> Script:
    return lambda prompt, session: reply


def clock(seconds: float) -> str:
    """Return a time in the `mm:ss.ff` of the cookbook."""
    return f"{int(seconds // 60):02}:{seconds % 60:05.2f}"


def localization(reply: str, verification: str) -> Script:
    """Return a script for `locate`."""

    def script(prompt: str, session: FakeSession) -> str:
        assert is_localization(prompt) or is_verification(prompt)
        return reply if is_localization(prompt) else verification

    return script


def check_events(captions: Captions, *expected: Event) -> None:
    assert [event.text for event in captions.events] == [event.text for event in expected]
    for event, true in zip(captions.events, expected, strict=True):
        # To the patch period of one second.
        assert event.span.start_s == pytest.approx(true.span.start_s, abs=1.0)
        assert event.span.end_s == pytest.approx(true.span.end_s, abs=1.0)
