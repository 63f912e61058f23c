"""Citations: the spans of videos that an answer is based on, each with its source."""

from collections.abc import Sequence
from dataclasses import dataclass

from longview.indexing.library import StoredSegment, VideoEntry
from longview.video.timeline import Span


@dataclass(frozen=True)
class Citation:
    """A span of a video that an answer is based on, and the text of its source."""

    video_id: str
    span: Span
    source: str
    """`captions`: a caption of the library; `video`: the reply of the checkpoint."""
    text: str


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
