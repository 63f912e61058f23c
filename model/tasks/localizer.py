"""Find all occurrences of a query in a video: coarsely in every window, then refined in a clip around each candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.core.progress import Progress
from longview.core.time_format import format_spans
from longview.core.timeline import Span, merge_spans
from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints.out_of_distribution import out_of_distribution_error
from longview.model.tasks.context import TaskContext
from longview.model.tasks.coverage import Coverage, CoverageTracker
from longview.model.tasks.grounding import (
    MARGIN_S,
    MAX_CLIP_S,
    MIN_SAME_EVENT_IOU,
    PLANNING_PROGRESS_SHARE,
    ground,
    open_clip,
    open_windows,
    with_margin,
)
from longview.model.tasks.options import LocateOptions
from longview.model.tasks.verification import deny_in_windows, verify_claim, verify_in
from longview.model.tasks.verifier import Verifier
from longview.video.sampling_plan import SamplingPlan


@dataclass(frozen=True)
class Occurrence:
    """One span in which the query occurs."""

    span: Span
    uncertainty_s: float
    """Patch period of the session that gave the boundaries, in seconds. Their error is about as large."""
    is_verified: bool | None = None
    """Whether verification confirmed the occurrence; None if it was not verified, or if no reply decided it."""


@dataclass(frozen=True)
class Localization:
    """All occurrences of a query."""

    occurrences: tuple[Occurrence, ...]
    coverage: Coverage
    plan: SamplingPlan
    """The plan of the coarse pass over the whole span."""
    unresolved: tuple[Span, ...] = ()
    """Spans in which the query was not found, but whose replies were unreadable or contradict its absence."""

    @property
    def is_found(self) -> bool | None:
        """Whether the query occurs; None if there is no occurrence, but some spans are unresolved."""
        if self.occurrences:
            return True
        return None if self.unresolved else False

    def describe_absence(self, query: str, *, is_part: bool = False) -> str:
        """Describe in one or more sentences that the query was not found, whether this was verified, and what was searched.

        `is_part`: only a part of the video was searched.
        """
        if self.is_found is None:
            spans = format_spans(*self.unresolved)
            return f"Not found: {query}. This could not be verified from {spans}. {self.coverage}"
        return f"Not in this {'part of the ' if is_part else ''}video: {query}. {self.coverage}"


def locate(
    task: TaskContext,
    query: str,
    options: LocateOptions,
    *,
    span: Span | None = None,
    candidates: Sequence[Span] = (),
) -> Localization:
    """Find all occurrences of `query` in the video, or in `span` of it, in order of time. There may be none.

    `candidates`: spans in which another source, such as a caption, has the query. With `options.refine` or `options.verify`, an
    occurrence is dropped if its clip or its verification denies it.

    Raises:
        OutOfDistribution: all of the footage is out-of-distribution. Cancelled: the operation was cancelled.
    """
    locating, video, progress = task.locating_pool, task.video, task.progress
    plan = locating.planner.plan(video, "caption", span=span, progress=progress.child(0.0, PLANNING_PROGRESS_SHARE))
    coverage = CoverageTracker(plan, key_frames_only=locating.decoder.key_frames_only)
    coarse: list[list[Span]] = []
    empty_windows: list[Span] = []
    unresolved: list[Span] = []
    coarse_share = len(plan.windows) / (len(plan.windows) + 1)
    windows_progress = progress.child(PLANNING_PROGRESS_SHARE, coarse_share)
    for window, session, step in open_windows(locating, video, plan, coverage, progress=windows_progress):
        spans, is_readable = ground(session, query, progress=step)
        coverage.add(session, is_readable=is_readable)
        coarse.append(spans)
        if spans:
            continue
        if not is_readable:
            unresolved.append(window.span)
        elif task.grounding_pool is not None:
            empty_windows.append(window.span)
        # The absence is verified now, because the session may be evicted before the last window is prefilled.
        elif not _is_absent(session, task.verifier, query, options, step):
            unresolved.append(window.span)
    if coverage.out_of_distribution and not coarse:
        raise out_of_distribution_error(locating.engine.checkpoint)
    spans = _merge_across_windows(coarse)
    spans += [candidate for candidate in candidates if all(candidate.iou(other) < MIN_SAME_EVENT_IOU for other in spans)]
    check = _CandidateCheck(task, query, options)
    checks_progress = progress.child(coarse_share, 1.0)
    verdicts: list[_Verdict] = []
    if task.grounding_pool is None:
        for one, step in zip(sorted(spans), checks_progress.steps(len(spans)), strict=True):
            verdicts.append(check.verify(check.refine(one, plan.patch_period_s, step), step))
    else:
        # One checkpoint after the other: if they take turns on a device, each change moves gigabytes.
        refining, verifying = checks_progress.child(0.0, 0.5), checks_progress.child(0.5, 1.0)
        refined_occurrences = [
            check.refine(one, plan.patch_period_s, step)
            for one, step in zip(sorted(spans), refining.steps(len(spans)), strict=True)
        ]
        steps = verifying.steps(len(empty_windows) + len(refined_occurrences))
        for window_span, step in zip(empty_windows, steps, strict=False):
            if options.verify and not deny_in_windows(task.pool, task.verifier, video, window_span, query, step):
                unresolved.append(window_span)
        verdicts = [check.verify(candidate, step) for candidate, step in zip(refined_occurrences, steps, strict=True)]
    occurrences: list[Occurrence] = []
    for verdict in verdicts:
        unresolved += [verdict.candidate] if verdict.occurrence is None and not verdict.is_denied else []
        # Two candidates may be one occurrence.
        if verdict.occurrence is not None and all(
            verdict.occurrence.span.iou(other.span) < MIN_SAME_EVENT_IOU for other in occurrences
        ):
            occurrences.append(verdict.occurrence)
    progress.update(1.0)
    in_order = tuple(sorted(occurrences, key=lambda item: item.span))
    return Localization(in_order, coverage.coverage(), plan, merge_spans(unresolved))


def _is_absent(session: VideoSession, verifier: Verifier, query: str, options: LocateOptions, progress: Progress) -> bool:
    """Whether a session in which the query was not found also denies that it occurs."""
    return not options.verify or verifier.verify(session, session.window, query, progress=progress) is False


def _merge_across_windows(windows: Sequence[Sequence[Span]]) -> list[Span]:
    """Merge touching spans of neighbouring windows into one. Spans of one window stay apart."""
    merged_spans: list[Span] = []
    for spans in windows:
        earlier = list(merged_spans)
        for span in spans:
            match = next((old for old in earlier if old.overlap_s(span) >= 0), None)
            if match is None:
                merged_spans.append(span)
                continue
            earlier.remove(match)
            both = Span(min(match.start_s, span.start_s), max(match.end_s, span.end_s))
            merged_spans[merged_spans.index(match)] = both
    return merged_spans


@dataclass(frozen=True)
class _ClipResult:
    """The result of grounding the query in one clip."""

    spans: list[Span]
    sessions: list[VideoSession]
    coverage: CoverageTracker


@dataclass(frozen=True)
class _Candidate:
    """A span that may be an occurrence, and what the clips around it gave."""

    coarse: Span
    span: Span | None
    """The refined span, or the coarse one without refinement; None if the clips do not show the query."""
    patch_period_s: float
    sessions: Sequence[VideoSession] = ()
    """Sessions of the clips, if the checkpoint that refined also verifies. Others would hold the memory of the device."""
    has_gaps: bool = False
    """Whether a clip could not be decoded, or its reply not be read."""


@dataclass(frozen=True)
class _Verdict:
    """The outcome of a candidate."""

    candidate: Span
    occurrence: Occurrence | None
    is_denied: bool = False
    """Whether verification denies a candidate that is not an occurrence; without verification, its clip does."""


class _CandidateCheck:
    """The check of the candidate spans of a query."""

    def __init__(self, task: TaskContext, query: str, options: LocateOptions) -> None:
        self._task, self._query, self._options = task, query, options

    def refine(self, coarse: Span, coarse_period_s: float, progress: Progress) -> _Candidate:
        """Return the candidate of a span, with refined boundaries where the options have it."""
        if not self._options.refine:
            return _Candidate(coarse, coarse, coarse_period_s)
        if coarse.duration_s + 2 * MARGIN_S <= MAX_CLIP_S:
            clips = [self._ground_clip(with_margin(coarse), progress)]
            refined_span = max(clips[0].spans, key=coarse.iou, default=None)
        else:
            # Of a long occurrence only the two boundaries are opened.
            half_s = MAX_CLIP_S / 2
            clips = [
                self._ground_clip(Span(edge_s - half_s, edge_s + half_s), progress) for edge_s in (coarse.start_s, coarse.end_s)
            ]
            refined_span = _join_edges(coarse, clips[0].spans, clips[1].spans)
        sessions = [session for clip in clips for session in clip.sessions] if self._task.grounding_pool is None else []
        if refined_span is None or refined_span.iou(coarse) < MIN_SAME_EVENT_IOU:
            has_gaps = any(clip.coverage.has_gaps for clip in clips)
            return _Candidate(coarse, None, coarse_period_s, sessions, has_gaps)
        patch_period_s = max(clip.coverage.coverage().patch_period_s for clip in clips)
        return _Candidate(coarse, refined_span, patch_period_s, sessions)

    def verify(self, candidate: _Candidate, progress: Progress) -> _Verdict:
        """Return the occurrence; None if the clips or the verification deny it."""
        coarse = candidate.coarse
        if candidate.span is None:
            if candidate.has_gaps:
                # An undecodable clip, or an unreadable reply, does not contradict the coarse pass.
                return _Verdict(coarse, Occurrence(coarse, candidate.patch_period_s))
            is_denied = not self._options.verify or self._verify(candidate, coarse, progress) is False
            return _Verdict(coarse, None, is_denied)
        is_verified = self._verify(candidate, candidate.span, progress) if self._options.verify else None
        if is_verified is False:
            return _Verdict(coarse, None, is_denied=True)
        return _Verdict(coarse, Occurrence(candidate.span, candidate.patch_period_s, is_verified))

    def _verify(self, candidate: _Candidate, span: Span, progress: Progress) -> bool | None:
        if not self._options.refine or self._task.grounding_pool is not None:
            return verify_claim(self._task.pool, self._task.verifier, self._task.video, span, self._query, progress=progress)
        return verify_in(candidate.sessions, self._task.verifier, span, self._query, progress=progress)

    def _ground_clip(self, around: Span, progress: Progress) -> _ClipResult:
        locating = self._task.locating_pool
        sessions, coverage = open_clip(locating, self._task.video, around, progress=progress)
        spans: list[Span] = []
        for session in sessions:
            found_spans, is_readable = ground(session, self._query, progress=progress)
            coverage.add(session, is_readable=is_readable)
            spans += found_spans
        return _ClipResult(spans, sessions, coverage)


def _join_edges(coarse: Span, starts: list[Span], ends: list[Span]) -> Span | None:
    """Return one span from the clips at its two boundaries; None if one of them is missing."""
    first = min(starts, key=lambda span: abs(span.start_s - coarse.start_s), default=None)
    last = min(ends, key=lambda span: abs(span.end_s - coarse.end_s), default=None)
    return Span(first.start_s, last.end_s) if first and last and last.end_s > first.start_s else None
