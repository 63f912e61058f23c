"""Captions: what the checkpoint sees. They are written window by window, and again when all windows are merged and refined.

An interrupted run resumes with the next window (`longview.app.ingest.sources.caption_run`).
"""

import logging
import shlex
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from longview.app.ingest.sources.base import Decision, NeedsConsent, SourceJob, SourceResult
from longview.app.ingest.sources.caption_times import LOADING_S, CaptionTimes
from longview.app.runtime.context_retry import stream_with_smaller_context
from longview.app.runtime.provenance import caption_options_fields, caption_provenance
from longview.app.runtime.runtime import Runtime
from longview.app.runtime.transcript_context import transcript_reader
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.time_format import format_spans, format_time
from longview.core.timeline import Event, Segment, Span, merge_spans, subtract_spans
from longview.indexing.records.provenance_text import model_name
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.caption_windows import CaptionWindowRow
from longview.model.engine.local_access import missing_packages_text
from longview.model.errors import UnreadableReplies
from longview.model.tasks.events import PartialResult

if TYPE_CHECKING:
    from longview.app.ingest.sources.caption_run import CaptionRun
    from longview.model.tasks.captioner import Captions, FinishedWindow
    from longview.model.tasks.costs import Cost
    from longview.video.sampling_plan import SamplingPlan

log = logging.getLogger(__name__)

MAX_UNASKED_S = 600.0
"""Maximum estimated time of captioning that starts unasked, in seconds."""
MIN_COVERED_S = 0.1
"""Minimum length of a part that is covered, in seconds."""
MIN_SLOW_S = 90.0
"""Minimum estimated time of captioning that is stated before it begins, in seconds."""


def _has_read_time(span: Span, uncovered: Sequence[Span]) -> bool:
    """Whether any part of a span is covered."""
    return any(part.duration_s > MIN_COVERED_S for part in subtract_spans(span, uncovered))


class CaptionSource:
    """Captions a video with the chosen checkpoint, and summarises the captions."""

    name: ClassVar[str] = "captions"
    stage: ClassVar[str] = "Captioning"

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
        if self._runtime.settings.server is None and (problem := missing_packages_text()) is not None:
            return Decision("skip", problem, is_failure=True)
        return Decision("run")

    def _has_same_options(self, job: SourceJob, track: Track) -> bool:
        """Whether a track was made with the present options. Tracks of earlier versions do not state the checks."""
        options = caption_options_fields(self._runtime) | {"context_tokens": job.context_tokens}
        return all(track.provenance.plan.get(name, value) == value for name, value in options.items())

    def loading_s(self) -> float:
        """See `EvidenceSource.loading_s`."""
        if self._runtime.is_loaded:
            return 0.0
        return LOADING_S * self._runtime.speeds.ratio(self._times.loading_name)

    def work_s(self, job: SourceJob) -> float | None:
        """See `EvidenceSource.work_s`: the mean of captioning and of declining, by how often the checkpoint has done either."""
        times = self._times
        captioning_s = times.captioning_s(job.span.duration_s)
        if captioning_s is not None and captioning_s > MAX_UNASKED_S and not (job.accepts_long or job.is_requested):
            return 0.0
        return times.expected_s(job, captioning_s)

    def decline_s(self, job: SourceJob) -> float | None:
        """Return after which time the checkpoint may decline a video, with its loading, in seconds; None: it declines none."""
        times = self._times
        return self.loading_s() + times.declining_s(job.span.duration_s) if times.may_decline else None

    @property
    def _times(self) -> CaptionTimes:
        return CaptionTimes(self._runtime.speeds, self._runtime.checkpoint)

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`. A checkpoint that cannot caption this kind of video declines it.

        Raises:
            NeedsConsent: captioning would take longer than `MAX_UNASKED_S`, and was neither requested nor accepted.
        """
        return stream_with_smaller_context(self._runtime, lambda: self._run(job, progress))

    def _run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        from longview.app.ingest.sources.caption_run import find_run
        from longview.model.tasks.captioner import caption
        from longview.model.tasks.chapters import Summary, summarize
        from longview.model.tasks.context import TaskContext
        from longview.model.tasks.costs import captions_cost
        from longview.model.tasks.footage import knows_footage

        times, loading_s, work_s = self._times, self.loading_s(), self.work_s(job)
        start = time.monotonic()
        if loading_s:
            _ = self._runtime.pool
            self._runtime.speeds.learn_ratio(times.loading_name, time.monotonic() - start, LOADING_S)
            work_left_s = job.span.duration_s if work_s is None else work_s
            progress = progress.child(loading_s / (loading_s + work_left_s), 1.0)
            # How long the loading took tells nothing of the rest.
            progress.expect(work_left_s)
        loaded_s = time.monotonic()
        step = progress.child(0.0, 0.05)
        pool, verifier, options = self._runtime.pool, self._runtime.verifier, self._runtime.checks.captions
        transcript = transcript_reader(self._library, self._runtime.settings, job.entry.video_id)
        run = find_run(self._library, self._runtime, job, step)
        plan, positions = run.plan, {window.position for window in run.finished}
        cost = captions_cost(
            TaskContext(pool, verifier, job.video, transcript=transcript, progress=step), plan, options, finished=positions
        )
        if cost.seconds is not None and cost.seconds > MAX_UNASKED_S and not (job.accepts_long or job.is_requested):
            raise NeedsConsent(
                f"captioning would take about {format_time(cost.seconds)} on this machine; to start it: "
                f"longview index --yes {shlex.quote(str(job.video.path))}{self._runtime.model_option}",
                cost.seconds,
            )
        _log_cost(job, plan, cost, pool.engine.device)
        self._library.caption_windows.delete(job.entry.video_id, except_run=run.text)
        provenance = caption_provenance(self._runtime, plan, context_tokens=job.context_tokens)
        if not run.finished and not knows_footage(pool, job.video, plan, progress=step):
            job.file.check(progress)
            times.learn_decline(job, time.monotonic() - loaded_s)
            return SourceResult(self._decline(job, provenance, uncovered=(job.span,)), cost.seconds)
        windows = caption(
            TaskContext(
                pool,
                verifier,
                job.video,
                transcript=transcript,
                grounding_pool=self._runtime.grounding_pool if options.refine else None,
                progress=progress.child(0.05, 0.96),
            ),
            plan,
            options,
            finished=run.finished,
            keep_sessions=job.keep_sessions,
        )
        if work_s is None and cost.seconds is not None:
            progress.expect(cost.seconds)
        captioning_s = times.captioning_s(job.span.duration_s)
        expected_s = cost.seconds if captioning_s is None else captioning_s
        captions = yield from self._commit_windows(windows, job, run, provenance, start, progress, expected_s)
        uncovered = captions.coverage.uncovered
        if not captions.events and captions.out_of_distribution:
            times.learn_decline(job, time.monotonic() - loaded_s)
            seconds_spent = run.seconds_spent + time.monotonic() - start
            track = self._decline(job, provenance, uncovered=uncovered, seconds_spent=seconds_spent)
            return SourceResult(track, cost.seconds)
        if not captions.events and not _has_read_time(plan.span, uncovered):
            # What an earlier run has found stays. The next one asks again.
            self._library.caption_windows.delete(job.entry.video_id)
            raise UnreadableReplies(
                f"No reply of {self._runtime.checkpoint.name} could be read as captions, or no frame could be decoded. Nothing "
                "was changed; choose another checkpoint with --model, or another --profile."
            )
        # Without frames and events, even "no events detected" would be an unsupported claim.
        has_summary = captions.events or not uncovered
        step = progress.child(0.96, 1.0)
        summary = summarize(captions.events, plan.span, pool, verifier, progress=step) if has_summary else Summary("", ())
        if uncovered:
            log.warning("%s: captions may be incomplete from %s", job.entry.title, format_spans(*uncovered))
        track = Track(
            self.name,
            "complete",
            job.span,
            job.span.end_s,
            provenance,
            uncovered=uncovered,
            seconds_spent=run.seconds_spent + time.monotonic() - start,
        )
        if not run.finished:
            times.learn_captions(job, time.monotonic() - loaded_s)
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
        windows: Generator["PartialResult[FinishedWindow]", None, "Captions"],
        job: SourceJob,
        run: "CaptionRun",
        provenance: Provenance,
        start: float,
        progress: Progress,
        expected_s: float | None,
    ) -> Generator["PartialResult[FinishedWindow]", None, "Captions"]:
        """Yield the captions of each window, and write them with what the next run needs to resume after an interruption.

        The captions so far become the track, unless the library has a complete one already. An older complete track, and one that
        was declined, stay until the new one is complete: a run that is cancelled would replace the captions of a whole video by
        those of a part.

        `start`: when the run began, as `time.monotonic`. `expected_s`: time of all windows, in seconds, if they are captioned.

        Raises:
            VideoGone: the file is no longer the one that was hashed.
        """
        last_track = job.entry.track(self.name)
        writes_track = last_track is None or last_track.status not in ("complete", "declined")
        finished = list(run.finished)
        written_s = start
        while True:
            try:
                window = next(windows)
            except StopIteration as end:
                captions: Captions = end.value
                job.file.check(progress)
                return captions
            job.file.check(progress)
            finished.append(window.value)
            if expected_s is not None and not window.value.coverage.is_out_of_distribution:
                progress.expect(expected_s * (1.0 - len(finished) / (len(run.plan.windows) + 1)))
                # From here on, what is observed corrects it.
                expected_s = None
            now_s = time.monotonic()
            row = run.row(window.value, now_s - written_s)
            written_s = now_s
            # The last window is followed by the complete track, at once or after its refinement.
            is_last = len(finished) == len(run.plan.windows)
            if is_last or not writes_track or window.value.coverage.is_out_of_distribution:
                self._library.caption_windows.put(job.entry.video_id, row)
            else:
                spent_s = run.seconds_spent + now_s - start
                self._write_unfinished(job, run.plan, provenance, finished, row, spent_s)
            yield window

    def _write_unfinished(
        self,
        job: SourceJob,
        plan: "SamplingPlan",
        provenance: Provenance,
        finished: Sequence["FinishedWindow"],
        row: CaptionWindowRow,
        seconds_spent: float,
    ) -> None:
        """Write the captions of the finished windows as an incomplete track, and the last one with what continues from it."""
        from longview.model.tasks.captioner import merge_finished_windows

        captioned_windows = {window.window for window in finished if not window.coverage.is_out_of_distribution}
        done_s = max(span.end_s for span in captioned_windows)
        skipped_spans = [
            window.span for window in plan.windows if window.span not in captioned_windows and window.span.end_s <= done_s
        ]
        uncovered_spans = merge_spans([*skipped_spans, Span(done_s, job.span.end_s)])
        track = Track(
            self.name, "incomplete", job.span, done_s, provenance, uncovered=uncovered_spans, seconds_spent=seconds_spent
        )
        segments = [Segment(event.span, event.text, self.name) for event in merge_finished_windows(finished, plan)]
        self._library.put_captions(job.entry.video_id, track, segments, summary="", chapters=(), window=row)

    def _decline(
        self, job: SourceJob, provenance: Provenance, *, uncovered: tuple[Span, ...], seconds_spent: float = 0.0
    ) -> Track:
        """Return the track of a video that the checkpoint does not know. It does not replace complete captions of another."""
        name = self._runtime.checkpoint.name
        note = f"the {name} checkpoint cannot caption this kind of video"
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
        if is_kept:
            self._library.caption_windows.delete(job.entry.video_id)
        else:
            self._library.put_captions(job.entry.video_id, track, (), summary="", chapters=())
        return track


def _log_cost(job: SourceJob, plan: "SamplingPlan", cost: "Cost", device: str) -> None:
    """State how long captioning will take, unless it is quick; for the log also what it consists of."""
    log.info(
        "%s: captioning %d frames takes %d sessions, %s prompt tokens and %d replies on device %s",
        job.video.path.name, plan.frames, cost.sessions, f"{cost.prompt_tokens:,}", cost.generations, device,
    )  # fmt: skip
    if cost.seconds is not None and cost.seconds > MIN_SLOW_S:
        log.warning("%s: captioning takes at most about %d min", job.video.path.name, round(cost.seconds / 60))


SOURCE = CaptionSource
