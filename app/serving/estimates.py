"""What indexing costs, before it begins: the plan of one file, or a rough estimate of a folder or of files that are not here."""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from longview.app.errors import BadRequest
from longview.app.ingest.indexer import Indexer
from longview.app.ingest.media_look import MediaLook, PictureLook, SoundLook
from longview.app.ingest.options import IndexOptions, PlanOptions
from longview.app.ingest.planning import IndexPlanner
from longview.app.ingest.ranges import requested_span
from longview.app.ingest.sources.caption_times import CaptionTimes
from longview.app.ingest.sources.captions import MAX_UNASKED_S
from longview.app.jobs.folder_watch import left_out_text, media_files
from longview.app.service import Longview
from longview.core.timeline import Span
from longview.video.errors import ImpossiblePlan, VideoError
from longview.video.probing.probe import StreamInfo, VideoInfo

MAX_PROBED, MAX_PROBING_S = 60, 6.0
"""Maximum number of files of a folder whose lengths are read, and maximum time for that, in seconds."""
MAX_LISTING_S = 3.0
"""Maximum time in which the files of a folder are listed, in seconds: the beginning of a typed path may be the whole disk."""
HASH_BYTES = 20
"""Length of the content hash that a file gets which is not on this machine, in bytes."""
TYPICAL_FPS = 25.0
"""Frame rate of pictures that a browser has not measured, in frames per second."""
NOT_HASHED = "not hashed"
"""Content hash of a file whose length is all that is read."""


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file that was not examined."""

    name: str
    duration_s: float
    width: int
    """Width of the pictures in pixels; 0: it has none."""
    height: int
    fps: float = TYPICAL_FPS
    has_sound: bool = True


@dataclass(frozen=True)
class SourceEstimate:
    """What one source would do with all files."""

    action: str
    reason: str = ""
    seconds: float | None = None
    """Expected time; None: it is unknown."""
    at_most_s: float | None = None
    """For captions, the time if the checkpoint knows the footage; otherwise None."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of files."""

    files: int
    duration_s: float | None
    unknown_files: int
    sources: dict[str, SourceEstimate]
    other_s: float
    """Estimated time beside that of the sources, in seconds."""
    is_rough: bool

    @property
    def seconds(self) -> float | None:
        """Expected time in all, in seconds; None if that of a source is unknown, or nothing is known of the files."""
        times_s = [source.seconds for source in self.sources.values() if source.action == "run"]
        if self.duration_s is None or None in times_s:
            return None
        return sum(time_s or 0.0 for time_s in times_s) + (self.other_s if times_s else 0.0)


class TypicalLook(MediaLook):
    """No look at a file: the sources take typical contents."""

    def __init__(self) -> None:
        pass

    def sound(self, stream_index: int) -> SoundLook | None:  # noqa: ARG002
        """Return nothing: the sound is typical."""
        return None

    def pictures(self, height: int, width: int, load_counter: object) -> PictureLook | None:  # noqa: ARG002
        """Return nothing: the pictures are typical."""
        return None


class Estimates:
    """Estimates for one server. Safe for several threads."""

    def __init__(self, app: Longview) -> None:
        self._app = app

    def of_path(self, path: Path, options: IndexOptions) -> Estimate:
        """Return the plan of a file with the numbers of `Longview.plan`, or a rough estimate of all files of a folder.

        Raises:
            VideoError, BadRequest: there is no such file or folder, or the options cannot be used. ImpossiblePlan: the part is
                outside of the file.
        """
        self._app.parts.indexer.check_options(options)
        is_folder = False
        # A path that no file can have is refused with its reason as a file.
        with suppress(OSError, RuntimeError, ValueError):
            path = path.expanduser().absolute()
            is_folder = path.is_dir()
        with self._indexer(options) as indexer:
            return self._of_folder(path, options, indexer) if is_folder else self._of_file(path, options, indexer)

    def of_files(self, files: Sequence[FileFacts | None], options: IndexOptions, *, more_files: int = 0) -> Estimate:
        """Return a rough estimate of files by what a browser knows of them. None: a file that it cannot read.

        `more_files`: number of others, which are as long as these are.

        Raises:
            BadRequest, ImpossiblePlan: the options cannot be used, or the part is outside of a file.
        """
        self._app.parts.indexer.check_options(options)
        known = [facts for facts in files if facts is not None]
        for facts in known:
            try:
                requested_span(_video_of(facts), options.start_s, options.end_s)
            except ImpossiblePlan as error:
                raise ImpossiblePlan(f"{facts.name}: {error}") from error
        scale = 1.0 + more_files / max(1, len(files))
        with self._indexer(options) as indexer:
            return _rough(known, len(files) + more_files, len(files) - len(known), options, indexer, scale=scale)

    @contextmanager
    def _indexer(self, options: IndexOptions) -> Iterator[Indexer]:
        """Yield the indexer of these options. A model of its own is loaded only if a look at the file needs it."""
        own = self._app.parts.indexer
        settings = options.settings.over(self._app.settings)
        if settings is self._app.settings:
            yield own
            return
        with own.with_settings(settings) as indexer:
            yield indexer

    def _of_file(self, path: Path, options: IndexOptions, indexer: Indexer) -> Estimate:
        parts = self._app.parts
        planner = IndexPlanner(parts.library, parts.media, indexer, indexer.runtime)
        report = planner.plan(str(path), _plan_options(options))
        estimates = {}
        for name, decision in report.sources.items():
            at_most_s = report.captions_at_most_s if name == "captions" else None
            estimate = SourceEstimate(decision.action, decision.reason, decision.estimated_seconds, at_most_s)
            estimates[name] = _unless_long(estimate, options) if name == "captions" else estimate
        span = requested_span(report.video, options.start_s, options.end_s)
        return Estimate(1, span.duration_s if span else report.video.duration_s, 0, estimates, report.other_seconds, False)

    def _of_folder(self, folder: Path, options: IndexOptions, indexer: Indexer) -> Estimate:
        """Estimate the files of a folder from the lengths of some of them, and the sizes of all."""
        files = list(media_files(folder.resolve(), max_s=MAX_LISTING_S))
        if not files:
            raise BadRequest(" ".join(filter(None, (f"{folder} has no video or audio files.", left_out_text(folder.resolve())))))
        step = max(1, -(-len(files) // MAX_PROBED))
        deadline_s = time.monotonic() + MAX_PROBING_S
        known, known_bytes = [], 0
        for path, status in files[::step]:
            if time.monotonic() > deadline_s:
                break
            with suppress(VideoError):
                video = self._app.parts.decoder.probe(path, known_hash=NOT_HASHED)
                known.append(
                    FileFacts(path.name, video.duration_s, video.width, video.height, video.fps_nominal, video.has_audio)
                )
                known_bytes += status.st_size
        if not known:
            return _rough([], len(files), len(files), options, indexer)
        # Files that were not read are as long as those that were, by their sizes.
        scale = sum(status.st_size for _, status in files) / known_bytes if step > 1 and known_bytes else 1.0
        return _rough(known, len(files), 0 if step > 1 else len(files) - len(known), options, indexer, scale=scale)


def _plan_options(options: IndexOptions) -> PlanOptions:
    return PlanOptions(
        start_s=options.start_s,
        end_s=options.end_s,
        context_tokens=options.context_tokens,
        sources=options.sources,
        accepts_long=options.accepts_long,
    )


def _unless_long(captions: SourceEstimate, options: IndexOptions) -> SourceEstimate:
    """Return the estimate of captions, which are not made if they take long and nobody has asked for them."""
    at_most_s = captions.at_most_s
    is_asked = options.accepts_long or options.sources is not None
    if captions.action != "run" or is_asked or at_most_s is None or at_most_s <= MAX_UNASKED_S:
        return captions
    return SourceEstimate("skip", "they would take long", None, at_most_s)


def _video_of(facts: FileFacts) -> VideoInfo:
    """Return a video with these facts that is in no library and in no folder."""
    sound = StreamInfo(codec="", language=None, index=1, is_default=True, title=None)
    return VideoInfo(
        path=Path(os.devnull, "file"),
        content_hash=secrets.token_hex(HASH_BYTES),
        duration_s=facts.duration_s,
        width=facts.width,
        height=facts.height,
        rotation_deg=0,
        fps_nominal=facts.fps if facts.width else 0.0,
        is_vfr=False,
        start_offset_s=0.0,
        stream_index=0 if facts.width and facts.height else -1,
        codec="",
        container="",
        pixel_format="",
        size_bytes=0,
        audio_streams=(sound,) if facts.has_sound else (),
    )


def _rough(
    known: Sequence[FileFacts], files: int, unknown: int, options: IndexOptions, indexer: Indexer, *, scale: float = 1.0
) -> Estimate:
    """Estimate files from typical contents. `scale`: length of all files as a multiple of that of the known ones.

    Files with pictures and those without are estimated as one long file each, because all costs grow with the length.
    """
    totals: dict[str, SourceEstimate] = {}
    total_s = 0.0
    for has_pictures in (True, False):
        group = [facts for facts in known if bool(facts.width and facts.height) == has_pictures]
        spans = [_clipped(facts, options) for facts in group]
        length_s = scale * sum(span.duration_s for span in spans)
        if length_s <= 0.0:
            continue
        total_s += length_s
        count = len(group)
        mean = FileFacts(
            group[0].name,
            length_s,
            round(sum(facts.width for facts in group) / count),
            round(sum(facts.height for facts in group) / count),
            sum(facts.fps for facts in group) / count,
            any(facts.has_sound for facts in group),
        )
        _add(totals, _typical(mean, length_s / (count * scale), options, indexer))
    return Estimate(files, total_s if known else None, unknown, totals, files * indexer.other_seconds, True)


def _typical(facts: FileFacts, file_s: float, options: IndexOptions, indexer: Indexer) -> dict[str, SourceEstimate]:
    """Estimate one file of typical contents. `file_s`: length of each of the files that it is made of, in seconds."""
    video = _video_of(facts)
    plan_options = replace(_plan_options(options), accepts_long=True)
    decisions, _ = indexer.decisions(video, Span(0.0, video.duration_s), plan_options, TypicalLook())
    estimates = {name: SourceEstimate(item.action, item.reason, item.estimated_seconds) for name, item in decisions.items()}
    captions = estimates["captions"]
    if captions.action == "run":
        captioning_s = CaptionTimes(indexer.runtime.speeds, indexer.runtime.checkpoint).captioning_s(file_s)
        estimate = SourceEstimate("run", captions.reason, captions.seconds, captioning_s)
        estimates["captions"] = _unless_long(estimate, options)
    return estimates


def _add(totals: dict[str, SourceEstimate], estimates: dict[str, SourceEstimate]) -> None:
    """Add the estimates of more files. A source that runs for some of them runs."""
    for name, estimate in estimates.items():
        earlier = totals.get(name)
        if earlier is None or earlier.action != "run":
            totals[name] = estimate
        elif estimate.action == "run":
            both = (earlier.seconds, estimate.seconds)
            seconds = None if None in both else sum(time_s or 0.0 for time_s in both)
            totals[name] = SourceEstimate("run", earlier.reason, seconds, earlier.at_most_s)


def _clipped(facts: FileFacts, options: IndexOptions) -> Span:
    """Return the part of a file that is indexed, which is empty if the file ends before it."""
    start_s = min(options.start_s or 0.0, facts.duration_s)
    return Span(start_s, max(start_s, min(facts.duration_s, facts.duration_s if options.end_s is None else options.end_s)))
