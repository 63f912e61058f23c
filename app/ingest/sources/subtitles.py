"""Subtitles: the text streams of a video, the files beside it, and files that the user adds."""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from longview.app.ingest.sources.base import Decision, SourceJob, SourceResult
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Segment, Span
from longview.indexing.records.track import Provenance, Track
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.model.tasks.events import PartialResult
from longview.video.errors import UnreadableSubtitles, VideoError
from longview.video.probing.probe import StreamInfo, VideoInfo
from longview.video.subtitles.parsers import SubtitleFile
from longview.video.subtitles.sidecars import find_sidecars
from longview.video.subtitles.streams import TEXT_SUBTITLE_CODECS

log = logging.getLogger(__name__)

VERSION = "1"
"""Version of the reading of subtitles: files that another one has read are read again."""
READER = "subtitles"
"""Name in the provenance, in place of a checkpoint."""
IMPORTED = "import: "
"""Prefix of the origin of a file that the user has added by hand."""
MAX_STREAMS = 8
"""Maximum number of text streams that are read; discs have up to 40, in as many languages."""
SECONDS_PER_BYTE = 4e-9
"""Time to read a container for its text streams, in seconds per byte: they are interleaved with the pictures."""


@dataclass(frozen=True)
class _Origin:
    """Where subtitles are from: a stream of the container, or a file."""

    name: str
    """Name in the library; subtitles of the same origin replace each other."""
    stream: StreamInfo | None = None
    path: Path | None = None


class SubtitleSource:
    """Reads the subtitles of a video."""

    name: ClassVar[str] = "subtitles"
    stage: ClassVar[str] = "Reading subtitles"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._decoder = library, runtime.decoder

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:  # noqa: ARG002
        """See `EvidenceSource.decide`. Files that were added or changed since are read again."""
        track = job.entry.track(self.name)
        origins = self._origins(job)
        states = track.provenance.plan.get("origins", []) if track else []
        is_current = track is not None and track.is_complete and track.provenance.prompt_version == VERSION
        if origins and not (is_current and states == _states(origins)):
            return Decision("run", estimated_seconds=_estimated_seconds(job.video, origins))
        if track and states and not origins and _is_same_folder(track, job.video):
            # The files beside the video were deleted.
            return Decision("run", estimated_seconds=0.0)
        if track and (track.segment_count or origins):
            # A track without segments was emptied by the user.
            return Decision("keep", "up to date")
        return Decision("decline", "the video has no text streams, and there are no subtitle files beside it")

    def loading_s(self) -> float:
        """See `EvidenceSource.loading_s`: it has no models."""
        return 0.0

    def work_s(self, job: SourceJob) -> float:
        """See `EvidenceSource.work_s`."""
        return _estimated_seconds(job.video, self._origins(job))

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`. All of the video is read, whichever part is requested, because this takes little time.

        A file that cannot be read does not prevent the others.
        """
        start = time.monotonic()
        video_id, whole = job.entry.video_id, Span(0.0, job.video.duration_s)
        origins = self._origins(job)
        track = Track(self.name, "incomplete", whole, 0.0, Provenance(READER, VERSION, {"origins": []}))
        last_track = job.entry.track(self.name)
        if last_track and _is_same_folder(last_track, job.video):
            self._delete_vanished(video_id, track, origins)
        problems: list[str] = []
        errors: list[VideoError] = []
        for origin, step in zip(origins, progress.steps(len(origins)), strict=True):
            try:
                subtitles = self._read(job.video, origin, step).clipped_to(job.video.duration_s)
            except VideoError as error:
                errors.append(error)
                problems.append(str(error))
                continue
            job.file.check(step)
            problems += subtitles.problems
            track = replace(track, language=track.language or subtitles.language, seconds_spent=time.monotonic() - start)
            self._library.tracks.replace(video_id, track, subtitles.segments, origin=origin.name)
            yield PartialResult(subtitles)
        if origins and len(errors) == len(origins):
            raise errors[0]
        track = replace(
            track,
            status="complete",
            done_s=whole.end_s,
            provenance=Provenance(READER, VERSION, {"origins": _states(origins), "folder": str(job.video.path.parent)}),
            note=" ".join(problems),
            seconds_spent=time.monotonic() - start,
        )
        self._library.tracks.update(video_id, track)
        return SourceResult(track, _estimated_seconds(job.video, origins))

    def _origins(self, job: SourceJob) -> list[_Origin]:
        """Return the text streams and side-car files of a video, without the files that the user has added by hand."""
        imported_names = {
            name for name in self._library.tracks.origins(job.entry.video_id, self.name) if name.startswith(IMPORTED)
        }
        return [origin for origin in _origins(job.video) if IMPORTED + origin.name not in imported_names]

    def _delete_vanished(self, video_id: str, track: Track, origins: Sequence[_Origin]) -> None:
        """Delete the segments of streams and files that no longer exist."""
        names = {origin.name for origin in origins}
        for name in self._library.tracks.origins(video_id, self.name):
            if name not in names and not name.startswith(IMPORTED):
                self._library.tracks.replace(video_id, track, (), origin=name)

    def _read(self, video: VideoInfo, origin: _Origin, progress: Progress) -> SubtitleFile:
        if origin.stream:
            return self._decoder.subtitles(video, origin.stream.index, progress=progress)
        assert origin.path is not None
        return self._decoder.subtitle_file(origin.path, progress=progress)


def add_subtitles(
    library: Library, entry: VideoEntry, name: str, segments: Sequence[Segment], language: str | None, note: str
) -> Track:
    """Add the subtitles of one file of the user to a video. Return the track.

    They replace those of the same file name, also if that file is beside the video: the user may have shifted its times.
    """
    last_track = entry.track(SubtitleSource.name)
    span = Span(0.0, entry.duration_s)
    provenance = last_track.provenance if last_track else Provenance(READER, VERSION, {"origins": []})
    main_language = last_track.language if last_track else language
    track = Track(SubtitleSource.name, "complete", span, span.end_s, provenance, main_language, note=note)
    library.tracks.replace(entry.video_id, track, (), origin=name)
    library.tracks.replace(entry.video_id, track, segments, origin=IMPORTED + name)
    return track


def _origins(video: VideoInfo) -> list[_Origin]:
    """Return the text streams and side-car files of a video."""
    streams = [stream for stream in video.subtitle_streams if stream.codec in TEXT_SUBTITLE_CODECS]
    if len(streams) > MAX_STREAMS:
        log.warning("%s: of %d text streams, the first %d are read", video.path.name, len(streams), MAX_STREAMS)
    origins = [_Origin(f"stream {stream.index}", stream=stream) for stream in streams[:MAX_STREAMS]]
    return origins + [_Origin(path.name, path=path) for path in find_sidecars(video.path)]


def _is_same_folder(track: Track, video: VideoInfo) -> bool:
    """Whether a track was read beside the same file, and not beside a copy in another folder."""
    return track.provenance.plan.get("folder") == str(video.path.parent)


def _estimated_seconds(video: VideoInfo, origins: Sequence[_Origin]) -> float:
    streams = sum(origin.stream is not None for origin in origins)
    return streams * video.size_bytes * SECONDS_PER_BYTE


def _states(origins: Sequence[_Origin]) -> list[list[Any]]:
    """Return the names of origins, and the sizes and times of change of the files."""
    states: list[list[Any]] = []
    for origin in origins:
        try:
            status = origin.path.stat() if origin.path else None
        except OSError as error:
            raise UnreadableSubtitles(f"{origin.path} cannot be read: {error.strerror}.") from error
        states.append([origin.name, status.st_size, status.st_mtime_ns] if status else [origin.name])
    return states


SOURCE = SubtitleSource
