"""Localisation of a query in one video: where its frames show it, and where its words mention it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from longview.app.errors import VideoGone
from longview.app.files.media import MediaStore
from longview.app.qa.retriever import Retriever
from longview.app.qa.transcript_coverage import (
    TranscriptCoverage,
    has_transcript,
    has_transcript_tracks,
    transcript_coverage,
)
from longview.app.runtime.context_retry import retry_with_smaller_context
from longview.app.runtime.requirements import require_known_footage
from longview.app.runtime.runtime import Runtime
from longview.core.progress import Progress
from longview.core.sources import transcript_sources
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.mentions import find_mentions
from longview.indexing.search.quotes import Quote
from longview.indexing.sqlite.library import Library
from longview.model.errors import InvalidQuestion, OutOfDistribution
from longview.model.tasks.question import check_length

if TYPE_CHECKING:
    from longview.model.tasks.localizer import Localization, Occurrence

UNKNOWN_FOOTAGE = "The frames were not searched, because no checkpoint here can search this kind of video (--model)."
NO_FRAMES = "The file has no pictures."


@dataclass(frozen=True)
class Location:
    """Where a query occurs in a video."""

    query: str
    frames: "Localization | None"
    """The occurrences in the frames; None if no checkpoint here knows the footage, or if there are none."""
    mentions: tuple[Quote, ...] = ()
    """The sentences and lines that have the words of the query, in order of time."""
    transcript_coverage: TranscriptCoverage | None = None
    """What was listened to and read; None if the video has no tracks of words."""
    frames_note: str = ""
    """Why the frames were not searched; empty if they were."""

    @property
    def occurrences(self) -> "tuple[Occurrence, ...]":
        """The occurrences in the frames."""
        return self.frames.occurrences if self.frames else ()

    @property
    def is_found(self) -> bool | None:
        """Whether the query occurs; None if it was not found, and not all of the video could be searched."""
        if self.mentions:
            return True
        if self.frames:
            return self.frames.is_found
        return (
            False
            if self.frames_note == NO_FRAMES and self.transcript_coverage and not self.transcript_coverage.is_empty
            else None
        )

    def describe_absence(self) -> str:
        """Describe that the query was not found, and what was searched, listened to and read."""
        absence = f"“{self.query}” is not said or shown in words: {self.transcript_coverage}." if self.transcript_coverage else ""
        if self.frames:
            return f"{self.frames.describe_absence(self.query)} {absence}".strip()
        return f"{absence} {self.frames_note}".strip()


class Locator:
    """Localises queries in the videos of one library."""

    def __init__(self, library: Library, media: MediaStore, retriever: Retriever, runtime: Runtime) -> None:
        self._library, self._media, self._retriever, self._runtime = library, media, retriever, runtime

    def locate(self, entry: VideoEntry, query: str, progress: Progress) -> Location:
        """Find all occurrences of a query in the whole video, whichever part of it was indexed.

        Raises:
            InvalidQuestion: the query is empty or too long. OutOfDistribution: the checkpoint does not know the footage, and
                there are no words. VideoGone: the file is missing, or changed meanwhile. Cancelled: the operation was cancelled.
        """
        check_length(query, "query")
        if not query.strip():
            raise InvalidQuestion("The query is empty; enter what to find.")
        if not has_transcript_tracks(entry):
            return Location(query, self._locate_in_frames(entry, query, progress))
        frames, note = None, "" if entry.has_frames else NO_FRAMES
        try:
            frames = self._locate_in_frames(entry, query, progress) if entry.has_frames else None
        except OutOfDistribution:
            note = UNKNOWN_FOOTAGE
        except VideoGone as error:
            if not has_transcript(entry):
                raise
            note = f"The frames were not searched. {error}"
        mentions = find_mentions(self._library, query, video_id=entry.video_id, sources=transcript_sources())
        return Location(query, frames, mentions, transcript_coverage(entry), note)

    def _locate_in_frames(self, entry: VideoEntry, query: str, progress: Progress) -> "Localization":
        from longview.model.tasks.context import TaskContext
        from longview.model.tasks.localizer import locate

        progress = progress.child(0.0, 1.0, f"Searching {entry.title}")
        require_known_footage(self._runtime, entry)
        candidates = self._retriever.candidate_spans(entry, query)
        grounding_pool = self._runtime.grounding_pool
        pool, verifier, options = self._runtime.pool, self._runtime.verifier, self._runtime.checks.localization
        with self._runtime.watching(entry.path, entry.content_hash) as file:
            video = self._media.probe(entry, progress)
            result = retry_with_smaller_context(
                self._runtime,
                lambda: locate(
                    TaskContext(pool, verifier, video, grounding_pool=grounding_pool, progress=progress),
                    query,
                    options,
                    candidates=candidates,
                ),
            )
            file.check(progress)
        return result
