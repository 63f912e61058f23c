"""Dense captions of a video of any length.

Each window of a plan is captioned and checked, and the windows' captions are merged into one timeline (`merging`). With the
checks enabled, each event is verified, windows whose captions fail the quality check are captioned again from other frames, and
contested events are refined (`refiner`).
"""

import logging
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from longview.core.progress import Progress
from longview.core.time_format import format_spans
from longview.core.timeline import Event, Span, merge_spans
from longview.model.engine.base import REPLY_RESERVE_TOKENS, PrecedingText, VideoSession
from longview.model.engine.generation.repetition import RETRY_PRESENCE_PENALTY
from longview.model.tasks.context import TaskContext
from longview.model.tasks.coverage import Coverage, CoverageTracker, WindowCoverage
from longview.model.tasks.events import PartialResult
from longview.model.tasks.grounding import MIN_SAME_EVENT_IOU, ground, open_decodable_windows, open_windows
from longview.model.tasks.merging import WindowCaptions, merge_windows
from longview.model.tasks.options import CaptionOptions
from longview.model.tasks.quality import QualityReport, check_captions
from longview.model.tasks.refiner import refine_timeline
from longview.model.tasks.replies import TimedCaption
from longview.model.tasks.reply_forms import parse_captions
from longview.model.tasks.text_match import has_paraphrase
from longview.model.tasks.transcript_context import TranscriptContext, transcript_context
from longview.model.tasks.verifier import Verifier
from longview.video.sampling_plan import SamplingPlan, Window

log = logging.getLogger(__name__)

_TIMESTAMP = re.compile(r"(?<!\d)\d++\.\d")
MAX_CAPTION_TOKENS = REPLY_RESERVE_TOKENS - 256
"""Maximum length of a reply: the reserve less template and question."""
WINDOWS_PROGRESS_SHARE = 0.9
"""Share of the progress bar for the windows; the rest is for the refinement."""
MIN_CONFIRM_IOU = 0.5
"""Minimum tIoU with which grounding an event alone confirms its time."""
RETRY_FPS_FACTOR = 1.5
"""Frame-rate factor for the second attempt at a window whose captions fail the check. A different rate selects other frames."""


@dataclass(frozen=True)
class Captions:
    """The timeline of a video, and how much of the video it is based on."""

    events: tuple[Event, ...]
    """Events in order of time, on the video's clock."""
    coverage: Coverage
    """The captions may be incomplete in its uncovered spans."""
    out_of_distribution: tuple[Span, ...] = ()
    """Windows that are out-of-distribution for the checkpoint. They have no captions and count as uncovered."""


@dataclass(frozen=True)
class FinishedWindow(WindowCaptions):
    """The captions of one window of a plan, and all else that the timeline and its coverage need of the window."""

    position: int
    """Position of the window in the plan, from 0."""
    coverage: WindowCoverage


@dataclass(frozen=True)
class _Attempt:
    """The captions of one attempt at a window."""

    events: tuple[Event, ...]
    quality: QualityReport
    is_repetitive: bool


def caption(
    task: TaskContext,
    plan: SamplingPlan,
    options: CaptionOptions,
    *,
    finished: Sequence[FinishedWindow] = (),
    keep_sessions: bool = True,
) -> Generator[PartialResult[FinishedWindow], None, Captions]:
    """Caption every window of a plan; yield the captions of each window before all are merged.

    With `options.verify` every event is grounded once more, and dropped if the checkpoint does not confirm it. A window whose
    captions fail the check is captioned again from other frames. If that fails too, the better attempt is kept and the window is
    reported as uncovered. An out-of-distribution window is yielded without captions. `finished`: windows that an earlier call
    with this plan and these options yielded; they are not opened again, and the result is that of one call. `keep_sessions`: the
    windows' sessions stay in the pool for later questions.

    Raises:
        UnreadableVideo: no frame of the video can be decoded. Cancelled: the operation was cancelled.
    """
    pool, video, progress = task.pool, task.video, task.progress
    windows = {window.position: window for window in finished}
    coverage = CoverageTracker(plan, key_frames_only=pool.decoder.key_frames_only)
    for window in finished:
        coverage.add_window(window.coverage)
    windows_share = WINDOWS_PROGRESS_SHARE if options.refine else 1.0
    steps = progress.child(0.0, windows_share)
    sessions = open_decodable_windows(pool, video, plan, coverage, finished=set(windows), pin=keep_sessions, progress=steps)
    for position, session, step in sessions:
        windows[position] = _finish_window(task.at(step), plan, position, session, options, coverage)
        yield PartialResult(windows[position])
    timeline = merge_finished_windows(windows.values(), plan)
    if options.refine:
        # The checkpoint that has captioned verifies timestamps.
        refining = pool if task.verifier.timestamps else task.locating_pool
        timeline = refine_timeline(refining, task.verifier, video, timeline, plan, progress=progress.child(windows_share, 1.0))
        # After the refinement, two events that were apart may have the same time.
        timeline = merge_windows([WindowCaptions(plan.span, timeline)], patch_period_s=plan.patch_period_s)
    progress.update(1.0)
    if spans := merge_spans(coverage.out_of_distribution):
        # Whoever captions a video of which no window is known says so as the result.
        is_partial = len(coverage.out_of_distribution) < len(plan.windows)
        message = "%s: no captions for %s, because the checkpoint %s cannot caption this kind of video"
        level = logging.WARNING if is_partial else logging.INFO
        log.log(level, message, video.path.name, format_spans(*spans), pool.engine.checkpoint.name)
    return Captions(tuple(timeline), coverage.coverage(), tuple(coverage.out_of_distribution))


def merge_finished_windows(windows: Iterable[FinishedWindow], plan: SamplingPlan) -> list[Event]:
    """Merge windows of a plan into one timeline. An out-of-distribution window reports nothing, not even that nothing happens."""
    in_order = sorted(windows, key=lambda window: window.position)
    captionable = [window for window in in_order if not window.coverage.is_out_of_distribution]
    return merge_windows(captionable, patch_period_s=plan.patch_period_s)


def _finish_window(
    task: TaskContext,
    plan: SamplingPlan,
    position: int,
    session: VideoSession,
    options: CaptionOptions,
    coverage: CoverageTracker,
) -> FinishedWindow:
    """Caption and check the window of a session, and add it to the coverage."""
    window = plan.windows[position]
    if session.is_out_of_distribution:
        return FinishedWindow(window.span, (), position, coverage.mark_out_of_distribution(window.span))
    context_here = transcript_context(task.pool, plan, window, task.transcript)
    attempt = _caption_window(session, task.verifier, options, context_here, task.progress)
    if options.verify and not attempt.quality.has_passed:
        second = _retry_window(task, window, options, attempt)
        attempt = _best_of(attempt, second, window.span, plan.patch_period_s)
    if errors := attempt.quality.errors:
        log.info("the captions of %s are unreliable: the reply %s", format_spans(window.span), ", ".join(errors))
    covered = coverage.add(session, is_readable=not attempt.quality.errors)
    task.pool.release(session)
    task.progress.update(1.0)
    return FinishedWindow(window.span, attempt.events, position, covered)


def _caption_window(
    session: VideoSession,
    verifier: Verifier,
    options: CaptionOptions,
    transcript: TranscriptContext,
    progress: Progress,
    *,
    presence_penalty: float = 0.0,
) -> _Attempt:
    profile = session.checkpoint.profile
    generation = session.generate(
        profile.prompts.captions(session, has_transcript=bool(transcript.prompt)),
        preceding=PrecedingText(transcript.prompt),
        max_new_tokens=MAX_CAPTION_TOKENS,
        schema=TimedCaption if profile.replies.captions == "json" else None,
        presence_penalty=presence_penalty,
        progress=progress,
    )
    for _ in generation:
        progress.update(_reply_progress(generation.text, session))
    reply = parse_captions(generation.text, session, profile.replies.captions)
    events = [event for event in reply.events if event.text]
    if options.verify:
        verified_events = (_verify_event(session, verifier, event, progress) for event in events)
        events = [event for event in verified_events if event is not None]
        if verifier.timestamps:
            events += verifier.timestamps.find_missed_events(session, events, progress=progress)
    return _Attempt(tuple(events), check_captions(generation, reply, session), generation.is_repetitive)


def _verify_event(session: VideoSession, verifier: Verifier, event: Event, progress: Progress) -> Event | None:
    """Return the event at the time at which the session grounds it alone; None if the session denies it.

    The session is warm, so the second question is cheap. Lists of events often contain an invented one where little happens, and
    often give one of two overlapping events the end of the other.
    """
    spans, _ = ground(session, event.text, progress=progress)
    alone = max(spans, key=event.span.iou, default=event.span)
    agreement = event.span.iou(alone) if spans else 0.0
    if agreement >= MIN_CONFIRM_IOU:
        return event
    if agreement >= MIN_SAME_EVENT_IOU:
        return Event(alone, event.text)
    is_denied = verifier.verify(session, event.span, event.text, progress=progress, matches=has_paraphrase) is False
    return None if is_denied else event


def _retry_window(task: TaskContext, window: Window, options: CaptionOptions, first: _Attempt) -> _Attempt:
    """Caption a window again from more frames. If they need two windows, the errors of both are reported together."""
    pool, video, progress = task.pool, task.video, task.progress
    max_fps = 1 / pool.engine.checkpoint.trained_range.min_frame_period_s
    fps = min(max_fps, RETRY_FPS_FACTOR / window.frame_period_s)
    plan = pool.planner.plan(video, "caption", span=window.span, fps=fps, progress=progress)
    penalty = RETRY_PRESENCE_PENALTY if first.is_repetitive else 0.0
    coverage = CoverageTracker(plan)
    windows: list[WindowCaptions] = []
    attempts = []
    for part, session, step in open_windows(pool, video, plan, coverage, pin=False, progress=progress):
        context_here = transcript_context(pool, plan, part, task.transcript)
        attempt = _caption_window(session, task.verifier, options, context_here, step, presence_penalty=penalty)
        attempts.append(attempt)
        windows.append(WindowCaptions(part.span, attempt.events))
        pool.release(session)
    errors = tuple(dict.fromkeys(error for attempt in attempts for error in attempt.quality.errors))
    if coverage.coverage().uncovered:
        errors += ("could not be captioned again",)
    warnings = tuple(dict.fromkeys(warning for attempt in attempts for warning in attempt.quality.warnings))
    return _Attempt(
        tuple(merge_windows(windows, patch_period_s=plan.patch_period_s)),
        QualityReport(errors, warnings),
        any(attempt.is_repetitive for attempt in attempts),
    )


def _best_of(first: _Attempt, second: _Attempt, window: Span, patch_period_s: float) -> _Attempt:
    """Return the attempt with fewer errors; without errors, merge both. If both end early, nothing happens after that."""
    if first.quality.errors or second.quality.errors:
        return min(first, second, key=lambda attempt: len(attempt.quality.errors))
    # Events with the same time are one event in different words. The first attempt already has what happens beside it.
    additional_events = [
        event for event in second.events if all(event.span.iou(other.span) < MIN_SAME_EVENT_IOU for other in first.events)
    ]
    both = merge_windows(
        [WindowCaptions(window, first.events), WindowCaptions(window, additional_events)], patch_period_s=patch_period_s
    )
    return _Attempt(tuple(both), second.quality, is_repetitive=False)


def _reply_progress(text: str, session: VideoSession) -> float:
    """Return the fraction of the window that a partial reply has reached, by the last time in it."""
    times = _TIMESTAMP.findall(text[-120:])
    if not times or session.window.duration_s == 0:
        return 0.0
    return min(1.0, max(0.0, (float(times[-1]) + session.clock_offset_s - session.window.start_s) / session.window.duration_s))
