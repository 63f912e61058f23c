"""A cancel from another thread ends prefill, generation, waiting and silent servers; the next question is answered."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from longview.core.progress import Cancelled, Progress
from longview.core.timeline import Span
from longview.model.engine.base import VideoSession, WindowRequest
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.local import LocalEngine
from longview.model.engine.remote.engine import RemoteEngine
from longview.model.engine.remote.server import Server
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.question import Question
from longview.model.training.questions import PROMPTS
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.support.cancelling import cancel_during
from tests.support.fakes import ANSWER_CHECKS, CAPTION_CHECKS
from tests.support.scripted_server import BLACK, Script, Silence, rejects, streams

QUESTION, REPLY = "What happens at 4.0 seconds?", "A red circle moves to the right."


def open_session(pool: SessionPool, video: VideoInfo, progress: Progress) -> VideoSession:
    plan = pool.planner.plan(video, "qa")
    return pool.session(video, plan, plan.windows[0], progress=progress)


def run_until_cancelled(session: VideoSession, progress: Progress, *, question: str = PROMPTS.dense_captions) -> None:
    while True:
        for _ in session.generate(question, max_new_tokens=300, progress=progress):
            pass


@pytest.fixture
def new_pool(engine: LocalEngine, decoder: Decoder) -> SessionPool:
    """A pool without sessions."""
    return SessionPool(engine, decoder, memory_bytes=1 << 30)


def check_next_question(pool: SessionPool, video: VideoInfo) -> None:
    session = open_session(pool, video, Progress())
    assert "".join(session.generate(QUESTION, max_new_tokens=50, progress=Progress())) == REPLY
    assert pool._reserved_bytes == {}


def test_cancel_during_prefill(new_pool: SessionPool, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks_begun = threading.Event()
    append_frames = Prefill.append_frames
    frames_played_at = new_pool.decoder.frames_played_at

    def append_and_report(self: Prefill, *frames: Any) -> None:
        append_frames(self, *frames)
        chunks_begun.set()

    def endless(*request: Any, **options: Any) -> Iterator[Any]:
        """A decoder without progress, that always has more frames: only the prefill can be cancelled."""
        options.pop("progress")
        for _ in range(10_000):
            yield from frames_played_at(*request, **options)

    monkeypatch.setattr(Prefill, "append_frames", append_and_report)
    monkeypatch.setattr(new_pool.decoder, "frames_played_at", endless)
    cancel_during(lambda progress: open_session(new_pool, shapes_video, progress), when=chunks_begun.is_set)
    monkeypatch.undo()
    check_next_question(new_pool, shapes_video)


def test_cancel_during_decoding(new_pool: SessionPool, shapes_video: VideoInfo) -> None:
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        open_session(new_pool, shapes_video, progress)
    check_next_question(new_pool, shapes_video)


def test_cancel_during_generation(pool: SessionPool, shapes_video: VideoInfo) -> None:
    session = open_session(pool, shapes_video, Progress())
    cancel_during(lambda progress: run_until_cancelled(session, progress))
    check_next_question(pool, shapes_video)


def test_cancel_while_another_reply_is_generated(pool: SessionPool, shapes_video: VideoInfo) -> None:
    session = open_session(pool, shapes_video, Progress())
    other = iter(session.generate(QUESTION, max_new_tokens=50))
    pieces = [next(other)]
    cancel_during(lambda progress: list(session.generate(QUESTION, max_new_tokens=50, progress=progress)))
    # The other reply is not disturbed.
    assert "".join([*pieces, *other]) == REPLY
    check_next_question(pool, shapes_video)


def test_cancel_while_another_user_opens_the_window(
    new_pool: SessionPool, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_end = threading.Event(), threading.Event()
    frames_played_at = new_pool.decoder.frames_played_at

    def slow(*request: Any, **options: Any) -> Iterator[Any]:
        has_begun.set()
        may_end.wait(60)
        yield from frames_played_at(*request, **options)

    monkeypatch.setattr(new_pool.decoder, "frames_played_at", slow)
    sessions: list[VideoSession] = []
    other = threading.Thread(target=lambda: sessions.append(open_session(new_pool, shapes_video, Progress())))
    other.start()
    assert has_begun.wait(30)
    try:
        cancel_during(lambda progress: open_session(new_pool, shapes_video, progress))
    finally:
        may_end.set()
        other.join()
    monkeypatch.undo()
    assert sessions == [open_session(new_pool, shapes_video, Progress())]
    check_next_question(new_pool, shapes_video)


def test_cancel_during_captions_and_answers(pool: SessionPool, shapes_video: VideoInfo) -> None:
    verifier, plan = verifier_for(pool.engine.checkpoint), pool.planner.plan(shapes_video, "caption")

    def caption_endlessly(progress: Progress) -> None:
        while True:
            run_to_end(caption(TaskContext(pool, verifier, shapes_video, progress=progress), plan, CAPTION_CHECKS))

    def answer_endlessly(progress: Progress) -> None:
        while True:
            run_to_end(
                answer_question(TaskContext(pool, verifier, shapes_video, progress=progress), Question(QUESTION), ANSWER_CHECKS)
            )

    for operation in (caption_endlessly, answer_endlessly):
        cancel_during(operation)
    check_next_question(pool, shapes_video)


@pytest.mark.parametrize("pieces", [(), ("A red", " circle")], ids=["before the reply", "during the reply"])
def test_cancel_while_the_server_is_silent(script: Script, pieces: tuple[str, ...]) -> None:
    silence = Silence(*pieces)
    script.responses = [silence, streams("Yes", ".")]
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    generations = []

    def generate(progress: Progress) -> None:
        generations.append(session.generate("What?", max_new_tokens=9, progress=progress))
        list(generations[0])

    cancel_during(generate, when=lambda: silence.has_begun.is_set() and generations[0].text == "".join(pieces))
    assert generations[0].text == "".join(pieces) and not generations[0].is_complete
    # The server stops, because the connection is closed.
    assert silence.is_closed.wait(20)
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="only the main thread is interrupted")
def test_interrupt_while_the_server_is_silent(script: Script) -> None:
    silence = Silence()
    script.responses = [silence, streams("Yes.")]
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    # A test runner may ignore the signal.
    previous_handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        silence.has_begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(session.generate("What?", max_new_tokens=9))
    finally:
        interrupter.join()
        signal.signal(signal.SIGINT, previous_handler)
    assert silence.is_closed.wait(20)
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."


def test_cancel_while_a_request_waits_to_be_repeated(script: Script) -> None:
    script.responses = [rejects(503, Retry_After="60")]
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    cancel_during(
        lambda progress: list(session.generate("What?", max_new_tokens=9, progress=progress)),
        when=lambda: bool(script.requests) and not script.responses,
    )
    script.responses = [streams("Yes.")]
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."


def test_cancel_of_a_text_reply(script: Script, remote_pool: SessionPool) -> None:
    silence = Silence()
    script.responses = [silence, streams("A talk.")]
    cancel_during(
        lambda progress: remote_pool.generate_text("Summarize.", max_new_tokens=9, progress=progress),
        when=silence.has_begun.is_set,
    )
    assert remote_pool.generate_text("Summarize.", max_new_tokens=9) == "A talk."


def test_early_exit_closes_the_connection(script: Script) -> None:
    silence = Silence("Yes", ", it is")
    script.responses = [streams("Yes."), silence]
    session = RemoteEngine(Server(script.url, "m")).open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=4096))
    # The first reply shows that the server reads all frames; later ones are streamed.
    assert "".join(session.generate("What?", max_new_tokens=9)) == "Yes."
    for piece in session.generate("What?", max_new_tokens=9):
        assert piece == "Yes"
        break
    assert silence.is_closed.wait(20)
