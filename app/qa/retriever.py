"""Search of the library: moments, their verification, and the captions behind a query or an answer."""

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longview.app.errors import BadRequest, VideoGone
from longview.app.files.media import MediaStore
from longview.app.runtime.runtime import Runtime
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import traits_of
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.search import Moment, captions_with_all_words, search
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.tasks.events import PartialResult
from longview.model.tasks.question import check_length
from longview.video.errors import VideoError

if TYPE_CHECKING:
    from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResults:
    """The moments that match a query, best first."""

    query: str
    moments: tuple[Moment, ...]
    """All moments; `verified` of each has the result of its verification."""

    @property
    def accepted(self) -> tuple[Moment, ...]:
        """The moments that verification did not reject."""
        return tuple(moment for moment in self.moments if moment.verified is not False)

    @property
    def with_words(self) -> tuple[Moment, ...]:
        """The accepted moments that have a word of the query."""
        return tuple(moment for moment in self.accepted if moment.has_words)

    @property
    def similar(self) -> tuple[Moment, ...]:
        """The accepted moments that are only similar in meaning."""
        return tuple(moment for moment in self.accepted if not moment.has_words)

    @property
    def rejected(self) -> tuple[Moment, ...]:
        """The moments whose video does not show what the caption says, and that no other source supports."""
        return tuple(moment for moment in self.moments if moment.verified is False)

    @property
    def unverified_count(self) -> int:
        """Number of moments from captions that were not verified, or whose verification decided nothing."""
        return sum(moment.verified is None for moment in self.moments if traits_of(moment.source).is_verified)


class Retriever:
    """Searches one library."""

    def __init__(self, library: Library, media: MediaStore, runtime: Runtime) -> None:
        self._library, self._media, self._runtime = library, media, runtime

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        video_id: str | None = None,
        verify: bool | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Generator[PartialResult[SearchResults], None, SearchResults]:
        """Search all tracks of the library, or of one video; yield all moments at once, and again with each verified one.

        Verification checks whether the video confirms a caption, not whether the moment answers the query. A caption stays
        unverified if its video is missing, if the checkpoint cannot be loaded, or if its verification would take long.
        `verify`: which moments are verified (`longview.app.runtime.checks.Checks.search`); by default as the settings say.

        Raises:
            BadRequest: the query is empty. InvalidQuestion: it is too long. Cancelled: the operation was cancelled.
        """
        if not query.strip():
            raise BadRequest("The query is empty; enter what to search for.")
        check_length(query, "query")
        moments = list(self.rank(query, limit=limit, video_id=video_id, progress=progress.child(0.0, 0.2, "Searching")))
        yield PartialResult(SearchResults(query, tuple(moments)))
        verify = self._runtime.settings.search_verify if verify is None else verify
        if verify is not False and any(traits_of(moment.source).is_verified for moment in moments):
            progress = progress.child(0.2, 1.0, "Verifying results")
            for number, moment in enumerate(self._verify(moments, verify, progress)):
                moments[number] = moment
                yield PartialResult(SearchResults(query, tuple(moments)))
        return SearchResults(query, tuple(moments))

    def rank(
        self, query: str, *, limit: int = 10, video_id: str | None = None, progress: Progress = NO_PROGRESS
    ) -> tuple[Moment, ...]:
        """Return the moments of the library, or of one video, that match a query best. None of them is verified.

        Raises:
            Cancelled: the operation was cancelled.
        """
        return search(self._library, self._runtime.vectors, query, limit=limit, video_id=video_id, progress=progress)

    def _verify(self, moments: Sequence[Moment], verify: bool | None, progress: Progress) -> Iterator[Moment]:
        """Yield moments with their verification. `verify`: see `Checks.search`; None also leaves it to the verifier."""
        from longview.model.tasks.costs import VERIFICATION_TOKENS
        from longview.model.tasks.verification import estimated_seconds, verify_claim

        try:
            verify = self._runtime.checks.search if verify is None else verify
            # Loading a large checkpoint takes longer than the verification that it is loaded for.
            if verify is None and not self._runtime.is_loaded:
                return
            pool, verifier = self._runtime.pool, self._runtime.verifier
        except ModelError as error:
            log.warning("The moments were not verified: %s", error)
            return
        videos: dict[str, VideoInfo] = {}
        for moment, step in zip(moments, progress.steps(len(moments)), strict=True):
            is_verified = None
            if not traits_of(moment.source).is_verified:
                yield moment
                continue
            try:
                if moment.video_id not in videos:
                    videos[moment.video_id] = self._media.probe(self._library.video(moment.video_id), step)
                video, span = videos[moment.video_id], moment.span
                seconds = estimated_seconds(pool, verifier, video, span, reply_tokens=VERIFICATION_TOKENS, progress=step)
                if verify or (seconds is not None and seconds <= self._runtime.settings.search_verify_s):
                    with self._runtime.watching(video.path, video.content_hash) as file:
                        result = verify_claim(pool, verifier, video, span, moment.text, progress=step)
                        file.check(step)
                    is_verified = result
            except (ModelError, VideoError, VideoGone, UnknownVideo) as error:
                log.warning("%s at %s was not verified: %s", moment.title, format_time(moment.span.start_s), error)
            step.update(1.0)
            if is_verified is False and len(moment.evidence) > 1:
                # What another source says at this time stays.
                yield replace(moment, evidence=moment.evidence[1:])
            else:
                yield replace(moment, verified=is_verified)

    def candidate_spans(self, entry: VideoEntry, query: str, within: Span | None = None) -> tuple[Span, ...]:
        """Return the spans of the captions that have all words of a query."""
        spans = captions_with_all_words(self._library, query, entry.video_id)
        return tuple(span for span in spans if within is None or span.overlap_s(within) > 0)
