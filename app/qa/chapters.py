"""Chapters of videos: those of the captions, else those of the words, whose titles are quotes."""

import functools
from dataclasses import dataclass

from longview.app.runtime.runtime import Runtime
from longview.core.timeline import Event
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.topics import Topic, find_topics
from longview.indexing.sqlite.library import Library

MAX_CACHED_VIDEOS = 32
"""Maximum number of videos whose topics are kept: finding those of an hour takes seconds."""


@dataclass(frozen=True)
class Chapters:
    """The chapters of a video."""

    events: tuple[Event, ...]
    is_quoted: bool
    """Whether they are parts of what is said and shown, whose titles are quotes."""


class ChapterFinder:
    """Finds the chapters of the videos of one library."""

    def __init__(self, library: Library, runtime: Runtime) -> None:
        self._library, self._runtime = library, runtime
        self._cached_topics = functools.lru_cache(maxsize=MAX_CACHED_VIDEOS)(self._find_topics)

    def chapters(self, entry: VideoEntry) -> Chapters:
        """Return the chapters of a video; none if it has neither captions nor words."""
        if entry.chapters:
            return Chapters(entry.chapters, is_quoted=False)
        return Chapters(tuple(Event(topic.span, topic.title) for topic in self.topics(entry)), is_quoted=True)

    def topics(self, entry: VideoEntry) -> tuple[Topic, ...]:
        """Return the topics of what is said and shown in a video."""
        # Ids are never used again, so that they tell whether anything has changed.
        passage_ids = self._library.tracks.passage_ids(entry.video_id)
        return self._cached_topics(entry.video_id, entry.duration_s, passage_ids)

    def _find_topics(
        self,
        video_id: str,
        duration_s: float,
        passage_ids: frozenset[int],  # noqa: ARG002 (a key of the cache)
    ) -> tuple[Topic, ...]:
        return find_topics(self._library, self._runtime.vectors, video_id, duration_s)
