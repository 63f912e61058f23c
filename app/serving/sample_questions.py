"""What is suggested to ask about a video: on its page, and for samples in lists of videos."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from longview.app.service import Longview
from longview.core.timeline import Segment
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.records.track import SegmentQuery
from longview.indexing.records.video import VideoEntry

if TYPE_CHECKING:
    from longview.app.qa.example_questions import Examples

MAX_SAMPLE_QUESTIONS = 3
"""Maximum number of questions that are suggested for a sample."""


def video_examples(app: Longview, entry: VideoEntry) -> "Examples":
    """Return questions that can be answered about a video. Of a long one only its first segments are read."""
    # It imports NumPy, which commands that list videos do without.
    from longview.app.qa.example_questions import examples_of

    def first_segments(source: str, limit: int) -> Sequence[Segment]:
        page = app.segment_page(entry, SegmentQuery(source, has_words=False), offset=0, limit=limit)
        return [item.segment for item in page.segments]

    return examples_of(entry.duration_s, first_segments)


def sample_questions(app: Longview, entry: VideoEntry) -> list[str]:
    """Return questions that can be answered about a sample; none of another video, whose segments no list of videos reads."""
    if entry.path.parent.name != SAMPLE_FILES or entry.path.parent != (app.folder / SAMPLE_FILES).resolve():
        return []
    return list(video_examples(app, entry).questions[:MAX_SAMPLE_QUESTIONS])
