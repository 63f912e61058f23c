"""Subtitles: the text streams of a video, the files beside it, and files that the user adds."""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from longview.app.sources.base import Decision, SourceJob, SourceResult
from longview.indexing.library import Library, Provenance, VideoEntry
from longview.indexing.tracks import Track
from longview.model.tasks.events import PartialResult
from longview.video.decoder import Decoder
from longview.video.errors import UnreadableSubtitles, VideoError
from longview.video.probe import StreamInfo, VideoInfo
from longview.video.progress import NO_PROGRESS, Progress
from longview.video.subtitle_streams import TEXT_SUBTITLE_CODECS
from longview.video.subtitles import SubtitleFile, find_sidecars, read_subtitles
from longview.video.timeline import Segment, Span

log = logging.getLogger(__name__)

VERSION = "1"
"""Version of the reading of subtitles."""
READER = "subtitles"
"""Name in the provenance, in place of a checkpoint."""
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

    def __init__(self, library: Library, decoder: Decoder) -> None:
        self._library, self._decoder = library, decoder

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:  # noqa: ARG002
        """See `EvidenceSource.decide`. Files that were added or changed since are read again."""
        origins = _origins(job.video)
        if not origins:
            if (track := job.entry.track(self.name)) and track.segment_count:
                return Decision("keep", "up to date")
            return Decision("decline", "the video has no text streams, and there are no subtitle files beside it")
        track = job.has_track(self.name, READER, VERSION)
        if track and track.is_complete and track.provenance.plan.get("origins") == _states(origins):
            return Decision("keep", "up to date")
        return Decision("run", estimated_seconds=_estimated_seconds(job.video, origins))

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`. A file that cannot be read does not prevent the others."""
        start = time.monotonic()
        origins = _origins(job.video)
        provenance = Provenance(READER, VERSION, {"origins": _states(origins)})
        track = Track(self.name, "complete", job.span, job.span.end_s, provenance)
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
            segments = [segment for segment in subtitles.segments if segment.span.overlap_s(job.span) > 0]
            track = replace(track, language=track.language or subtitles.language, seconds_spent=time.monotonic() - start)
            self._library.tracks.replace(job.entry.video_id, track, segments, origin=origin.name)
            yield PartialResult(subtitles)
        if len(errors) == len(origins):
            raise errors[0]
        track = replace(track, note=" ".join(problems), seconds_spent=time.monotonic() - start)
        self._library.tracks.update(job.entry.video_id, track)
        return SourceResult(track, _estimated_seconds(job.video, origins))

    def add(self, entry: VideoEntry, name: str, segments: Sequence[Segment], language: str | None, note: str) -> Track:
        """Add the subtitles of one file of the user to a video; replace those of the same file name. Return the track."""
        known = entry.track(self.name)
        span = Span(0.0, entry.duration_s)
        track = known or Track(self.name, "complete", span, span.end_s, Provenance(READER, VERSION, {"origins": []}))
        track = replace(track, language=track.language or language, note=note or track.note)
        self._library.tracks.replace(entry.video_id, track, segments, origin=name)
        return track

    def _read(self, video: VideoInfo, origin: _Origin, progress: Progress) -> SubtitleFile:
        if origin.stream:
            return self._decoder.subtitles(video, origin.stream.index, progress=progress)
        assert origin.path is not None
        return read_subtitles(origin.path)


def _origins(video: VideoInfo) -> list[_Origin]:
    """Return the text streams and side-car files of a video."""
    streams = [stream for stream in video.subtitle_streams if stream.codec in TEXT_SUBTITLE_CODECS]
    if len(streams) > MAX_STREAMS:
        log.warning("%s: of %d text streams, the first %d are read", video.path.name, len(streams), MAX_STREAMS)
    origins = [_Origin(f"stream {stream.index}", stream=stream) for stream in streams[:MAX_STREAMS]]
    return origins + [_Origin(path.name, path=path) for path in find_sidecars(video.path)]


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
