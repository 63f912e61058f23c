"""What is said and shown in a video, for the sessions of a checkpoint: the tracks of the library but those of the checkpoint."""

from typing import TYPE_CHECKING

from longview.app.settings import Settings
from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.library import Library

if TYPE_CHECKING:
    from longview.model.tasks.transcript_context import SegmentsWithin


def transcript_reader(library: Library, settings: Settings, video_id: str) -> "SegmentsWithin":
    """Return the function that reads the transcript of a span from the library; none if the settings switch it off."""

    def segments(span: Span) -> tuple[Segment, ...]:
        items = library.tracks.segments(video_id, within=span) if settings.transcript else ()
        # A checkpoint's own captions would only confirm themselves.
        return tuple(item.segment for item in items if traits_of(item.segment.source).is_transcript)

    return segments
