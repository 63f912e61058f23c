"""Answers that run on a server: in turn, to their end or until they are stopped, and in the right order with a clearing."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import ServerBusy
from longview.app.service import Longview
from longview.app.serving import running_answers
from longview.app.serving.running_answers import LIBRARY, AnswerState, RunningAnswers
from longview.app.settings import Settings
from tests.support.library_samples import put_speech, sample_entry, spoken

VIDEO = "a" * 12
QUESTION = "When is the lighthouse mentioned?"
TIMEOUT_S = 60


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    app = Longview(Settings(library=tmp_path, device="cpu"))
    put_speech(app.parts.library, sample_entry(VIDEO), [spoken(1.0, "The lighthouse has a lamp and a clockwork.")])
    return app


@pytest.fixture
def answers(app: Longview) -> Iterator[RunningAnswers]:
    answers = RunningAnswers(app)
    yield answers
    answers.close()


@pytest.fixture
def gate(app: Longview, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let answers begin only when the event is set, or when they are cancelled."""
    event, ask = threading.Event(), app.ask

    def wait_and_ask(*arguments: Any, **options: Any) -> Any:
        while not event.wait(0.02):
            options["progress"].raise_if_cancelled()
        return ask(*arguments, **options)

    monkeypatch.setattr(app, "ask", wait_and_ask)
    return event


def wait_until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ended(answers: RunningAnswers, asked: AnswerState) -> AnswerState:
    wait_until(lambda: not state_of(answers, asked).is_unfinished)
    return state_of(answers, asked)


def state_of(answers: RunningAnswers, asked: AnswerState) -> AnswerState:
    state = answers.state(asked.answer_id)
    assert state is not None
    return state


def test_questions_are_answered_in_turn_and_their_conversation_has_them(
    app: Longview, answers: RunningAnswers, gate: threading.Event
) -> None:
    entry = app.video_with_id(VIDEO)
    first, second = (answers.ask(entry, question) for question in (QUESTION, "When is the clockwork mentioned?"))
    assert [state.question for state in answers.unfinished(VIDEO)] == [first.question, second.question]
    wait_until(lambda: state_of(answers, first).status == "running")
    assert state_of(answers, second).status == "waiting" and answers.changed_since(0) == {VIDEO}
    gate.set()
    assert ended(answers, second).status == "done" and not answers.unfinished(VIDEO)
    assert [item.question for item in app.conversations.answers(entry)] == [first.question, second.question]
    assert ended(answers, answers.ask(None, QUESTION)).result is not None


def test_a_stopped_answer_is_in_no_conversation_and_lets_the_next_one_run(
    app: Longview, answers: RunningAnswers, gate: threading.Event
) -> None:
    entry = app.video_with_id(VIDEO)
    first, waiting = answers.ask(entry, QUESTION), answers.ask(entry, QUESTION)
    about_library = answers.ask(None, QUESTION)
    answers.stop(VIDEO)
    assert {ended(answers, first).status, ended(answers, waiting).status} == {"stopped"}
    assert state_of(answers, about_library).is_unfinished and answers.unfinished(LIBRARY)
    answers.stop_answer(about_library.answer_id)
    assert ended(answers, about_library).status == "stopped" and not app.conversations.answers(entry)


def test_what_is_asked_during_a_clearing_is_answered_after_it(
    app: Longview, answers: RunningAnswers, gate: threading.Event
) -> None:
    entry = app.video_with_id(VIDEO)
    before = answers.ask(entry, "before")
    with answers.clearing(VIDEO):
        during = answers.ask(entry, QUESTION)
        gate.set()
        assert ended(answers, before).status == "stopped" and state_of(answers, before).is_discarded
        time.sleep(0.1)
        assert state_of(answers, during).status == "waiting"
        app.conversations.clear(entry)
    assert ended(answers, during).status == "done" and not during.is_discarded
    assert [item.question for item in app.conversations.answers(entry)] == [QUESTION]


def test_questions_about_a_removed_video_and_too_many_questions_end_with_a_reason(
    app: Longview, answers: RunningAnswers, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = app.video_with_id(VIDEO)
    monkeypatch.setattr(running_answers, "MAX_UNFINISHED", 2)
    answers.ask(entry, QUESTION)
    late = answers.ask(entry, QUESTION)
    with pytest.raises(ServerBusy, match="ask again when some are answered"):
        answers.ask(entry, QUESTION)
    app.remove(entry)
    gate.set()
    state = ended(answers, late)
    assert state.status == "failed" and "removed before the question was answered" in state.text
