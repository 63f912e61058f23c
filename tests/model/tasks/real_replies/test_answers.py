"""Answers of a real Qwen3-VL, and the times that they cite. Only the model is scripted."""

import json
from collections.abc import Callable

import pytest

from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.answerer import VideoAnswer, answer_question
from longview.model.tasks.context import TaskContext
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.model.tasks.question import Question
from longview.video.probing.probe import VideoInfo
from tests.model.tasks.real_replies.samples import DOG, SPANS
from tests.support.fakes import CUT_OFF, Script, run_to_list
from tests.support.task_scripts import (
    VERIFIER,
    always,
    is_verification,
    localization,
)

FREE_CAPTIONS = CaptionOptions(verify=False, refine=False)
FREE_ANSWERS = AnswerOptions(verify=False, captions=FREE_CAPTIONS, localization=LocateOptions(verify=True, refine=False))
"""The default checks of a checkpoint that answers any question; the localisation is not refined."""


def ask(pool: SessionPool, video: VideoInfo, question: str, *, verify: bool = False) -> VideoAnswer:
    options = AnswerOptions(verify, FREE_ANSWERS.captions, FREE_ANSWERS.localization)
    pieces, answer = run_to_list(answer_question(TaskContext(pool, VERIFIER, video), Question(question), options))
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
