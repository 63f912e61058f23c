"""Captions: what the checkpoint sees. They are written window by window, and again when all windows are merged and refined."""

import logging
import shlex
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longview.app.runtime import Runtime
from longview.app.session_words import words_in
from longview.app.smaller_plan import stream_with_smaller_plan
from longview.app.sources.base import Decision, NeedsConsent, SourceJob, SourceResult
from longview.indexing.library import Library, Provenance
from longview.indexing.provenance_text import model_name
from longview.indexing.tracks import Track
from longview.model.errors import UnreadableReplies
from longview.model.tasks.events import PartialResult
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.time_text import format_spans, format_time
from longview.video.timeline import Event, Segment, Span, merge_spans, subtract_spans

if TYPE_CHECKING:
    from longview.model.tasks.captioner import Captions
    from longview.model.tasks.costs import Cost
    from longview.model.tasks.merging import WindowCaptions
    from longview.video.sampler import SamplingPlan

log = logging.getLogger(__name__)

MAX_UNASKED_S = 600.0
"""Maximum estimated time of captioning that starts unasked, in seconds."""
MIN_COVERED_S = 0.1
"""Minimum length of a part that is covered, in seconds."""
MIN_SLOW_S = 10.0
"""Minimum estimated time of captioning that is stated before it begins, in seconds."""


def _has_read_time(span: Span, uncovered: Sequence[Span]) -> bool:
    """Whether any part of a span is covered."""
    return any(part.duration_s > MIN_COVERED_S for part in subtract_spans(span, uncovered))


class CaptionSource:
    """Captions a video with the chosen checkpoint, and summarises the captions."""

    name: ClassVar[str] = "captions"
    stage: ClassVar[str] = "Captioning"
    progress_share: ClassVar[float] = 0.55
    segment_noun: ClassVar[str] = "event"
    empty_text: ClassVar[str] = "no events detected"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._runtime = library, runtime

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:  # noqa: ARG002
        """See `EvidenceSource.decide`."""
        if not job.video.has_frames:
            return Decision("decline", "the file has sound but no pictures")
        checkpoint = self._runtime.checkpoint
        if not checkpoint.profile.capabilities.captions:
            return Decision("decline", f"{checkpoint.name} was not trained to caption; choose another checkpoint with --model")
        track = job.has_track(self.name, checkpoint.identity, checkpoint.profile.version, checkpoint.profile.name)
        if track and track.status in ("complete", "declined") and self._has_same_options(job, track):
            return Decision("keep", track.note or "up to date")
        return Decision("run")

    def _has_same_options(self, job: SourceJob, track: Track) -> bool:
        """Whether a track was made with the present options. Tracks of earlier versions do not state the checks."""
        options = self._runtime.caption_options_fields() | {"context_tokens": job.context_tokens}
        return all(track.provenance.plan.get(name, value) == value for name, value in options.items())

    def plan(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> tuple["SamplingPlan", "Cost"]:
        """Plan the windows, and estimate the cost of captions, chapters and summary. The checkpoint is loaded.

        Raises:
            ImpossiblePlan: the span or the context cannot be satisfied. Cancelled: the operation was cancelled.
        """
        from longview.model.tasks.costs import captions_cost

        pool, span = self._runtime.pool, job.span if job.is_partial else None
        plan = pool.planner.plan(job.video, "caption", span=span, context_tokens=job.context_tokens, progress=progress)
        plan = pool.planner.estimate_kept_share(job.video, plan, progress)
        words = words_in(self._library, self._runtime.settings, job.entry.video_id)
        prober, options = self._runtime.prober, self._runtime.checks.captions
        return plan, captions_cost(pool, prober, job.video, plan, options, words=words, progress=progress)

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`. A checkpoint that does not know such footage declines the video.

        Raises:
            NeedsConsent: captioning would take longer than `MAX_UNASKED_S`, and was neither requested nor accepted.
        """
        return stream_with_smaller_plan(self._runtime, lambda: self._run(job, progress))

    def _run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        from longview.model.tasks.captioner import caption, knows_footage
        from longview.model.tasks.chapters import Summary, summarize

        start = time.monotonic()
        step = progress.child(0.0, 0.05)
        pool, prober, options = self._runtime.pool, self._runtime.prober, self._runtime.checks.captions
        plan, cost = self.plan(job, step)
        if cost.seconds is not None and cost.seconds > MAX_UNASKED_S and not (job.accepts_long or job.is_requested):
            raise NeedsConsent(
                f"captioning would take about {format_time(cost.seconds)} on this machine; to start it: "
                f"longview index --yes {shlex.quote(str(job.video.path))}{self._runtime.model_option}",
                cost.seconds,
            )
        _log_cost(job, plan, cost, pool.engine.device)
        provenance = self._runtime.caption_provenance(plan, context_tokens=job.context_tokens)
        if not knows_footage(pool, job.video, plan, progress=step):
            job.file.check(progress)
            return SourceResult(self._decline(job, provenance, uncovered=(job.span,)), cost.seconds)
        windows = caption(
            pool,
            prober,
            job.video,
            plan,
            options,
            words=words_in(self._library, self._runtime.settings, job.entry.video_id),
            keep_sessions=job.keep_sessions,
            grounding_pool=self._runtime.grounding_pool if options.refine else None,
            progress=progress.child(0.05, 0.96),
        )
        captions = yield from self._commit_windows(windows, job, plan, provenance, progress)
        uncovered = captions.coverage.uncovered
        if not captions.events and captions.out_of_distribution:
            seconds_spent = time.monotonic() - start
            track = self._decline(job, provenance, uncovered=uncovered, seconds_spent=seconds_spent)
            return SourceResult(track, cost.seconds)
        if not captions.events and not _has_read_time(plan.span, uncovered):
            # What an earlier run has found stays.
            raise UnreadableReplies(
                f"No reply of {self._runtime.checkpoint.name} could be read as captions, or no frame could be decoded. Nothing "
                "was changed; choose another checkpoint with --model, or another --profile."
            )
        # Without frames and events, even "no events detected" would be an unsupported claim.
        has_summary = captions.events or not uncovered
        step = progress.child(0.96, 1.0)
        summary = summarize(captions.events, plan.span, pool, prober, progress=step) if has_summary else Summary("", ())
        if uncovered:
            log.warning("%s: captions may be incomplete from %s", job.entry.title, format_spans(*uncovered))
        track = Track(
            self.name,
            "complete",
            job.span,
            job.span.end_s,
            provenance,
            uncovered=uncovered,
            seconds_spent=time.monotonic() - start,
        )
        self._library.put_captions(
            job.entry.video_id,
            track,
            [Segment(event.span, event.text, self.name) for event in captions.events],
            summary=summary.text,
            chapters=tuple(Event(chapter.span, chapter.title) for chapter in summary.chapters),
        )
        return SourceResult(track, cost.seconds)

    def _commit_windows(
        self,
        windows: Generator["PartialResult[WindowCaptions]", None, "Captions"],
        job: SourceJob,
        plan: "SamplingPlan",
        provenance: Provenance,
        progress: Progress,
    ) -> Generator["PartialResult[WindowCaptions]", None, "Captions"]:
        """Yield the captions of each window, and write those so far to the library, unless it has a complete track already.

        An older complete track, and one that was declined, stay until the new one is complete: a run that is cancelled would
        replace the captions of a whole video by those of a part.

        Raises:
            VideoGone: the file is no longer the one that was hashed.
        """
        from longview.model.tasks.merging import merge_windows

        last_track = job.entry.track(self.name)
        finished: list[WindowCaptions] = []
        while True:
            try:
                window = next(windows)
            except StopIteration as end:
                captions: Captions = end.value
                job.file.check(progress)
                return captions
            job.file.check(progress)
            finished.append(window.value)
            # The last window is followed by the complete track, at once or after its refinement.
            if len(finished) < len(plan.windows) and (last_track is None or last_track.status not in ("complete", "declined")):
                done_s = window.value.window.end_s
                skipped = {window.span for window in plan.windows} - {part.window for part in finished}
                left = merge_spans([*(span for span in skipped if span.end_s <= done_s), Span(done_s, job.span.end_s)])
                track = Track(self.name, "incomplete", job.span, done_s, provenance, uncovered=left)
                events = merge_windows(finished, patch_period_s=plan.patch_period_s)
                segments = [Segment(event.span, event.text, self.name) for event in events]
                self._library.put_captions(job.entry.video_id, track, segments, summary="", chapters=())
            yield window

    def _decline(
        self, job: SourceJob, provenance: Provenance, *, uncovered: tuple[Span, ...], seconds_spent: float = 0.0
    ) -> Track:
        """Return the track of a video that the checkpoint does not know. It does not replace complete captions of another."""
        name = self._runtime.checkpoint.name
        note = f"the {name} checkpoint does not know such footage"
        last_track = job.entry.track(self.name)
        is_kept = (
            last_track is not None
            and last_track.is_complete
            and last_track.segment_count > 0
            and model_name(last_track.provenance.checkpoint) != name
        )
        if last_track and is_kept:
            note += f"; the captions of {model_name(last_track.provenance.checkpoint)} stay"
        track = Track(
            self.name,
            "declined",
            job.span,
            job.span.end_s,
            provenance,
            uncovered=uncovered,
            note=note,
            seconds_spent=seconds_spent,
        )
        if not is_kept:
            self._library.put_captions(job.entry.video_id, track, (), summary="", chapters=())
        return track


def _log_cost(job: SourceJob, plan: "SamplingPlan", cost: "Cost", device: str) -> None:
    """State what captioning will cost, unless it is quick."""
    duration = "an unknown time" if cost.seconds is None else format_time(cost.seconds)
    is_slow = cost.seconds is not None and cost.seconds > MIN_SLOW_S
    log.log(
        logging.WARNING if is_slow else logging.INFO,
        "%s: captioning %d frames takes %d sessions, %s prompt tokens and %d replies, about %s on device %s",
        job.video.path.name, plan.frames, cost.sessions, f"{cost.prompt_tokens:,}", cost.generations, duration, device,
    )  # fmt: skip
