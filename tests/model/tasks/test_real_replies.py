"""Replies as a real Qwen3-VL gives them, in all forms: captioner, localiser, verifier and answerer with a scripted engine.

Only the model is scripted. Pool, planner, decoder and video are real.
"""

import json
from collections.abc import Callable, Iterator

import pytest

from longview.model.engine.sessions import SessionPool
from longview.model.tasks.answerer import VideoAnswer, answer_question
from longview.model.tasks.captioner import Captions, caption
from longview.model.tasks.events import run_to_end
from longview.model.tasks.localizer import Localization, locate
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.model.tasks.prober import parse_yes_or_no
from longview.model.tasks.verifier import verify_claim
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from longview.video.time_text import format_time
from longview.video.timeline import Event, Span
from tests.fakes import CUT_OFF, FakeSession, Script, ScriptedEngine, run_to_list
from tests.model.tasks.scripts import (
    CONTEXT_TOKENS,
    PROBER,
    always,
    check_events,
    clock,
    is_localization,
    is_verification,
    localization,
    refuse,
    scripted,
)

DURATION_S = 180.0
MINUTE = Span(0.0, 60.0)
FREE_CAPTIONS = CaptionOptions(verify=False, refine=False)
FREE_ANSWERS = AnswerOptions(verify=False, captions=FREE_CAPTIONS, localization=LocateOptions(verify=True, refine=False))
"""The default checks of a checkpoint that answers any question; the localisation is not refined."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    events = [ShapesEvent(5.0, 170.0, "red", "circle", "moves to the right")]
    return probe(render(tmp_path_factory.mktemp("real") / "video.mp4", events, DURATION_S, width=160, height=96, fps=5.0))


@pytest.fixture(scope="module")
def shared_pool(decoder: Decoder) -> SessionPool:
    """A pool whose sessions are decoded once for all scripts."""
    return SessionPool(ScriptedEngine(refuse), decoder)


@pytest.fixture
def play(shared_pool: SessionPool) -> Iterator[Callable[[Script], SessionPool]]:
    """A function that gives the shared pool a script."""

    def play(script: Script) -> SessionPool:
        scripted(shared_pool).script = script
        return shared_pool

    yield play
    scripted(shared_pool).script = refuse


# -- captions --------------------------------------------------------------------------------------------------------

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
    return run_to_end(caption(pool, PROBER, video, plan, FREE_CAPTIONS))


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
    captions = run_to_end(caption(pool, PROBER, video, plan, FREE_CAPTIONS))
    check_events(captions, Event(Span(100.0, 120.0), partly.text))
    assert captions.coverage.uncovered == (middle,)


@pytest.mark.parametrize("reply", ["", "The video shows a man on a stage.", "<think>He walks", "I cannot see a video."])
def test_reply_without_captions_leaves_its_window_uncovered(
    play: Callable[[Script], SessionPool], video: VideoInfo, reply: str
) -> None:
    captions = caption_minute(play(always(reply)), video)
    assert captions.events == () and captions.coverage.uncovered == (MINUTE,)


# -- a yes or a no ---------------------------------------------------------------------------------------------------

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
UNDECIDED = [
    "",
    ".",
    "是",
    "是的，有一只狗。",
    "Sí",
    "Sí, un perro corre.",
    "네, 있습니다.",
    "Nobody knows.",
    "Not clear.",
    "Yesterday.",
    "<think>",
    "<think>No dog so far, but",
    "The video shows a stage, a man and a microphone. It is about a talk at a conference. Yes.",
]


@pytest.mark.parametrize(
    ("reply", "expected"), [*((one, True) for one in YES), *((one, False) for one in NO), *((one, None) for one in UNDECIDED)]
)
def test_verification_replies(play: Callable[[Script], SessionPool], video: VideoInfo, reply: str, expected: bool | None) -> None:
    assert parse_yes_or_no(reply) is expected
    assert verify_claim(play(always(reply)), PROBER, video, Span(10, 20), "a dog runs") is expected


def test_verification_waits_for_the_end_of_long_thoughts(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    reply = f"<think>{'I look at every frame once more. ' * 20}No, wait.</think>\n\nYes. And more."
    pool = play(always(reply))
    assert verify_claim(pool, PROBER, video, Span(10, 20), "a dog runs") is True
    assert scripted(pool).generations[-1].text.endswith("Yes.")


def test_any_session_with_a_yes_confirms_a_claim(decoder: Decoder, video: VideoInfo) -> None:
    """Without a warm session the question goes to a clip around the span."""
    pool = SessionPool(ScriptedEngine(always("Yes.")), decoder)
    assert verify_claim(pool, PROBER, video, Span(100, 110), "a dog runs") is True
    [session] = scripted(pool).sessions
    assert session.window.start_s < 100 and session.window.end_s > 110
    assert session.window.duration_s < 30


# -- localisation ----------------------------------------------------------------------------------------------------

DOG = Span(23.0, 48.0)
SPANS = [{"start": DOG.start_s, "end": DOG.end_s}]
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
    return locate(pool, PROBER, video, "a dog runs", LocateOptions(verify=verify, refine=refine), span=MINUTE)


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
    result = locate(pool, PROBER, video, "a dog runs", LocateOptions(verify=True, refine=True))
    [undecided] = [window.span for window in result.plan.windows if window.span.contains(100.0)]
    assert (result.is_found, result.unresolved) == (None, (undecided,))
    assert format_time(undecided.start_s) in result.describe_absence("a dog runs")


# -- answers ---------------------------------------------------------------------------------------------------------


def ask(pool: SessionPool, video: VideoInfo, question: str, *, verify: bool = False) -> VideoAnswer:
    options = AnswerOptions(verify, FREE_ANSWERS.captions, FREE_ANSWERS.localization)
    pieces, answer = run_to_list(answer_question(pool, PROBER, video, question, options))
    assert "".join(piece.text for piece in pieces).strip() == answer.text
    return answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog runs across the stage from 23.0 to 48.0 seconds.", [DOG]),
        ("狗在 00:23 - 00:48 跑过舞台。", [DOG]),
        ("Un perro corre (0:23 – 0:48).", [DOG]),
        ("**00:23** a dog runs; at 2:00 it is gone.", [Span(23, 24), Span(120, 121)]),
        ("There is no dog.", []),
        ("It happens at 9:59:59.", []),
    ],
)
def test_answer_cites_the_times_that_it_names(
    play: Callable[[Script], SessionPool], video: VideoInfo, text: str, expected: list[Span]
) -> None:
    answer = ask(play(always(text)), video, "What does the dog do?")
    assert answer.text == text
    assert len(answer.citations) == len(expected)
    for citation, span in zip(answer.citations, expected, strict=True):
        assert citation.start_s == pytest.approx(span.start_s, abs=1.0)
        assert citation.end_s == pytest.approx(span.end_s, abs=1.0)


def test_cut_off_answer_says_so(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    answer = ask(play(always("A dog runs and" + CUT_OFF)), video, "What does the dog do?")
    assert answer.text == "A dog runs and … (The answer was cut off here.)"


@pytest.mark.parametrize(
    ("verification", "addition"),
    [
        ("Yes.", ""),
        ("The answer is no.", " (Verification did not confirm this at {}.)"),
        ("是", " (This could not be verified at {}.)"),
    ],
)
def test_answer_says_what_verification_did_not_confirm(
    play: Callable[[Script], SessionPool], video: VideoInfo, verification: str, addition: str
) -> None:
    text = "A dog runs from 23.0 to 48.0 seconds."
    pool = play(lambda prompt, session: verification if is_verification(prompt) else text)
    [span] = ask(pool, video, "What does the dog do?").citations
    answer = ask(pool, video, "What does the dog do?", verify=True)
    assert answer.text == text + addition.format(f"{format_time(span.start_s)} to {format_time(span.end_s)}")
    assert answer.citations == (() if "no" in verification else (span,))


def test_question_about_a_range_is_asked_of_a_window_of_it(play: Callable[[Script], SessionPool], video: VideoInfo) -> None:
    pool = play(always("He speaks from 00:23 to 00:48."))
    answer = ask(pool, video, "What happens between 20 and 50 seconds?")
    assert answer.text == "He speaks from 00:23 to 00:48."
    assert answer.citations[0].iou(DOG) > 0.9
    assert answer.plan is not None and answer.plan.span == Span(20.0, 50.0)


@pytest.mark.parametrize(
    ("reply", "verification", "start"),
    [
        (json.dumps(SPANS), "Yes.", "From 2"),
        (json.dumps(SPANS), ".", "From 2"),
        ("[]", "No.", "Not in this video: dog. Searched"),
        ("[]", "是", "Not found: dog. This could not be verified from 0:00:00.0 to 0:03:00.0."),
    ],
)
def test_answer_when_states_only_what_is_decided(
    play: Callable[[Script], SessionPool], video: VideoInfo, reply: str, verification: str, start: str
) -> None:
    answer = ask(play(localization(reply, verification)), video, "When does the dog appear?")
    assert answer.text.startswith(start)
