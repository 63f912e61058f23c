"""Index a file: run the evidence sources that apply to it, each with its own progress, and write their tracks to the library."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from longview.app.errors import EXPECTED_ERRORS, BadRequest, SourceFault
from longview.app.files.media import MediaStore
from longview.app.files.watched_file import WatchedFile
from longview.app.ingest.entries import entry_of
from longview.app.ingest.media_look import MediaLook
from longview.app.ingest.options import IndexOptions, PlanOptions, require_language
from longview.app.ingest.ranges import check_range, requested_span
from longview.app.ingest.sources import (
    Decision,
    EvidenceSource,
    NeedsConsent,
    SourceJob,
    SourceReport,
    SourceStatus,
    source_class,
)
from longview.app.ingest.sources.captions import CaptionSource
from longview.app.ingest.sources.speech import DETECTED
from longview.app.runtime.run_runtime import RunRuntime
from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.core.progress import NO_PROGRESS, Cancelled, Progress
from longview.core.sources import SOURCES, source_label
from longview.core.timeline import Span
from longview.indexing.errors import SegmentsOutside, TrackChanged, UnknownVideo
from longview.indexing.records.track import Provenance, Track, video_id_of
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.tasks.events import PartialResult
from longview.video.errors import ImpossiblePlan, VideoError
from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)

PREPARATION_SHARE = 0.02
"""Share of the progress bar for hashing, probing, and the look from which the times of the sources are estimated."""
PREPARATION_S = 1.5
"""Typical time of that, in seconds."""
ENCODER = "loading encoder"
"""Name of the speed of loading the sentence encoder."""
ENCODER_LOADING_S, EMBEDDING_S = 0.6, 0.2
"""Time to load the sentence encoder on the machine of reference, and to embed what was found, in seconds."""

NOT_CHOSEN = Decision("skip", "not chosen")
ALL_SOURCES = PlanOptions()


@dataclass(frozen=True)
class IndexResult:
    """The library entry of a file that was indexed, and the outcome of each source."""

    entry: VideoEntry
    reports: tuple[SourceReport, ...]
    seconds_spent: float

    @property
    def failures(self) -> tuple[SourceReport, ...]:
        """The sources that failed."""
        return tuple(report for report in self.reports if report.status == "failed")

    def report(self, source: str) -> SourceReport | None:
        """Return the outcome of a source; None if it was not chosen."""
        return next((report for report in self.reports if report.source == source), None)


@dataclass(frozen=True)
class _Run:
    """One index run of a file."""

    options: IndexOptions
    video: VideoInfo
    span: Span
    file: WatchedFile
    look: MediaLook
    reports: list[SourceReport] = field(default_factory=list)


class Indexer:
    """Indexes files into one library."""

    def __init__(self, library: Library, media: MediaStore, runtime: Runtime) -> None:
        self._library, self._media, self._runtime = library, media, runtime
        self.sources: dict[str, EvidenceSource] = {name: source_class(name)(library, runtime) for name in SOURCES}
        self._captions = CaptionSource(library, runtime)

    @property
    def runtime(self) -> Runtime:
        """The models with which it indexes."""
        return self._runtime

    @contextmanager
    def with_settings(self, settings: Settings) -> "Iterator[Indexer]":
        """Return an indexer for one run, whose settings differ in those of `RunSettings`; its own models are freed in the end."""
        runtime = RunRuntime(settings, self._library, self._runtime)
        try:
            yield Indexer(self._library, self._media, runtime)
        finally:
            runtime.close()

    def index(
        self,
        path: Path,
        options: IndexOptions | None = None,
        *,
        begin: Callable[[str], None] = lambda _: None,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[PartialResult[Any], None, IndexResult]:
        """Run the sources that apply to a file, and add what they find to the library.

        `begin`: called with the content hash of the file before anything is written; what it raises ends the run.

        Tracks that are up to date are kept. An interrupted track resumes where it stopped. The failure of one source
        leaves the others. If the video is new and no source could read it, the error of the first one is raised, and the library
        stays as it was.

        Raises:
            VideoError: the file cannot be used. ImpossiblePlan: start, end or context cannot be satisfied.
            BadRequest: there is no such source. VideoGone: the file changed meanwhile. Cancelled: the operation was cancelled.
            LibraryUnusable: the library cannot be written, for instance because the disk is full.
            InvalidEncoder: the weights of the sentence encoder are damaged, without which nothing can be searched.
        """
        options = options or IndexOptions()
        self.check_options(options)
        names = self._chosen_sources(options.sources)
        start = time.monotonic()
        # Both would otherwise be noticed after minutes of work.
        self._library.require_writable()
        self._runtime.check_encoder()
        with self._runtime.watching(path) as file:
            video = self._media.open(path, progress.child(0.0, PREPARATION_SHARE, "Probing"))
            file.content_hash = video.content_hash
            begin(video.content_hash)
            span = requested_span(video, options.start_s, options.end_s) or Span(0.0, video.duration_s)
            video_id = video_id_of(video.content_hash)
            earlier_entry = self._known_entry(video_id)
            self._library.put(entry_of(self._media, video, earlier_entry, options.title))
            run = _Run(options, video, span, file, MediaLook(self._runtime.decoder, video, span, progress))
            try:
                embedding = yield from self._run_sources(run, video_id, names, progress.child(PREPARATION_SHARE, 1.0))
            except (ImpossiblePlan, BadRequest):
                # The options are wrong: this run is never resumed.
                if earlier_entry is None:
                    self.forget_if_empty(video.content_hash)
                raise
            except BaseException:
                # A cancellation, too. The next run resumes a track that has made any progress. The user may have removed the
                # video meanwhile.
                if earlier_entry is None:
                    with suppress(UnknownVideo):
                        self._library.tracks.delete_unbegun(video_id)
                raise
        errors = [report.error for report in run.reports if report.error]
        if errors and not earlier_entry and not any(map(_has_begun, self._library.pending_video(video_id).tracks)):
            self._library.tracks.delete_unbegun(video_id)
            raise errors[0]
        self._embed(embedding)
        return IndexResult(self._library.pending_video(video_id), tuple(run.reports), time.monotonic() - start)

    def decisions(
        self, video: VideoInfo, span: Span, options: PlanOptions = ALL_SOURCES, look: MediaLook | None = None
    ) -> tuple[dict[str, Decision], float | None]:
        """Return what each source would do for a video, which need not be in the library. Nothing is written there.

        The second value is the time after which captions may be declined, in seconds; None if they are not. `look`: what is known
        of the contents of the video; by default a look is taken.

        Raises:
            VideoError, ModelError: a source cannot be run.
        """
        earlier_entry = self._known_entry(video_id_of(video.content_hash))
        entry = earlier_entry or entry_of(self._media, video, None, None)
        chosen = self._chosen_sources(options.sources)
        with self._runtime.watching(video.path, video.content_hash) as file:
            job = SourceJob(
                entry,
                video,
                span,
                is_requested=options.sources is not None,
                file=file,
                look=look or MediaLook(self._runtime.decoder, video, span),
                accepts_long=options.accepts_long,
            )
            decisions = {name: self._decision(name, job) if name in chosen else NOT_CHOSEN for name in self.sources}
            declined_after_s = self._captions.decline_s(job) if decisions["captions"].action == "run" else None
        if decisions["subtitles"].action == decisions["speech"].action == "run":
            # Only the subtitles themselves show whether they are in the spoken language.
            decisions["speech"] = replace(decisions["speech"], reason="unless the subtitles are in the spoken language")
        return decisions, declined_after_s

    def _decision(self, name: str, job: SourceJob) -> Decision:
        """Return what a source would do, with the time that this takes."""
        source = self.sources[name]
        try:
            decision = source.decide(job)
            if decision.action != "run":
                return decision
            # Before the look, which may load models.
            loading_s, work_s = source.loading_s(), source.work_s(job)
        except (Cancelled, *EXPECTED_ERRORS):
            raise
        except Exception as error:
            return Decision("skip", str(_fault(job.video, name, error)), is_failure=True)
        return replace(decision, estimated_seconds=None if work_s is None else loading_s + work_s)

    @property
    def other_seconds(self) -> float:
        """Estimated time of an index run beside that of its sources, in seconds: to examine the file, and for the search."""
        return PREPARATION_S + self._embedding_s()

    def check_options(self, options: IndexOptions) -> None:
        """Check what can be checked of options and settings without a file and without loading a model.

        Raises:
            ImpossiblePlan: the end does not come after the start. BadRequest: there is no such source, or no such language.
        """
        check_range(options.start_s, options.end_s)
        names, settings = self._chosen_sources(options.sources), options.settings.over(self._runtime.settings)
        if "speech" in names and settings.speech_language not in (None, DETECTED):
            require_language(settings.speech_language, f"the speech, or {DETECTED}")
        if "screen_text" in names and settings.screen_text_language is not None:
            require_language(settings.screen_text_language, "the text on screen")

    def _chosen_sources(self, names: Sequence[str] | None) -> tuple[str, ...]:
        for name in names or ():
            if name not in self.sources:
                raise BadRequest(f"There is no source {name!r}; the sources are {', '.join(self.sources)}.")
        return tuple(name for name in self.sources if names is None or name in names)

    def _run_sources(
        self, run: _Run, video_id: str, names: Sequence[str], progress: Progress
    ) -> Generator[PartialResult[Any], None, Progress]:
        """Run sources one after another; return the progress of what comes after them."""
        stages = self._stages(run, video_id, names, progress)
        ends = iter(progress.stages([*stages, ("Preparing the search", self._embedding_s())]))
        for name in names:
            step = next(ends)
            report = yield from self._run_source(run, video_id, name, step)
            run.reports.append(report)
            step.update(1.0)
        return next(ends)

    def _stages(self, run: _Run, video_id: str, names: Sequence[str], progress: Progress) -> list[tuple[str, float]]:
        """Return the stage of each source with its expected time, in seconds: 0 for one that is not run."""
        expected_s: dict[str, float] = {}
        job = self._job(run, video_id)
        with progress.stage("Looking at the video"):
            for name in names:
                try:
                    is_run = self.sources[name].decide(job, progress.child(0.0, 0.0)).action == "run"
                    seconds = self.sources[name].work_s(job) if is_run else 0.0
                except Cancelled:
                    raise
                except Exception:
                    # The source reports it when it is its turn.
                    log.info("the time of %s is not known", name, exc_info=True)
                    seconds = 0.0
                # Without a measurement, as long as the video.
                expected_s[name] = run.span.duration_s if seconds is None else seconds
        # A look may have loaded models.
        return [(self.sources[name].stage, expected_s[name] + self._loading_s(name, expected_s[name])) for name in names]

    def _loading_s(self, name: str, expected_s: float) -> float:
        try:
            return self.sources[name].loading_s() if expected_s else 0.0
        except Exception:
            # The source reports it when it is its turn.
            log.info("the time of loading of %s is not known", name, exc_info=True)
            return 0.0

    def _embedding_s(self) -> float:
        return EMBEDDING_S if self._runtime.has_vectors else EMBEDDING_S + ENCODER_LOADING_S * self._runtime.speeds.ratio(ENCODER)

    def _job(self, run: _Run, video_id: str) -> SourceJob:
        options = run.options
        return SourceJob(
            self._library.pending_video(video_id),
            run.video,
            run.span,
            is_requested=options.sources is not None,
            file=run.file,
            look=run.look,
            context_tokens=options.context_tokens,
            keep_sessions=options.keep_sessions,
            accepts_long=options.accepts_long,
        )

    def _run_source(
        self, run: _Run, video_id: str, name: str, progress: Progress
    ) -> Generator[PartialResult[Any], None, SourceReport]:
        """Run one source and report its outcome; a failure is a report."""
        source = self.sources[name]
        start = time.monotonic()
        job = self._job(run, video_id)
        try:
            decision = source.decide(job, progress)
            if decision.action != "run":
                return _report_without_run(job, name, decision)
            result = yield from source.run(job, progress)
        except NeedsConsent as error:
            return SourceReport(name, "skipped", str(error), estimated_seconds=error.estimated_seconds)
        except (ImpossiblePlan, BadRequest):
            # The options are wrong, not the video.
            raise
        except (VideoError, ModelError, TrackChanged, SegmentsOutside) as error:
            log.info("%s: %s failed", run.video.path.name, name, exc_info=True)
            if not isinstance(error, TrackChanged):
                self._write_failure(job, name, error)
            return SourceReport(name, "failed", str(error), seconds_spent=time.monotonic() - start, error=error)
        except (Cancelled, *EXPECTED_ERRORS):
            raise
        except Exception as error:
            fault = _fault(run.video, name, error)
            self._write_failure(job, name, fault)
            return SourceReport(name, "failed", str(fault), seconds_spent=time.monotonic() - start, error=fault)
        track = self._library.pending_video(video_id).track(name)
        return SourceReport(
            name,
            "declined" if result.track.status == "declined" else "indexed",
            result.track.note,
            track.segment_count if track else 0,
            result.track.language,
            time.monotonic() - start,
            result.estimated_seconds,
        )

    def _write_failure(self, job: SourceJob, name: str, error: Exception) -> None:
        """Store that a source failed, and why. What it committed before stays, and the next run resumes."""
        last_track = self._library.pending_video(job.entry.video_id).track(name)
        if last_track is None:
            last_track = Track(name, "failed", job.span, job.span.start_s, Provenance("", "", {}))
        if last_track.status != "complete":
            self._library.tracks.update(job.entry.video_id, replace(last_track, status="failed", note=str(error)))

    def _known_entry(self, video_id: str) -> VideoEntry | None:
        try:
            return self._library.video(video_id)
        except UnknownVideo:
            return None

    def forget_if_empty(self, content_hash: str, *, since: str = "") -> None:
        """Leave a video out of the library in which nothing was found, and which was added since a time (ISO 8601, UTC).

        Its row stays, because another run may be indexing the same file, but a video without tracks is not in the library.
        """
        video_id = video_id_of(content_hash)
        with suppress(UnknownVideo):
            entry = self._library.pending_video(video_id)
            if entry.added_at >= since and not entry.has_segments:
                for track in entry.tracks:
                    self._library.tracks.delete(video_id, track.source)

    def _embed(self, progress: Progress) -> None:
        """Embed the new passages. The video is already in the library, so a cancellation does not remove it."""
        is_loaded, started = self._runtime.has_vectors, time.monotonic()
        try:
            self._runtime.vectors.update(progress)
            if not is_loaded:
                # The encoder is loaded by its first sentence.
                self._runtime.speeds.learn_ratio(ENCODER, time.monotonic() - started, EMBEDDING_S + ENCODER_LOADING_S)
        except Cancelled:
            log.info("The passages will be embedded by the next search.")


def _has_begun(track: Track) -> bool:
    """Whether the source made any progress that the next run can resume."""
    return track.status in ("complete", "declined") or track.segment_count > 0 or track.done_s > track.span.start_s


def _fault(video: VideoInfo, name: str, error: Exception) -> SourceFault:
    """Return the error of a source that does not expect it. The other sources know nothing of it, and run."""
    log.error("%s: the source %s has a fault", video.path.name, name, exc_info=error)
    return SourceFault(f"The source {source_label(name)} has a fault ({type(error).__name__}: {error}); the log has more.")


def _report_without_run(job: SourceJob, name: str, decision: Decision) -> SourceReport:
    track = job.entry.track(name)
    if decision.action == "keep":
        is_declined = track is not None and track.status == "declined"
        status: SourceStatus = "declined" if is_declined else "up_to_date"
        return SourceReport(name, status, decision.reason, track.segment_count if track else 0, track.language if track else None)
    if decision.action == "decline":
        return SourceReport(name, "declined", decision.reason)
    if job.is_requested and decision.is_failure:
        return SourceReport(name, "failed", decision.reason, error=BadRequest(decision.reason))
    return SourceReport(name, "skipped", decision.reason)
