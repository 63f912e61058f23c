"""What a list of videos suggests to ask about the samples."""

from longview.app.service import Longview
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.records.video import VideoEntry

MAX_SAMPLE_QUESTIONS = 3
"""Maximum number of questions that are suggested for a sample."""


def sample_questions(app: Longview, entry: VideoEntry) -> list[str]:
    """Return questions that can be answered about a sample; none of another video, whose segments no list of videos reads."""
    if entry.path.parent.name != SAMPLE_FILES or entry.path.parent != (app.folder / SAMPLE_FILES).resolve():
        return []
    # It imports NumPy, which commands that list videos do without.
    from longview.app.qa.example_questions import examples_for

    segments = {track.source: app.segments(entry, track.source) for track in entry.tracks}
    return list(examples_for(entry.duration_s, segments).questions[:MAX_SAMPLE_QUESTIONS])
