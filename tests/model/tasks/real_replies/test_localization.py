"""Spans as a real Qwen3-VL replies with them, in all forms, and absence. Only the model is scripted."""

import json
from collections.abc import Callable

import pytest

from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.context import TaskContext
from longview.model.tasks.localizer import Localization, locate
from longview.model.tasks.options import LocateOptions
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.model.tasks.real_replies.samples import DOG, SPANS, UNDECIDED
from tests.support.fakes import CUT_OFF, FakeSession, Script, ScriptedEngine
from tests.support.task_scripts import (
    CONTEXT_TOKENS,
    VERIFIER,
    clock,
    is_localization,
    is_verification,
    localization,
    scripted,
)

MINUTE = Span(0.0, 60.0)


LOCALIZATION_FORMS = {
    "list": json.dumps(SPANS),
    "fenced list": f"```json\n{json.dumps(SPANS, indent=2)}\n```",
    "clock times": json.dumps([{"start_time": clock(DOG.start_s), "end_time": clock(DOG.end_s)}]),
    "with a description": json.dumps([SPANS[0] | {"description": "狗在跑"}]),
    "range": json.dumps({"00:23.00 - 00:48.00": "A dog runs."}),
    "object": json.dumps(SPANS[0]),
    "prose": f"The dog [a terrier] appears once: {json.dumps(SPANS)}. Nothing else matches.",
    "thoughts": f"<think>Maybe [] or [[1, 2]]?</think>{json.dumps(SPANS)}",
    "pairs": json.dumps([[DOG.start_s, DOG.end_s]]),
}


def locate_dog(pool: SessionPool, video: VideoInfo, *, verify: bool = True, refine: bool = False) -> Localization:
    return locate(TaskContext(pool, VERIFIER, video), "a dog runs", LocateOptions(verify=verify, refine=refine), span=MINUTE)


@pytest.mark.parametrize("form", LOCALIZATION_FORMS.values(), ids=LOCALIZATION_FORMS)
@pytest.mark.parametrize("refine", [False, True])
def test_localization_of_every_form(play: Callable[[Script], SessionPool], video: VideoInfo, form: str, refine: bool) -> None:
    result = locate_dog(play(localization(form, "Yes.")), video, refine=refine)
    [occurrence] = result.occurrences
    assert occurrence.span.start_s == pytest.approx(DOG.start_s, abs=1.0)
    assert occurrence.span.end_s == pytest.approx(DOG.end_s, abs=1.0)
    assert (occurrence.is_verified, result.is_found, result.unresolved) == (True, True, ())


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("verification", UNDECIDED)
def test_unreadable_verification_keeps_the_span(
    play: Callable[[Script], SessionPool], video: VideoInfo, verification: str, refine: bool
) -> None:
    result = locate_dog(play(localization(json.dumps(SPANS), verification)), video, refine=refine)
    [occurrence] = result.occurrences
    assert occurrence.span.iou(DOG) > 0.9
    assert (occurrence.is_verified, result.is_found) == (None, True)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("verification", ["No.", "**No**, there is no dog."])
def test_denied_span_is_dropped(play: Callable[[Script], SessionPool], video: VideoInfo, verification: str, refine: bool) -> None:
    result = locate_dog(play(localization(json.dumps(SPANS), verification)), video, refine=refine)
    assert (result.occurrences, result.is_found) == ((), False)
    assert result.describe_absence("a dog runs", is_part=True).startswith("Not in this part of the video: a dog runs. Searched")


ABSENT_FORMS = ["[]", "```json\n[]\n```", "There is no dog in this video: []", "{}", '{"events": []}', "<think>[{}]?</think>[]"]


@pytest.mark.parametrize("reply", ABSENT_FORMS)
@pytest.mark.parametrize(("verification", "is_found"), [("No.", False), (".", None), ("没有", None), ("Yes.", None)])
def test_absence_is_stated_only_if_it_is_confirmed(
    play: Callable[[Script], SessionPool], video: VideoInfo, reply: str, verification: str, is_found: bool | None
) -> None:
    result = locate_dog(play(localization(reply, verification)), video)
    assert (result.occurrences, result.is_found) == ((), is_found)
    assert result.unresolved == (() if is_found is False else (MINUTE,))
    assert result.coverage.uncovered == ()
    text = result.describe_absence("a dog runs")
    assert text.startswith("Not in this video" if is_found is False else "Not found: a dog runs. This could not be")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("reply", ["No moment matches.", "", "[" + CUT_OFF, "狗没有出现。"])
def test_unreadable_localization_proves_no_absence(
    play: Callable[[Script], SessionPool], video: VideoInfo, reply: str, verify: bool
) -> None:
    result = locate_dog(play(localization(reply, "No.")), video, verify=verify)
    assert (result.occurrences, result.is_found, result.unresolved) == ((), None, (MINUTE,))
    assert result.coverage.uncovered == (MINUTE,)


def test_absence_needs_no_verification_where_it_is_off(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    pool = play(localization("[]", "unused"))
    asked_count = len(scripted(pool).prompts)
    assert locate_dog(pool, video, verify=False).is_found is False
    [prompt] = scripted(pool).prompts[asked_count:]
    assert is_localization(prompt)


@pytest.mark.parametrize(("verification", "is_found"), [("No.", False), ("Yes.", None), (".", None)])
def test_candidate_that_its_clip_does_not_show_is_verified(
    play: Callable[[Script], SessionPool], video: VideoInfo, verification: str, is_found: bool | None
) -> None:
    def script(prompt: str, session: FakeSession) -> str:
        if is_verification(prompt):
            return verification
        return json.dumps(SPANS) if session.window == MINUTE else "[]"

    result = locate_dog(play(script), video, refine=True)
    assert (result.occurrences, result.is_found) == ((), is_found)
    assert bool(result.unresolved) is (is_found is None)


def test_unresolved_spans_are_those_of_undecided_windows(decoder: Decoder, video: VideoInfo) -> None:
    def script(prompt: str, session: FakeSession) -> str:
        if is_localization(prompt):
            return "[]"
        return "." if session.window.contains(100.0) else "No."

    pool = SessionPool(ScriptedEngine(script, context_tokens=CONTEXT_TOKENS), decoder)
    result = locate(TaskContext(pool, VERIFIER, video), "a dog runs", LocateOptions(verify=True, refine=True))
    [undecided] = [window.span for window in result.plan.windows if window.span.contains(100.0)]
    assert (result.is_found, result.unresolved) == (None, (undecided,))
    assert format_time(undecided.start_s) in result.describe_absence("a dog runs")
