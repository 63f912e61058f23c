"""Questions about one video: which part to look at, what the model is asked, and which times the answer rests on."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from longview.model.demo.templates import has_timestamp_template, match_template, supported_questions, timestamp_question
from longview.model.engine.base import ChatTurn, VideoSession
from longview.model.engine.ood import out_of_distribution_error
from longview.model.engine.sessions import OnFraction, SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.captioner import caption
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S
from longview.model.tasks.localizer import locate
from longview.model.tasks.prompts import freeform
from longview.model.tasks.question import check_length, recent_turns, shift_times, when_query, without_times
from longview.model.tasks.replies import cited_spans, to_video_clock
from longview.model.tasks.verifier import verify_claim
from longview.video.probe import VideoInfo
from longview.video.sampler import Purpose, SamplingPlan, Window
from longview.video.time_text import find_times, format_time
from longview.video.timeline import Span, merge_spans

MAX_REPLY_TOKENS = 1024


@dataclass(frozen=True)
class VideoAnswer:
    """An answer and what it rests on."""

    text: str
    citations: tuple[Span, ...]
    """The spans that the answer, or else the question, names; on the video's clock."""
    coverage: Coverage
    """What was looked at."""
    plan: SamplingPlan | None
    """How; None if nothing had to be looked at."""
    first_token_s: float
    """Seconds from the question to the first word."""
    total_s: float


class VideoAnswerStream:
    """An answer in the making: iterate it for pieces of text; `answer` is there when it is finished."""

    def __init__(
        self,
        pool: SessionPool,
        video: VideoInfo,
        question: str,
        *,
        likely_span: Span | None = None,
        restrict_to: Span | None = None,
        candidate_spans: Callable[[str], Sequence[Span]] = lambda _: (),
        history: Sequence[ChatTurn] = (),
        verify: bool = False,
        on_part: OnFraction | None = None,
    ) -> None:
        """Prepare the answer.

        `focus`: the part of a video that is too long for one session where the answer is most likely.
        `within`: the only part that is looked at, unless the question names another.
        `hints`: where something is said to happen, for the question when; see `longview.model.tasks.localizer.locate`.
        `history`: earlier turns about this video, on its clock; for checkpoints that can follow a conversation.
        `verify`: each span that the model names is looked at again; what is not seen there is dropped, which the answer says.
        `on_part`: told the part done while the video is looked at; what it raises ends the answer.

        Raises:
            BadQuestion: the question is empty or too long, or names a time that the video does not have.
        """
        check_length(question, "question")
        if not question.strip():
            raise InvalidQuestion("The question is empty: ask something about the video.")
        self._pool, self._video, self._question = pool, video, question.strip()
        self._likely_span, self._restrict_to, self._candidate_spans = likely_span, restrict_to, candidate_spans
        self._history, self._verify, self._on_part = history, verify, on_part
        self._times = find_times(self._question, duration_s=video.duration_s)
        for reference in self._times:
            if reference.span.start_s < 0:
                raise InvalidQuestion("Times count from the start of the video; a negative one cannot be looked at.")
            if reference.span.start_s >= video.duration_s:
                raise InvalidQuestion(
                    f"The question names {format_time(reference.span.start_s)}, "
                    f"but the video is only {format_time(video.duration_s)} long."
                )
        self._range = next((reference.span for reference in self._times if not reference.is_point), None)
        self._timestamp = next((reference.span.start_s for reference in self._times if reference.is_point), None)
        self._citations: tuple[Span, ...] = ()
        self._coverage = Coverage(0.0, 0, 0.0)
        self._plan: SamplingPlan | None = None
        self._result: VideoAnswer | None = None

    @property
    def answer(self) -> VideoAnswer:
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
        self._result = VideoAnswer(
            text.strip(), self._citations, self._coverage, self._plan, first_token_s, time.perf_counter() - start
        )

    def _pieces(self) -> Iterator[str]:
        forms = self._pool.engine.checkpoint.question_templates
        thing = when_query(self._question)
        if thing and not self._times:
            return self._answer_when(thing)
        if forms and match_template(self._question_in_seconds(None), forms) is None:
            # This checkpoint answers only some questions, but it can always tell what it sees in a span.
            span = self._range or (self._restrict_to if self._timestamp is None else None)
            if span is not None:
                return self._answer_range(span)
            if self._timestamp is None:
                return iter((supported_questions(forms),))
        return self._answer_freeform(forms)

    def _answer_when(self, thing: str) -> Iterator[str]:
        """An answer to "when": found and verified by localisation, so that "not in this video" can be believed."""
        result = locate(
            self._pool, self._video, thing, span=self._restrict_to, candidates=self._candidate_spans(thing), on_part=self._on_part
        )
        self._coverage, self._plan = result.coverage, result.plan
        self._citations = tuple(item.span for item in result.occurrences)
        if result.occurrences:
            times = " and ".join(f"from {span.start_s:.1f} to {span.end_s:.1f} seconds" for span in self._citations)
            yield f"F{times[1:]}."
        else:
            yield f"Not in this {'part of the ' if self._restrict_to else ''}video: {thing}. {result.coverage}"

    def _answer_range(self, span: Span) -> Iterator[str]:
        """What happens in a span, as captions."""
        short = span.duration_s <= MAX_CLIP_S
        # A second or two by itself is too little to tell what happens in it.
        around = Span(max(0.0, span.start_s - MARGIN_S), min(self._video.duration_s, span.end_s + MARGIN_S)) if short else span
        purpose: Purpose = "look" if short else "caption"
        plan = self._pool.plan(self._video, purpose, span=around, on_part=self._on_part)
        captions = caption(self._pool, self._video, plan, on_part=self._on_part)
        if len(captions.out_of_distribution) == len(plan.windows):
            raise out_of_distribution_error(self._pool.engine.checkpoint)
        events = [
            event for event in captions.events if event.span.overlap_s(span) >= min(plan.patch_period_s, span.duration_s) / 2
        ]
        self._citations = tuple(event.span for event in events)
        self._coverage, self._plan = captions.coverage, plan
        lines = (f"{self._describe_span(event.span, plan)}: {event.text}" for event in events)
        yield "\n".join(lines) or f"Nothing happens in that time. {self._coverage}"

    def _describe_span(self, span: Span, plan: SamplingPlan) -> str:
        """When it happens, in words that say where it may go on outside of what was looked at."""
        looked = plan.span
        earlier = " or earlier" if 0 < looked.start_s >= span.start_s - plan.patch_period_s else ""
        later = (
            " or later" if self._video.duration_s - plan.patch_period_s > looked.end_s <= span.end_s + plan.patch_period_s else ""
        )
        return f"From {span.start_s:.1f}{earlier} to {span.end_s:.1f}{later} seconds"

    def _answer_freeform(self, forms: tuple[str, ...]) -> Iterator[str]:
        """The model's own answer, after it has looked at the part that the question is about."""
        plan, window = self._select_window()
        session = self._pool.session(self._video, plan, window, on_part=self._on_part)
        if session.is_out_of_distribution:
            raise out_of_distribution_error(self._pool.engine.checkpoint)
        seen = CoverageTracker(plan, key_frames_only=self._pool.decoder.key_frames_only)
        seen.add(session)
        self._coverage, self._plan = seen.coverage(), plan
        question = self._question_in_seconds(session)
        if forms:
            question = match_template(question, forms) or timestamp_question(self._nearest_timestamp(session), forms) or question
            history = []
        else:
            question = freeform(question)
            # On another clock the times of earlier turns would be wrong.
            history = [] if session.clock_offset_s else recent_turns(self._history, question)
        generation = session.generate(question, max_new_tokens=MAX_REPLY_TOKENS, history=history)
        pieces = self._report_tokens(generation)
        if session.clock_offset_s == 0:
            yield from pieces
        else:
            # The model tells times on the window's clock: they are rewritten before anyone sees them.
            for _ in pieces:
                pass
            yield shift_times(generation.text, session.clock_offset_s)
        if len(plan.windows) > 1 and self._timestamp is None:
            yield f" (Looked at {format_time(window.span.start_s)} to {format_time(window.span.end_s)} only.)"
        if not generation.is_complete:
            yield " … (The answer was cut off here.)"
        named = merge_spans(cited_spans(generation.text, session))
        self._citations = named or self._default_citations(session)
        # A moment that only the question names proves nothing, unless all that the checkpoint can tell is what happens there.
        if self._verify and (named or forms):
            yield from self._verify_citations(generation.text, session)

    def _report_tokens(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            if self._on_part:
                self._on_part(1.0)
            yield piece

    def _verify_citations(self, said: str, session: VideoSession) -> Iterator[str]:
        """Drop the evidence that a second, closer look does not confirm, and say so."""
        sentences = re.split(r"(?<=[.!?])\s+|\n", said)

        def is_doubted(span: Span) -> bool:
            about = [text for text in sentences if any(span.overlap_s(named) > 0 for named in cited_spans(text, session))]
            # Without its times, which are of this session's clock and would mean something else in another.
            claim = without_times(" ".join(about) or said)
            return verify_claim(self._pool, self._video, span, claim, on_part=self._on_part) is False

        doubted = [span for span in self._citations if is_doubted(span)]
        self._citations = tuple(span for span in self._citations if span not in doubted)
        if doubted:
            where = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in doubted)
            yield f" (A second look at {where} did not confirm this.)"

    def _select_window(self) -> tuple[SamplingPlan, Window]:
        """What to look at: the range that the question names, the window around the moment it names, or everything."""
        if self._range is not None:
            plan = self._pool.plan(self._video, "look" if self._range.duration_s <= MAX_CLIP_S else "watch", span=self._range)
            return plan, plan.windows[0]
        if self._restrict_to is not None and self._timestamp is None:
            purpose: Purpose = "look" if self._restrict_to.duration_s <= MAX_CLIP_S else "watch"
            plan = self._pool.plan(self._video, purpose, span=self._restrict_to)
            return plan, plan.windows[0]
        if self._timestamp is not None and has_timestamp_template(self._pool.engine.checkpoint.question_templates):
            # All that such a checkpoint tells is what happens there, and it tells that best where little else is shown.
            near = Span(max(0.0, self._timestamp - MARGIN_S), min(self._video.duration_s, self._timestamp + MARGIN_S))
            plan = self._pool.plan(self._video, "caption", span=near)
            return plan, plan.windows[0]
        plan = self._pool.plan(self._video, "watch")
        where = self._timestamp if self._timestamp is not None else self._likely_span.start_s if self._likely_span else 0.0
        usual_grain_s = 2 * self._pool.engine.checkpoint.trained_range.frame_period_s
        if self._timestamp is not None and plan.patch_period_s > usual_grain_s * 1.01:
            # A caption window sees a moment more finely, and after indexing it is often still in memory.
            plan = self._pool.plan(self._video, "caption", on_part=self._on_part)
        return plan, next((window for window in plan.windows if window.span.contains(where)), plan.windows[0])

    def _default_citations(self, session: VideoSession) -> tuple[Span, ...]:
        """The question's own times as evidence, a moment widened to the patch that shows it."""
        if self._range is not None:
            return (self._range,)
        if self._timestamp is None:
            return ()
        marker_s = self._timestamp - session.clock_offset_s
        seen = to_video_clock(marker_s, marker_s, session)
        return (seen,) if seen else ()

    def _nearest_timestamp(self, session: VideoSession) -> float:
        wanted_s = (self._timestamp or 0.0) - session.clock_offset_s
        return min((patch.timestamp_s for patch in session.patches), key=lambda marker: abs(marker - wanted_s))

    def _question_in_seconds(self, session: VideoSession | None) -> str:
        """The question with its times in seconds, as the markers state them; a moment becomes the nearest marker's."""
        offset_s = session.clock_offset_s if session else 0.0
        text = self._question
        for reference in reversed(self._times):
            words = reference.in_seconds
            if reference.is_point:
                words = words.format(f"{self._nearest_timestamp(session) if session else reference.span.start_s:.1f}")
            elif offset_s:
                words = f"from {reference.span.start_s - offset_s:.1f} to {reference.span.end_s - offset_s:.1f} seconds"
            text = text[: reference.text_start] + words + text[reference.text_end :]
        return text
