"""Answer questions about one video: select the window, build the prompt, and cite the spans that the answer is based on."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from longview.core.scripts import split_sentences
from longview.core.time_format import format_spans
from longview.core.time_text import known_times
from longview.core.timeline import Segment, Span, merge_spans
from longview.model.engine.base import ChatTurn, PrecedingText, VideoSession
from longview.model.engine.checkpoints.out_of_distribution import out_of_distribution_error
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.events import TextDelta, run_to_end
from longview.model.tasks.grounding import MARGIN_S, MAX_CLIP_S, PLANNING_PROGRESS_SHARE
from longview.model.tasks.localizer import locate
from longview.model.tasks.options import AnswerOptions
from longview.model.tasks.question import Question, VideoQuestion, recent_turns, shift_times, without_times
from longview.model.tasks.replies import cited_spans, to_video_clock
from longview.model.tasks.transcript_context import transcript_context
from longview.model.tasks.verification import verify_claim
from longview.model.tasks.word_citations import find_evidence, with_units
from longview.video.sampling_plan import Purpose, SamplingPlan, Window

MAX_ANSWER_TOKENS = 1024


@dataclass(frozen=True)
class VideoAnswer:
    """An answer about one video, and what it is based on."""

    text: str
    citations: tuple[Span, ...]
    """Spans of the frames that the answer names, or else those that the question names, on the video's clock."""
    coverage: Coverage
    plan: SamplingPlan | None
    """The plan of what was searched; None if no frame had to be decoded."""
    first_token_s: float
    """Time from the question to the first piece of text, in seconds."""
    total_s: float
    transcript: tuple[Segment, ...] = ()
    """Segments of what is said and shown that the answer names or quotes, with their own spans."""
    thoughts: str = ""
    """What the checkpoint thought before its answer."""


def answer_question(
    task: TaskContext,
    question: Question,
    options: AnswerOptions,
    *,
    likely_span: Span | None = None,
    restrict_to: Span | None = None,
    candidate_spans: Callable[[str], Sequence[Span]] = lambda _: (),
    history: Sequence[ChatTurn] = (),
) -> Generator[TextDelta, None, VideoAnswer]:
    """Answer a question about one video; yield the text piece by piece.

    `likely_span`: the span in which the answer is most likely, for a video that is too long for one session.
    `restrict_to`: the only span that is searched, unless the question names another.
    `candidate_spans`: returns the spans in which another source has a query; see `longview.model.tasks.localizer.locate`.
    `history`: earlier turns about this video, on its clock; for checkpoints that can follow a conversation.

    Raises:
        InvalidQuestion: the question names a time that the video does not have.
        OutOfDistribution: the footage is out-of-distribution. Cancelled: the operation was cancelled.
    """
    start = time.perf_counter()
    answerer = _Answerer(
        task,
        question.about(task.video.duration_s),
        options,
        likely_span=likely_span,
        restrict_to=restrict_to,
        candidate_spans=candidate_spans,
        history=history,
    )
    first_token_s = 0.0
    text = ""
    for piece in answerer.pieces():
        first_token_s = first_token_s or time.perf_counter() - start
        text += piece
        yield TextDelta(piece)
    task.progress.update(1.0)
    return VideoAnswer(
        text.removeprefix(answerer.mistaken_text).strip(),
        answerer.citations,
        answerer.coverage,
        answerer.plan,
        first_token_s,
        time.perf_counter() - start,
        answerer.cited_words,
        answerer.thoughts,
    )


@dataclass
class _Answerer:
    """The state of one answer. The last six fields are complete after the last piece of text."""

    task: TaskContext
    question: VideoQuestion
    options: AnswerOptions
    likely_span: Span | None
    restrict_to: Span | None
    candidate_spans: Callable[[str], Sequence[Span]]
    history: Sequence[ChatTurn]
    citations: tuple[Span, ...] = ()
    coverage: Coverage = Coverage(0.0, 0, 0.0)
    plan: SamplingPlan | None = None
    cited_words: tuple[Segment, ...] = ()
    thoughts: str = ""
    mistaken_text: str = ""
    """The beginning of the text where it turned out to be thoughts: some checkpoints mark only the end of their thoughts."""

    def pieces(self) -> Iterator[str]:
        """Yield the text of the answer."""
        question, templates = self.question, self.task.verifier.templates
        if query := question.when:
            return self._answer_when(query)
        if templates and templates.match(question.in_seconds()) is None:
            # A checkpoint with templates can still caption a span, and describe a timestamp.
            span = question.range or (self.restrict_to if question.timestamp_s is None else None)
            if span is not None:
                return self._answer_range(span)
            if question.timestamp_s is None:
                return iter((templates.supported_questions(),))
        return self._answer_freeform()

    def _answer_when(self, query: str) -> Iterator[str]:
        """Answer "when" by localisation and verification, because a reply alone cannot prove an absence."""
        candidates = self.candidate_spans(query)
        result = locate(self.task, query, self.options.localization, span=self.restrict_to, candidates=candidates)
        self.coverage, self.plan = result.coverage, result.plan
        self.citations = tuple(occurrence.span for occurrence in result.occurrences)
        if result.occurrences:
            times = " and ".join(f"from {span.start_s:.1f} to {span.end_s:.1f} seconds" for span in self.citations)
            yield f"F{times[1:]}."
        else:
            yield result.describe_absence(query, is_part=self.restrict_to is not None)

    def _answer_range(self, span: Span) -> Iterator[str]:
        """Answer what happens in a span by its captions."""
        is_short = span.duration_s <= MAX_CLIP_S
        # A span of a second or two is too short to caption without context.
        around = (
            Span(max(0.0, span.start_s - MARGIN_S), min(self.task.video.duration_s, span.end_s + MARGIN_S)) if is_short else span
        )
        purpose: Purpose = "refine" if is_short else "caption"
        step = self.task.progress.child(0.0, PLANNING_PROGRESS_SHARE)
        plan = self.task.pool.planner.plan(self.task.video, purpose, span=around, progress=step)
        step = self.task.progress.child(PLANNING_PROGRESS_SHARE, 1.0)
        captions = run_to_end(caption(self.task.without_helpers(step), plan, self.options.captions))
        if len(captions.out_of_distribution) == len(plan.windows):
            raise out_of_distribution_error(self.task.pool.engine.checkpoint)
        min_overlap_s = min(plan.patch_period_s, span.duration_s) / 2
        events = [event for event in captions.events if event.span.overlap_s(span) >= min_overlap_s]
        self.citations = tuple(event.span for event in events)
        self.coverage, self.plan = captions.coverage, plan
        lines = (f"{self._describe_span(event.span, plan)}: {event.text}" for event in events)
        yield "\n".join(lines) or f"Nothing happens in that time. {self.coverage}"

    def _describe_span(self, span: Span, plan: SamplingPlan) -> str:
        """Describe the time of an event; add "or earlier", "or later" if it may extend beyond the plan."""
        period_s = plan.patch_period_s
        earlier = " seconds or earlier" if 0 < plan.span.start_s >= span.start_s - period_s else ""
        later = " or later" if self.task.video.duration_s - period_s > plan.span.end_s <= span.end_s + period_s else ""
        return f"From {span.start_s:.1f}{earlier} to {span.end_s:.1f} seconds{later}"

    def _answer_freeform(self) -> Iterator[str]:
        """Let the checkpoint answer about the window that the question needs."""
        plan, window = self._select_window()
        session = self.task.pool.session(
            self.task.video, plan, window, progress=self.task.progress.child(PLANNING_PROGRESS_SHARE, 1.0)
        )
        if session.is_out_of_distribution:
            raise out_of_distribution_error(self.task.pool.engine.checkpoint)
        transcript = transcript_context(self.task.pool, plan, window, self.task.transcript)
        question, templates = self.question.in_seconds(session), self.task.verifier.templates
        if templates:
            at_timestamp = templates.at_timestamp(self.question.nearest_timestamp(session))
            question = templates.match(question) or at_timestamp or question
            history = []
        else:
            question = session.checkpoint.profile.prompts.question(session, question, has_transcript=bool(transcript.prompt))
            # The times of earlier turns are on the video's clock and would be wrong on another.
            history = [] if session.clock_offset_s else recent_turns(self.history, question)
        generation = session.generate(
            question,
            max_new_tokens=MAX_ANSWER_TOKENS,
            preceding=PrecedingText(transcript.prompt, history),
            thinking=self.options.thinking,
            progress=self.task.progress,
        )
        if session.clock_offset_s == 0:
            shown_text = ""
            for piece in generation:
                shown_text += piece
                yield piece
            self.mistaken_text = shown_text.removesuffix(generation.text)
        else:
            # The reply has times on the session's clock. They are rewritten before they are shown.
            for _ in generation:
                pass
            yield shift_times(with_units(generation.text), session.clock_offset_s)
        self.thoughts = generation.thoughts
        coverage = CoverageTracker(plan, key_frames_only=self.task.pool.decoder.key_frames_only)
        coverage.add(session)
        self.coverage, self.plan = coverage.coverage(), plan
        if len(plan.windows) > 1 and self.question.timestamp_s is None:
            yield f" (Only {format_spans(window.span)} was searched.)"
        if not generation.is_complete:
            yield " … (The answer was cut off here.)"
        evidence = find_evidence(with_units(generation.text), transcript.lines)
        self.cited_words = tuple(line.segment for line in evidence.lines)
        named_spans = merge_spans(cited_spans(evidence.frame_times, session))
        self.citations = named_spans or (() if self.cited_words else self._default_citations(session))
        # A timestamp that only the question names needs no verification, unless the reply can only be about it.
        if self.options.verify and (named_spans or templates):
            yield from self._verify_citations(generation.text, session)

    def _verify_citations(self, text: str, session: VideoSession) -> Iterator[str]:
        """Drop the citations that verification denies; yield which are denied and which could not be verified."""
        sentences = [(sentence, _named_spans(sentence, session)) for sentence in split_sentences(text)]

        def is_verified(span: Span) -> bool | None:
            about = [sentence for sentence, spans in sentences if any(span.overlap_s(other) > 0 for other in spans)]
            claim = without_times(" ".join(about) or text)
            return verify_claim(self.task.pool, self.task.verifier, self.task.video, span, claim, progress=self.task.progress)

        results = {span: is_verified(span) for span in self.citations}
        self.citations = tuple(span for span, result in results.items() if result is not False)
        if denied_spans := [span for span, result in results.items() if result is False]:
            yield f" (Verification did not confirm this at {format_spans(*denied_spans)}.)"
        if undecided_spans := [span for span, result in results.items() if result is None]:
            yield f" (This could not be verified at {format_spans(*undecided_spans)}.)"

    def _select_window(self) -> tuple[SamplingPlan, Window]:
        """Select the range that the question names, a window around the time that it names, or the whole video."""
        planner, video, timestamp_s = self.task.pool.planner, self.task.video, self.question.timestamp_s
        span = self.question.range or (self.restrict_to if timestamp_s is None else None)
        if span is not None:
            plan = planner.plan(video, "refine" if span.duration_s <= MAX_CLIP_S else "qa", span=span)
            return plan, plan.windows[0]
        if timestamp_s is not None and self.task.verifier.timestamps:
            # Such a checkpoint describes one timestamp best if its window shows little else.
            near = Span(max(0.0, timestamp_s - MARGIN_S), min(video.duration_s, timestamp_s + MARGIN_S))
            plan = planner.plan(video, "caption", span=near)
            return plan, plan.windows[0]
        plan = planner.plan(video, "qa")
        usual_period_s = 2 * self.task.pool.engine.checkpoint.trained_range.frame_period_s
        if timestamp_s is not None and plan.patch_period_s > usual_period_s * 1.01:
            # A caption window has a finer patch period, and its session is often still warm after indexing.
            plan = planner.plan(video, "caption", progress=self.task.progress.child(0.0, PLANNING_PROGRESS_SHARE))
        likely_s = self.likely_span.start_s if self.likely_span else 0.0
        target_s = likely_s if timestamp_s is None else timestamp_s
        return plan, next((window for window in plan.windows if window.span.contains(target_s)), plan.windows[0])

    def _default_citations(self, session: VideoSession) -> tuple[Span, ...]:
        """Return the times of the question itself; a single time is widened to its temporal patch."""
        if self.question.range is not None:
            return (self.question.range,)
        if self.question.timestamp_s is None:
            return ()
        timestamp_s = self.question.timestamp_s - session.clock_offset_s
        span = to_video_clock(timestamp_s, timestamp_s, session)
        return (span,) if span else ()


def _named_spans(text: str, session: VideoSession) -> list[Span]:
    return cited_spans(known_times(text), session)
