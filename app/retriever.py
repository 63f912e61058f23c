"""Search of the library: moments, their verification, and the captions behind a query or an answer."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from longview.app.errors import BadRequest, VideoGone
from longview.app.media import MediaStore
from longview.app.runtime import Runtime
from longview.indexing.errors import UnknownVideo
from longview.indexing.library import Library, VideoEntry
from longview.indexing.search import Moment, captions_with_all_words, search
from longview.model.errors import ModelError
from longview.model.tasks.question import check_length
from longview.video.errors import VideoError
from longview.video.probe import VideoInfo
from longview.video.time_text import format_time
from longview.video.timeline import Span

if TYPE_CHECKING:
    from longview.model.engine.planner import OnFraction

log = logging.getLogger(__name__)


class Retriever:
    """Searches one library."""

    def __init__(self, library: Library, media: MediaStore, runtime: Runtime) -> None:
        self._library, self._media, self._runtime = library, media, runtime

    def search(self, query: str, *, limit: int = 10, video_id: str | None = None) -> tuple[Moment, ...]:
        """Return the moments of the library, or of one video, whose captions fit a query best.

        Raises:
            BadRequest: the query is empty. InvalidQuestion: it is too long.
        """
        if not query.strip():
            raise BadRequest("The query is empty: say what to search for.")
        check_length(query, "query")
        return search(self._library, self._runtime.vectors, query, limit=limit, video_id=video_id)

    def verify(self, moments: Sequence[Moment], *, on_part: "OnFraction | None" = None) -> Iterator[Moment]:
        """Verify moments one by one: whether the video confirms what the caption says. It says nothing about the query.

        A moment stays unverified if its video is missing or if the checkpoint cannot be loaded.
        """
        from longview.model.tasks.verifier import verify_claim

        try:
            pool, prober = self._runtime.pool, self._runtime.prober
        except ModelError as error:
            log.warning("The moments were not verified: %s", error)
            yield from moments
            return
        videos: dict[str, VideoInfo] = {}
        for number, moment in enumerate(moments):
            is_verified = None
            try:
                if moment.video_id not in videos:
                    videos[moment.video_id] = self._media.probe(self._library.video(moment.video_id))
                is_verified = verify_claim(pool, prober, videos[moment.video_id], moment.span, moment.text)
            except (ModelError, VideoError, VideoGone, UnknownVideo) as error:
                log.warning("%s at %s was not verified: %s", moment.title, format_time(moment.span.start_s), error)
            if on_part:
                on_part((number + 1) / len(moments))
            yield replace(moment, verified=is_verified)

    def candidate_spans(self, entry: VideoEntry, query: str, within: Span | None = None) -> tuple[Span, ...]:
        """Return the spans of the captions that have all words of a query."""
        captions = self._library.captions_by_id(captions_with_all_words(self._library, query, entry.video_id))
        spans = (caption.event.span for caption in captions.values())
        return tuple(span for span in spans if within is None or span.overlap_s(within) > 0)
