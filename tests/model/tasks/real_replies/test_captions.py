"""Captions as a real Qwen3-VL replies with them, in all forms. Only the model is scripted."""

import json
from collections.abc import Callable

import pytest

from longview.core.timeline import Event, Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import Captions, caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.options import CaptionOptions
from longview.video.probing.probe import VideoInfo
from tests.support.fakes import CUT_OFF, Script
from tests.support.task_scripts import (
    VERIFIER,
    always,
    check_events,
    clock,
)

MINUTE = Span(0.0, 60.0)
FREE_CAPTIONS = CaptionOptions(verify=False, refine=False)


WALKS = Event(Span(2.0, 9.0), "A man in a dark suit walks across the stage and picks up the microphone.")
SPEAKS = Event(Span(23.0, 48.0), 'He speaks to the audience; the slide behind him says "Results {2024} [draft]".')
EVENTS = (WALKS, SPEAKS)


RANGES = {f"{clock(event.span.start_s)} - {clock(event.span.end_s)}": event.text for event in EVENTS}
LIST = [{"start": event.span.start_s, "end": event.span.end_s, "description": event.text} for event in EVENTS]
CLOCK_LIST = [
    {"start_time": clock(event.span.start_s), "end_time": clock(event.span.end_s), "description": event.text} for event in EVENTS
]
FORMS = {"ranges": RANGES, "seconds": LIST, "clock times": CLOCK_LIST}
WRAPPINGS = {
    "bare": "{}",
    "fenced": "```json\n{}\n```",
    "fence without a name": "```\n{}\n```",
    "prose": "Based on the video [1], these are the events:\n\n{}\n\nLet me know if you need more [details].",
    "thoughts": '<think>\nFirst {{"start": 1, "end": 2}} … no, [3, 4].\n</think>\n\n{}',
    "end of thoughts": "He enters at 00:02.\n</think>\n{}",
    "fence in thoughts": "<think>```json\n[]\n```</think>```json\n{}\n```",
}


def caption_minute(pool: SessionPool, video: VideoInfo) -> Captions:
    plan = pool.planner.plan(video, "caption", span=MINUTE)
    return run_to_end(caption(TaskContext(pool, VERIFIER, video), plan, FREE_CAPTIONS))


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("indent", [None, 4], ids=["one line", "indented"])
def test_captions_of_every_form(
    play: Callable[[Script], SessionPool], video: VideoInfo, form: object, wrapping: str, indent: int | None
) -> None:
    reply = wrapping.format(json.dumps(form, indent=indent))
    captions = caption_minute(play(always(reply)), video)
    check_events(captions, *EVENTS)
    assert captions.coverage.uncovered == ()


@pytest.mark.parametrize(
    "reply",
    [
        "\n".join(json.dumps(entry) for entry in LIST),
        "\n".join(json.dumps({key: text}) for key, text in RANGES.items()),
        json.dumps({"video": "talk.mp4", "events": LIST, "count": 2}),
        json.dumps(LIST)[:-1] + ",]",
        json.dumps([{"start": "2.0s", "end": "9.0 seconds", "description": WALKS.text}, LIST[1]]),
        json.dumps({"2.0s to 9.0s": WALKS.text, "23 – 48": SPEAKS.text}),
        json.dumps(LIST).replace("walks across", "walks\nacross"),
        json.dumps([{"timestamp": key, "caption": text} for key, text in RANGES.items()]),
        json.dumps({"timestamps": [[2.0, 9.0], [23.0, 48.0]], "sentences": [WALKS.text, SPEAKS.text]}),
        json.dumps([{"start": "<2.0 seconds>", "end": "<9.0 seconds>", "description": WALKS.text}, LIST[1]]),
    ],
    ids=[
        "lines",
        "lines of ranges",
        "named list",
        "comma at the end",
        "units",
        "ranges with units",
        "line break",
        "timestamp ranges",
        "ActivityNet",
        "timestamps of the prompt",
    ],
)
def test_captions_of_rarer_forms(play: Callable[[Script], SessionPool], video: VideoInfo, reply: str) -> None:
    captions = caption_minute(play(always(reply)), video)
    check_events(captions, *EVENTS)
    assert captions.coverage.uncovered == ()


@pytest.mark.parametrize("fence", ["", "```json\n"], ids=["bare", "fenced"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("cut", ["in the sentence", "in the times"])
def test_complete_captions_of_a_cut_off_reply(
    play: Callable[[Script], SessionPool], video: VideoInfo, form: object, fence: str, cut: str
) -> None:
    text = json.dumps(form)
    end = text.index("slide") if cut == "in the sentence" else text.index("00:23" if "00:23" in text else "23.0") + 3
    captions = caption_minute(play(always(fence + text[:end] + CUT_OFF)), video)
    check_events(captions, WALKS)
    # What the rest of the reply would have said is unknown.
    assert captions.coverage.uncovered == (MINUTE,)


@pytest.mark.parametrize(
    "text",
    [
        "一名男子走上舞台，拿起麦克风。",
        "Un hombre sube al escenario y coge el micrófono.",
        "한 남자가 무대 위로 걸어가 마이크를 든다.",
    ],
    ids=["Chinese", "Spanish", "Korean"],
)
@pytest.mark.parametrize("is_escaped", [True, False])
def test_captions_in_other_languages(
    play: Callable[[Script], SessionPool], video: VideoInfo, text: str, is_escaped: bool
) -> None:
    reply = json.dumps({"00:02.00 - 00:09.00": text, "00:30.00 - 00:48.00": "…"}, ensure_ascii=is_escaped)
    captions = caption_minute(play(always(reply)), video)
    check_events(captions, Event(WALKS.span, text), Event(Span(30.0, 48.0), "…"))


def test_times_outside_of_the_window_are_rejected(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    middle = Span(60.0, 120.0)
    before, after = Event(Span(2.0, 9.0), "Too early."), Event(Span(150.0, 160.0), "Too late.")
    partly = Event(Span(100.0, 140.0), "A circle leaves.")
    entries = [
        {"start": event.span.start_s, "end": event.span.end_s, "description": event.text} for event in (before, partly, after)
    ]
    pool = play(always(json.dumps(entries)))
    plan = pool.planner.plan(video, "caption", span=middle)
    captions = run_to_end(caption(TaskContext(pool, VERIFIER, video), plan, FREE_CAPTIONS))
    check_events(captions, Event(Span(100.0, 120.0), partly.text))
    assert captions.coverage.uncovered == (middle,)


@pytest.mark.parametrize("reply", ["", "The video shows a man on a stage.", "<think>He walks", "I cannot see a video."])
def test_reply_without_captions_leaves_its_window_uncovered(
    play: Callable[[Script], SessionPool], video: VideoInfo, reply: str
) -> None:
    captions = caption_minute(play(always(reply)), video)
    assert captions.events == () and captions.coverage.uncovered == (MINUTE,)
