"""Citations: the spans of videos that an answer is based on, each with its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.core.timeline import Span
from longview.indexing.records.track import StoredSegment
from longview.indexing.records.video import VideoEntry

if TYPE_CHECKING:
    from longview.model.tasks.answerer import VideoAnswer


@dataclass(frozen=True)
class Citation:
    """A span of a video that an answer is based on, and the text of its source."""

    video_id: str
    span: Span
    source: str
    """`captions`, `speech` and the like: a segment of the library; `video`: the reply of the checkpoint."""
    text: str


def cite_all(entry: VideoEntry, captions: Sequence[StoredSegment], answer: "VideoAnswer") -> list[Citation]:
    """Cite the frames that an answer is based on, and the words that it names or quotes, in order of time."""
    frames = [cite(entry, captions, span, answer.text) for span in answer.citations]
    lines = [Citation(entry.video_id, segment.span, segment.source, segment.text) for segment in answer.transcript]
    return sorted([*frames, *lines], key=lambda citation: citation.span) if lines else frames


def cite(entry: VideoEntry, captions: Sequence[StoredSegment], span: Span, answer: str) -> Citation:
    """Cite the caption that an answer repeats, else the answer itself.

    A citation that is a single timestamp is widened to its caption.
    """
    overlapping = (item.segment for item in captions if item.segment.span.overlap_s(span) > 0)
    caption = next((caption for caption in overlapping if caption.text in answer), None)
    if caption is None:
        return Citation(entry.video_id, span, "video", answer)
    track = entry.track(caption.source)
    if track and span.duration_s <= float(track.provenance.plan.get("patch_period_s", 0.0)):
        span = caption.span
    return Citation(entry.video_id, span, caption.source, caption.text)
