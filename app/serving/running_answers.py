"""Answers that a server works on, each under an id: they run to their end, whatever the page does that has asked.

A page that was loaded again, or another one, finds them by their video, and can stop them. What is answered is in the
conversation of the video; only an answer about the whole library is kept here.
"""

import logging
import secrets
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from longview.app.errors import EXPECTED_ERRORS, ServerBusy
from longview.app.streams import Done
from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.video import AnsweredQuestion, VideoEntry
from longview.model.engine.base import ChatTurn
from longview.model.tasks.events import TextDelta

if TYPE_CHECKING:
    from longview.app.qa.answers import Answer
    from longview.app.service import Longview

log = logging.getLogger(__name__)

Status = Literal["waiting", "running", "done", "stopped", "failed"]
UNFINISHED: tuple[Status, ...] = ("waiting", "running")
LIBRARY = ""
"""In place of the id of a video: the whole library."""
MAX_UNFINISHED = 64
"""Maximum number of answers that wait or run; a server refuses further questions."""
MAX_KEPT = 64
"""Maximum number of finished answers that are kept: those about the library, and those that are in no conversation."""
MAX_CHANGES = 1000
"""Maximum number of changes of conversations that are kept for pages that ask for them."""
UNEXPECTED_TEXT = "The answer failed because of an error of the server; its log has the details."


@dataclass(frozen=True)
class AnswerState:
    """What is known of an answer."""

    answer_id: str
    video_id: str
    question: str
    status: Status = "waiting"
    text: str = ""
    """The text, as far as it was written; of a failed one, why it failed."""
    report: ProgressReport | None = None
    """The progress until the next piece of the text."""
    result: "Answer | None" = None
    is_discarded: bool = False
    """Whether the conversation was cleared meanwhile, so that nothing of it must be shown any more."""

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits or runs."""
        return self.status in UNFINISHED


@dataclass(eq=False)
class _Answer:
    state: AnswerState
    progress: Progress = field(default_factory=Progress)


class RunningAnswers:
    """The answers of one server. Safe for several threads."""

    def __init__(self, app: "Longview") -> None:
        self._app = app
        self._lock = threading.Condition()
        self._answers: dict[str, _Answer] = {}
        self._clearings: Counter[str] = Counter()
        # One at a time: a checkpoint would only give each of several a share of its time.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="longview-answer")
        self._changes: deque[tuple[int, str]] = deque(maxlen=MAX_CHANGES)
        self._revision = 0

    @property
    def revision(self) -> int:
        """A number that grows whenever a question was asked, answered, cleared or brought back."""
        return self._revision

    def changed_since(self, revision: int) -> set[str] | None:
        """Return the ids of the videos whose conversations have changed since a revision; None if that is not known any more."""
        with self._lock:
            if revision < self._revision - len(self._changes):
                return None
            return {video_id for number, video_id in self._changes if number > revision}

    def ask(self, entry: VideoEntry | None, question: str) -> AnswerState:
        """Let a question about a video, or about the whole library, be answered when those before it are.

        Raises:
            ServerBusy: too many wait already.
        """
        with self._lock:
            if sum(answer.state.is_unfinished for answer in self._answers.values()) >= MAX_UNFINISHED:
                raise ServerBusy(f"{MAX_UNFINISHED} questions wait for their answers; ask again when some are answered.")
            state = AnswerState(secrets.token_urlsafe(12), entry.video_id if entry else LIBRARY, question)
            answer = self._answers[state.answer_id] = _Answer(state)
            finished = [key for key, other in self._answers.items() if not other.state.is_unfinished]
            for key in finished[: max(0, len(finished) - MAX_KEPT)]:
                del self._answers[key]
        try:
            self._executor.submit(self._run, answer)
        except RuntimeError as error:
            with self._lock:
                self._answers.pop(state.answer_id, None)
            raise ServerBusy("The server is being stopped; ask again when it is back.") from error
        self._notify(state.video_id)
        return state

    def state(self, answer_id: str) -> AnswerState | None:
        """Return what is known of an answer now; None if there is none with this id, or not any more."""
        with self._lock:
            answer = self._answers.get(answer_id)
            return answer.state if answer else None

    def unfinished(self, video_id: str) -> tuple[AnswerState, ...]:
        """Return the answers about a video that wait or run, in the order in which they were asked for."""
        with self._lock:
            states = [answer.state for answer in self._answers.values()]
        return tuple(state for state in states if state.video_id == video_id and state.is_unfinished)

    def latest_ended(self, video_id: str) -> AnswerState | None:
        """Return the answer about a video that was asked for last, if it has ended."""
        with self._lock:
            states = [answer.state for answer in self._answers.values() if answer.state.video_id == video_id]
        return states[-1] if states and not states[-1].is_unfinished else None

    def stop(self, video_id: str) -> None:
        """Stop all answers about a video."""
        for answer in self._of_video(video_id):
            self._stop(answer)

    def stop_answer(self, answer_id: str) -> None:
        """Stop one answer; nothing if it has ended."""
        with self._lock:
            answer = self._answers.get(answer_id)
        if answer and answer.state.is_unfinished:
            self._stop(answer)

    def _stop(self, answer: _Answer, *, is_discarded: bool = False) -> None:
        """Stop an answer: one that waits ends at once, one that runs at its next token."""
        with self._lock:
            is_waiting = answer.state.status == "waiting"
            status: Status = "stopped" if is_waiting else answer.state.status
            answer.state = replace(answer.state, status=status, is_discarded=is_discarded)
            answer.progress.cancel()
        if is_waiting:
            self._notify(answer.state.video_id)

    def _of_video(self, video_id: str) -> list[_Answer]:
        with self._lock:
            answers = [answer for answer in self._answers.values() if answer.state.video_id == video_id]
        return [answer for answer in answers if answer.state.is_unfinished]

    @contextmanager
    def clearing(self, video_id: str) -> Iterator[None]:
        """Stop the answers about a video and replace its conversation; what is asked meanwhile begins after that.

        A question that is sent right after the conversation was cleared must neither be stopped nor read what was cleared. Enter
        it from a coroutine: Gradio runs these in the order in which the requests arrive, but not its threads.
        """
        with self._lock:
            self._clearings[video_id] += 1
        try:
            for answer in self._of_video(video_id):
                self._stop(answer, is_discarded=True)
            yield
        finally:
            with self._lock:
                self._clearings[video_id] -= 1
                if not self._clearings[video_id]:
                    del self._clearings[video_id]
                self._lock.notify_all()
            self._notify(video_id)

    def close(self) -> None:
        """Stop all answers, and take no more."""
        with self._lock:
            answers = list(self._answers.values())
        for answer in answers:
            answer.progress.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, answer: _Answer) -> None:
        video_id = answer.state.video_id
        with self._lock:
            self._lock.wait_for(lambda: video_id not in self._clearings)
            if not answer.state.is_unfinished:
                return
        try:
            self._answer(answer)
        except Cancelled:
            self._set(answer, status="stopped")
        except EXPECTED_ERRORS as error:
            self._set(answer, status="failed", text=str(error))
        except Exception:
            log.exception("the question %r cannot be answered", answer.state.question)
            self._set(answer, status="failed", text=UNEXPECTED_TEXT)
        self._notify(video_id)

    def _answer(self, answer: _Answer) -> None:
        answer.progress.raise_if_cancelled()
        self._set(answer, status="running")
        video_id = answer.state.video_id
        try:
            entries = [self._app.video_with_id(video_id)] if video_id else []
        except UnknownVideo as error:
            raise UnknownVideo("The video was removed before the question was answered.") from error
        history = conversation_turns(self._app.conversations.answers(entries[0])) if entries else ()
        for event in self._app.ask(entries, answer.state.question, history=history, progress=answer.progress):
            match event:
                case ProgressReport():
                    self._set(answer, report=event)
                case TextDelta(piece):
                    self._set(answer, text=answer.state.text + piece, report=None)
                case Done(result):
                    self._set(answer, status="done", text=result.text, report=None, result=result)

    def _notify(self, video_id: str) -> None:
        with self._lock:
            self._revision += 1
            self._changes.append((self._revision, video_id))

    def _set(self, answer: _Answer, **changes: object) -> None:
        with self._lock:
            answer.state = replace(answer.state, **changes)  # type: ignore[arg-type]


def conversation_turns(answers: Sequence[AnsweredQuestion]) -> list[ChatTurn]:
    """Return the turns of a conversation that a checkpoint reads: without quotes, which are data and no words of it."""
    return [ChatTurn(item.question, item.answer) for item in answers if not item.is_quoted]
