"""Questions about one video: which part to look at, what the model is asked, and which times the answer rests on."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from model.captioner import caption
from model.coverage import Coverage, Seen
from model.engine import Turn, VideoSession
from model.errors import BadQuestion
from model.familiarity import declined
from model.localizer import locate
from model.looking import LOOK_MAX_S, MARGIN_S
from model.prompts import (
    about_the_video,
    answerable,
    ask_about_moments,
    asked_when,
    check_length,
    form_about_a_moment,
    known_form,
)
from model.replies import on_video_clock
from model.sessions import OnPart, SessionPool
from model.verifier import holds
from video.probe import VideoInfo
from video.sampler import Purpose, SamplingPlan, Window
from video.timeline import Span, find_times, format_time, merged

REPLY_TOKENS = 1024
HISTORY_BYTES = 2000
"""Of earlier turns and the question, in UTF-8: at most 700 tokens, in any script, of the reserve for question and reply.
The oldest turns are forgotten first."""


@dataclass(frozen=True)
class Answer:
    """An answer and what it rests on."""

    text: str
    evidence: tuple[Span, ...]
    """The spans that the answer, or else the question, names; on the video's clock."""
    coverage: Coverage
    """What was looked at."""
    plan: SamplingPlan | None
    """How; None if nothing had to be looked at."""
    first_token_s: float
    """Seconds from the question to the first word."""
    total_s: float


class Answering:
    """An answer in the making: iterate it for pieces of text; `answer` is there when it is finished."""

    def __init__(
        self,
        pool: SessionPool,
        video: VideoInfo,
        question: str,
        *,
        focus: Span | None = None,
        within: Span | None = None,
        hints: Callable[[str], Sequence[Span]] = lambda _: (),
        history: Sequence[Turn] = (),
        verify: bool = False,
        on_part: OnPart | None = None,
    ) -> None:
        """Prepare the answer.

        `focus`: the part of a video that is too long for one session where the answer is most likely.
        `within`: the only part that is looked at, unless the question names another.
        `hints`: where something is said to happen, for the question when; see `model.localizer.locate`.
        `history`: earlier turns about this video, on its clock; for checkpoints that can follow a conversation.
        `verify`: each span that the model names is looked at again; what is not seen there is dropped, which the answer says.
        `on_part`: told the part done while the video is looked at; what it raises ends the answer.

        Raises:
            BadQuestion: the question is empty or too long, or names a time that the video does not have.
        """
        check_length(question, "question")
        if not question.strip():
            raise BadQuestion("The question is empty: ask something about the video.")
        self._pool, self._video, self._question = pool, video, question.strip()
        self._focus, self._within, self._hints = focus, within, hints
        self._history, self._verify, self._on_part = history, verify, on_part
        self._times = find_times(self._question, duration_s=video.duration_s)
        for reference in self._times:
            if reference.span.start_s < 0:
                raise BadQuestion("Times count from the start of the video; a negative one cannot be looked at.")
            if reference.span.start_s >= video.duration_s:
                raise BadQuestion(
                    f"The question names {format_time(reference.span.start_s)}, "
                    f"but the video is only {format_time(video.duration_s)} long."
                )
        self._range = next((reference.span for reference in self._times if not reference.is_point), None)
        self._point = next((reference.span.start_s for reference in self._times if reference.is_point), None)
        self._evidence: tuple[Span, ...] = ()
        self._coverage = Coverage(0.0, 0, 0.0)
        self._plan: SamplingPlan | None = None
        self._result: Answer | None = None

    @property
    def answer(self) -> Answer:
        """The finished answer; only after the iteration."""
        assert self._result is not None, "iterate to the end first"
        return self._result

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        first_token_s = 0.0
        text = ""
        for piece in self._pieces():
            first_token_s = first_token_s or time.perf_counter() - start
            text += piece
            yield piece
        self._result = Answer(
            text.strip(), self._evidence, self._coverage, self._plan, first_token_s, time.perf_counter() - start
        )

    def _pieces(self) -> Iterator[str]:
        forms = self._pool.engine.checkpoint.question_forms
        thing = asked_when(self._question)
        if thing and not self._times:
            return self._located(thing)
        if forms and known_form(self._in_seconds(None), forms) is None:
            # This checkpoint answers only some questions, but it can always tell what it sees in a span.
            span = self._range or (self._within if self._point is None else None)
            if span is not None:
                return self._told(span)
            if self._point is None:
                return iter((answerable(forms),))
        return self._asked(forms)

    def _located(self, thing: str) -> Iterator[str]:
        """An answer to "when": found and verified by localisation, so that "not in this video" can be believed."""
        result = locate(self._pool, self._video, thing, span=self._within, hints=self._hints(thing), on_part=self._on_part)
        self._coverage, self._plan = result.coverage, result.plan
        self._evidence = tuple(item.span for item in result.found)
        if result.found:
            times = " and ".join(f"from {span.start_s:.1f} to {span.end_s:.1f} seconds" for span in self._evidence)
            yield f"F{times[1:]}."
        else:
            yield f"Not in this {'part of the ' if self._within else ''}video: {thing}. {result.coverage}"

    def _told(self, span: Span) -> Iterator[str]:
        """What happens in a span, as captions."""
        short = span.duration_s <= LOOK_MAX_S
        # A second or two by itself is too little to tell what happens in it.
        around = Span(max(0.0, span.start_s - MARGIN_S), min(self._video.duration_s, span.end_s + MARGIN_S)) if short else span
        purpose: Purpose = "look" if short else "caption"
        plan = self._pool.plan(self._video, purpose, span=around, on_part=self._on_part)
        captions = caption(self._pool, self._video, plan, on_part=self._on_part)
        if len(captions.unfamiliar) == len(plan.windows):
            raise declined(self._pool.engine.checkpoint)
        events = [event for event in captions.events if event.span.overlap_s(span) >= min(plan.grain_s, span.duration_s) / 2]
        self._evidence = tuple(event.span for event in events)
        self._coverage, self._plan = captions.coverage, plan
        lines = (f"{self._from_to(event.span, plan)}: {event.text}" for event in events)
        yield "\n".join(lines) or f"Nothing happens in that time. {self._coverage}"

    def _from_to(self, span: Span, plan: SamplingPlan) -> str:
        """When it happens, in words that say where it may go on outside of what was looked at."""
        looked = plan.span
        earlier = " or earlier" if 0 < looked.start_s >= span.start_s - plan.grain_s else ""
        later = " or later" if self._video.duration_s - plan.grain_s > looked.end_s <= span.end_s + plan.grain_s else ""
        return f"From {span.start_s:.1f}{earlier} to {span.end_s:.1f}{later} seconds"

    def _asked(self, forms: tuple[str, ...]) -> Iterator[str]:
        """The model's own answer, after it has looked at the part that the question is about."""
        plan, window = self._chosen()
        session = self._pool.session(self._video, plan, window, on_part=self._on_part)
        if session.unfamiliar:
            raise declined(self._pool.engine.checkpoint)
        seen = Seen(plan, key_frames_only=self._pool.decoder.key_frames_only)
        seen.add(session)
        self._coverage, self._plan = seen.coverage(), plan
        question = self._in_seconds(session)
        if forms:
            question = known_form(question, forms) or form_about_a_moment(self._nearest_marker(session), forms) or question
            history = []
        else:
            question = about_the_video(question)
            # On another clock the times of earlier turns would be wrong.
            history = [] if session.clock_offset_s else _recent(self._history, question)
        generation = session.ask(question, max_new_tokens=REPLY_TOKENS, history=history)
        pieces = self._followed(generation)
        if session.clock_offset_s == 0:
            yield from pieces
        else:
            # The model tells times on the window's clock: they are rewritten before anyone sees them.
            for _ in pieces:
                pass
            yield _shifted(generation.text, session.clock_offset_s)
        if len(plan.windows) > 1 and self._point is None:
            yield f" (Looked at {format_time(window.span.start_s)} to {format_time(window.span.end_s)} only.)"
        if not generation.is_complete:
            yield " … (The answer was cut off here.)"
        named = merged(_named(generation.text, session))
        self._evidence = named or self._asked_about(session)
        # A moment that only the question names proves nothing, unless all that the checkpoint can tell is what happens there.
        if self._verify and (named or forms):
            yield from self._verified(generation.text, session)

    def _followed(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            if self._on_part:
                self._on_part(1.0)
            yield piece

    def _verified(self, said: str, session: VideoSession) -> Iterator[str]:
        """Drop the evidence that a second, closer look does not confirm, and say so."""
        sentences = re.split(r"(?<=[.!?])\s+|\n", said)

        def is_doubted(span: Span) -> bool:
            about = [text for text in sentences if any(span.overlap_s(named) > 0 for named in _named(text, session))]
            # Without its times, which are of this session's clock and would mean something else in another.
            claim = _without_times(" ".join(about) or said)
            return holds(self._pool, self._video, span, claim, on_part=self._on_part) is False

        doubted = [span for span in self._evidence if is_doubted(span)]
        self._evidence = tuple(span for span in self._evidence if span not in doubted)
        if doubted:
            where = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in doubted)
            yield f" (A second look at {where} did not confirm this.)"

    def _chosen(self) -> tuple[SamplingPlan, Window]:
        """What to look at: the range that the question names, the window around the moment it names, or everything."""
        if self._range is not None:
            plan = self._pool.plan(self._video, "look" if self._range.duration_s <= LOOK_MAX_S else "watch", span=self._range)
            return plan, plan.windows[0]
        if self._within is not None and self._point is None:
            purpose: Purpose = "look" if self._within.duration_s <= LOOK_MAX_S else "watch"
            plan = self._pool.plan(self._video, purpose, span=self._within)
            return plan, plan.windows[0]
        if self._point is not None and ask_about_moments(self._pool.engine.checkpoint.question_forms):
            # All that such a checkpoint tells is what happens there, and it tells that best where little else is shown.
            near = Span(max(0.0, self._point - MARGIN_S), min(self._video.duration_s, self._point + MARGIN_S))
            plan = self._pool.plan(self._video, "caption", span=near)
            return plan, plan.windows[0]
        plan = self._pool.plan(self._video, "watch")
        where = self._point if self._point is not None else self._focus.start_s if self._focus else 0.0
        usual_grain_s = 2 * self._pool.engine.checkpoint.trained.seconds_between_frames
        if self._point is not None and plan.grain_s > usual_grain_s * 1.01:
            # A caption window sees a moment more finely, and after indexing it is often still in memory.
            plan = self._pool.plan(self._video, "caption", on_part=self._on_part)
        return plan, next((window for window in plan.windows if window.span.contains(where)), plan.windows[0])

    def _asked_about(self, session: VideoSession) -> tuple[Span, ...]:
        """The question's own times as evidence, a moment widened to the patch that shows it."""
        if self._range is not None:
            return (self._range,)
        if self._point is None:
            return ()
        marker_s = self._point - session.clock_offset_s
        seen = on_video_clock(marker_s, marker_s, session)
        return (seen,) if seen else ()

    def _nearest_marker(self, session: VideoSession) -> float:
        wanted_s = (self._point or 0.0) - session.clock_offset_s
        return min((patch.marker_s for patch in session.patches), key=lambda marker: abs(marker - wanted_s))

    def _in_seconds(self, session: VideoSession | None) -> str:
        """The question with its times in seconds, as the markers state them; a moment becomes the nearest marker's."""
        offset_s = session.clock_offset_s if session else 0.0
        text = self._question
        for reference in reversed(self._times):
            words = reference.in_seconds
            if reference.is_point:
                words = words.format(f"{self._nearest_marker(session) if session else reference.span.start_s:.1f}")
            elif offset_s:
                words = f"from {reference.span.start_s - offset_s:.1f} to {reference.span.end_s - offset_s:.1f} seconds"
            text = text[: reference.text_start] + words + text[reference.text_end :]
        return text


def _named(text: str, session: VideoSession) -> list[Span]:
    """The spans, on the video's clock, that a session's reply names."""
    times = find_times(text, duration_s=float("inf"))
    return [span for time in times if (span := on_video_clock(time.span.start_s, time.span.end_s, session))]


def _without_times(text: str) -> str:
    for reference in reversed(find_times(text, duration_s=float("inf"))):
        words = "that time" if reference.is_point else "then"
        text = text[: reference.text_start] + words + text[reference.text_end :]
    return text


def _recent(history: Sequence[Turn], question: str) -> list[Turn]:
    """The latest turns that there is room for beside the question."""
    kept: list[Turn] = []
    room = HISTORY_BYTES - len(question.encode())
    for turn in reversed(history):
        room -= len(turn.question.encode()) + len(turn.answer.encode())
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def _shifted(text: str, by_s: float) -> str:
    """The text with every time in it moved by `by_s` seconds."""
    for reference in reversed(find_times(text, duration_s=float("inf"))):
        span = reference.span.shifted(by_s)
        words = f"{span.start_s:.1f} seconds" if reference.is_point else f"from {span.start_s:.1f} to {span.end_s:.1f} seconds"
        text = text[: reference.text_start] + words + text[reference.text_end :]
    return text
