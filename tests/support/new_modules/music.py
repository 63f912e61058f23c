"""A source that this program does not have, as somebody would add it: it hears music in each video, at known times."""

from collections.abc import Generator
from typing import Any, ClassVar

from longview.app.ingest.sources.base import Decision, SourceJob, SourceResult
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Segment, Span
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.library import Library
from longview.model.tasks.events import PartialResult

FOUND = [Segment(Span(1.0, 2.5), "A slow waltz of an accordion.", "music"), Segment(Span(3.0, 4.0), "A drum roll.", "music")]


class MusicSource:
    """Hears music in every video."""

    name: ClassVar[str] = "music"
    stage: ClassVar[str] = "Listening to music"

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library = library

    def decide(self, job: SourceJob, progress: Progress = NO_PROGRESS) -> Decision:
        """See `EvidenceSource.decide`."""
        return Decision("keep", "up to date") if job.has_track(self.name, "ear", "1") else Decision("run")

    def loading_s(self) -> float:
        """See `EvidenceSource.loading_s`."""
        return 0.0

    def work_s(self, job: SourceJob) -> float:
        """See `EvidenceSource.work_s`."""
        return 0.01 * job.span.duration_s

    def run(self, job: SourceJob, progress: Progress) -> Generator[PartialResult[Any], None, SourceResult]:
        """See `EvidenceSource.run`."""
        found = self.listen(progress)
        job.file.check(progress)
        track = Track(self.name, "complete", job.span, job.span.end_s, Provenance("ear", "1", {}))
        self._library.tracks.replace(job.entry.video_id, track, found)
        yield PartialResult(found)
        return SourceResult(track, None)

    def listen(self, progress: Progress) -> list[Segment]:
        """Return what is heard; tests replace it."""
        return FOUND


SOURCE = MusicSource
