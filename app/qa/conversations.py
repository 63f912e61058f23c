"""The conversations about the videos of a library, as page and command line read and clear them."""

from longview.indexing.records.video import AnsweredQuestion, VideoEntry
from longview.indexing.sqlite.library import Library


class VideoConversations:
    """The conversations of one library. Safe for several threads."""

    def __init__(self, library: Library) -> None:
        self._conversations = library.conversations

    def answers(self, entry: VideoEntry) -> tuple[AnsweredQuestion, ...]:
        """Return the conversation about a video, oldest turn first."""
        return self._conversations.answers(entry.video_id)

    def count(self, entry: VideoEntry) -> int:
        """Return the number of questions of the conversation about a video."""
        return self._conversations.count(entry.video_id)

    def clear(self, entry: VideoEntry) -> None:
        """Clear the conversation about a video, which `undo_clearing` brings back within a day."""
        self._conversations.clear(entry.video_id)

    def undo_clearing(self, entry: VideoEntry) -> None:
        """Bring back the conversation that was cleared last.

        Raises:
            NothingCleared: none was cleared in the last day.
        """
        self._conversations.undo(entry.video_id)

    def cleared_count(self, entry: VideoEntry) -> int:
        """Return the number of questions that `undo_clearing` brings back."""
        return self._conversations.cleared_count(entry.video_id)
