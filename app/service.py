"""Longview as one object: the facade through which page and command line operate one library and its models."""

import logging
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.errors import BadRequest
from longview.app.files.file_names import is_file_name
from longview.app.files.video_names import checked_title, is_same_title, with_id
from longview.app.parts import Parts
from longview.app.runtime.provenance import is_outdated, outdated_makers
from longview.app.runtime.requirements import captions_footage
from longview.app.settings import Settings
from longview.app.streams import Stream
from longview.core.lazy import LazyPart
from longview.core.progress import Progress
from longview.core.timeline import Segment, Span
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.listing import Listing, ListingQuery
from longview.indexing.records.track import Provenance, SegmentPage, SegmentQuery, TrackVersion
from longview.indexing.records.video import VideoEntry, VideoName
from longview.indexing.sqlite.changes import Changes
from longview.model.errors import ModelError
from longview.model.tasks.events import PartialResult

if TYPE_CHECKING:
    from longview.app.files.disk_usage import VideoBytes
    from longview.app.files.originals import RelinkReport
    from longview.app.files.outputs import ContactSheet, Cut
    from longview.app.files.posters import Pictures
    from longview.app.files.removal import Removal, VideoRemovals
    from longview.app.ingest.indexer import IndexResult
    from longview.app.ingest.options import IndexOptions, PlanOptions
    from longview.app.ingest.planning import PlanReport
    from longview.app.ingest.subtitle_import import SubtitleFiles
    from longview.app.jobs.control import JobControl
    from longview.app.qa.answers import Answer
    from longview.app.qa.chapters import Chapters
    from longview.app.qa.conversations import VideoConversations
    from longview.app.qa.locator import Location
    from longview.app.qa.retriever import SearchResults
    from longview.app.runtime.caption_offer import CaptionOffer
    from longview.indexing.records.job import QueuedJob
    from longview.model.engine.base import ChatTurn
    from longview.model.engine.checkpoints.checkpoints import Checkpoint

log = logging.getLogger(__name__)


class Longview:
    """One library and one checkpoint, which is loaded only when something needs it. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        """Open the library.

        Raises:
            LibraryUnusable: the library folder cannot be used.
        """
        self.settings = settings
        self.parts = Parts(settings)
        """For the other packages of `app/` only, such as `diagnostics`, `evaluation` and `serving`."""

    def close(self) -> None:
        """End the processes that decode videos."""
        self.parts.decoder.close()

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> "Checkpoint":
        """The chosen checkpoint, without its weights."""
        return self.parts.runtime.checkpoint

    @property
    def grounding_checkpoint(self) -> "Checkpoint | None":
        """The checkpoint that locates, without its weights; None: `checkpoint` does. See `Runtime.grounding_checkpoint`."""
        return self.parts.runtime.grounding_checkpoint

    @property
    def verifies_answers(self) -> bool:
        """Whether the spans of answers are checked by a second look."""
        return self.parts.runtime.checks.answers.verify

    @property
    def notice(self) -> str | None:
        """What every user of the chosen checkpoint must see; why there is none, if it cannot be found."""
        try:
            return self.checkpoint.notice
        except ModelError as error:
            return str(error)

    @property
    def captions_footage(self) -> bool:
        """Whether the chosen checkpoint captions any footage; see `longview.app.runtime.requirements.captions_footage`."""
        return captions_footage(self.parts.runtime)

    def warm_up(self) -> None:
        """Load the sentence encoder now, so that the first search does not wait for it."""
        self.parts.runtime.vectors.search("", limit=1)

    # -- the library -------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of the library."""
        return self.parts.library.folder

    def videos(self) -> tuple[VideoEntry, ...]:
        """Return all videos of the library."""
        return self.parts.library.videos()

    def listing(self, query: ListingQuery, cursor: str = "", *, limit: int) -> Listing:
        """Return a page of the videos that a query names; see `Library.listing`."""
        if query.state == "outdated":
            query = replace(query, outdated=outdated_makers(self.parts.runtime, self.parts.library.caption_makers()))
        return self.parts.library.listing(query, cursor, limit=limit)

    def mark(self) -> object:
        """Return a mark of the library, which is another one after each change by any process."""
        return self.parts.library.mark()

    @property
    def changes(self) -> Changes:
        """What has changed in the library, from any process."""
        return self.parts.library.changes

    def missing_ids(self) -> frozenset[str]:
        """Return the ids of the videos whose files are not where they were."""
        from longview.app.files.disk_usage import missing_ids

        return missing_ids(self.parts.library.paths())

    def set_position(self, entry: VideoEntry, position_s: float) -> None:
        """Store the time at which somebody stopped watching a video, in seconds; 0 after its end."""
        self.parts.library.set_position(entry.video_id, min(max(0.0, position_s), entry.duration_s))

    def video(self, reference: str) -> VideoEntry:
        """Return the video that an id, a title or a path names; see `MediaStore.find`."""
        return self.parts.media.find(reference)

    def video_with_id(self, video_id: str) -> VideoEntry:
        """Return the video with that id or unique beginning of it, and of no path: for requests to a server.

        Raises:
            UnknownVideo, AmbiguousVideo: there is none, or there are several.
        """
        return self.parts.library.video(video_id)

    def known_ids(self, video_ids: Collection[str]) -> set[str]:
        """Return those ids that are of videos of the library."""
        return self.parts.library.known_ids(video_ids)

    def titles(self) -> dict[str, str]:
        """Return the titles of all videos by their ids."""
        return self.parts.library.titles()

    def disk_usage(self, entries: Sequence[VideoEntry]) -> "dict[str, VideoBytes]":
        """Return the sizes of what belongs to videos, by the ids of the videos."""
        from longview.app.files.disk_usage import video_bytes

        return video_bytes(self.parts.library, entries)

    def relink(self, folder: Path) -> "Stream[RelinkReport]":
        """Find moved and renamed video files by their content, and set their paths; see `longview.app.files.originals.relink`."""
        from longview.app.files.originals import relink

        return Stream(lambda progress: relink(self.parts.library, folder, self.settings.limits, progress))

    def rename(self, entry: VideoEntry, title: str) -> VideoEntry:
        """Give a video another title, and return it with that.

        Raises:
            BadRequest: the title is empty, too long or not printable, or the id of another video.
            UnknownVideo: the video was removed meanwhile.
        """
        title = checked_title(title)
        if other := with_id(title, [name for name in self.parts.library.names() if name.video_id != entry.video_id]):
            raise BadRequest(f"{title} is the id of another video, {other.title}; choose a title that cannot be mistaken for it.")
        return self.parts.library.rename(entry.video_id, title)

    def namesakes(self, entry: VideoEntry) -> tuple[VideoName, ...]:
        """Return the other videos that the title of a video also names."""
        others = [name for name in self.parts.library.names() if name.video_id != entry.video_id]
        return tuple(name for name in others if is_same_title(name.title, entry.title))

    def get_or_index(self, reference: str, *, progress: Progress | None = None) -> Stream[VideoEntry]:
        """Return the video that a reference names; index a file first if it is not in the library. `progress`: see `Stream`."""

        def operation(progress: Progress) -> Generator[PartialResult[Any], None, VideoEntry]:
            try:
                return self.parts.media.find(reference, progress)
            except UnknownVideo:
                if not is_file_name(reference):
                    raise
            log.warning("%s is not in the library yet; it is indexed first.", reference)
            result = yield from self._index(Path(reference), None, progress)
            return result.entry

        return Stream(operation, progress=progress)

    def is_outdated(self, entry: VideoEntry) -> bool:
        """Whether another checkpoint, another profile, or another version of the prompts would now caption this video."""
        return is_outdated(self.parts.runtime, entry)

    def caption_offer(self, entry: VideoEntry) -> "CaptionOffer | None":
        """Return the offer to caption a video again with the default of now; see `longview.app.runtime.caption_offer`."""
        from longview.app.runtime.caption_offer import caption_offer

        return caption_offer(entry, self.parts.runtime)

    def segments(
        self, entry: VideoEntry, source: str | None = None, *, language: str | None = None, within: Span | None = None
    ) -> tuple[Segment, ...]:
        """Return segments of a video in order of time; see `Tracks.segments`."""
        segments = self.parts.library.tracks.segments(entry.video_id, source, language=language, within=within)
        return tuple(item.segment for item in segments)

    def segment_page(self, entry: VideoEntry, query: SegmentQuery, *, offset: int, limit: int) -> SegmentPage:
        """Return a page of the segments of a video that a query names; see `Tracks.page`."""
        return self.parts.library.tracks.page(entry.video_id, query, offset=offset, limit=limit)

    def export(
        self,
        entry: VideoEntry,
        format: str,
        sources: Sequence[str],
        *,
        language: str | None = None,
        word_times: bool = False,
    ) -> str:
        """Return tracks of a video as text in a format; see `longview.app.files.exports.export`."""
        from longview.app.files.exports import export

        return export(self.parts.library, entry, format, sources, language=language, word_times=word_times)

    def export_version(
        self,
        entry: VideoEntry,
        format: str,
        version: TrackVersion,
        *,
        language: str | None = None,
        word_times: bool = False,
    ) -> str:
        """Return one version of a track as text in a format; see `longview.app.files.exports.export_version`."""
        from longview.app.files.exports import export_version

        return export_version(self.parts.library, entry, format, version, language=language, word_times=word_times)

    def chapters(self, entry: VideoEntry) -> "Chapters":
        """Return the chapters of a video: those of its captions, else those of its words, whose titles are quotes."""
        return self.parts.chapter_finder.chapters(entry)

    def versions(self, entry: VideoEntry) -> tuple[TrackVersion, ...]:
        """Return what made the tracks of a video: those that are searched, and earlier ones."""
        return self.parts.library.versions.of_video(entry.video_id)

    def version(self, entry: VideoEntry, number: int) -> TrackVersion:
        """Return one version of a track of a video; see `TrackVersions.version`."""
        return self.parts.library.versions.version(entry.video_id, number)

    def browser_copy(self, entry: VideoEntry) -> Path | None:
        """Return the file of a video that browsers can play; None if it is not ready. See `MediaStore.browser_copy`."""
        return self.parts.media.browser_copy(entry)

    def cut(self, reference: str, span: Span, target: Path | None, *, reencode: bool) -> "Cut":
        """Write a part of a video to a file; see `VideoOutputs.cut`."""
        title, video = self.parts.media.resolve(reference)
        return self.parts.outputs.cut(title, video, span, target, reencode=reencode)

    def contact_sheet(self, reference: str, target: Path | None, *, columns: int, rows: int) -> "ContactSheet":
        """Write an image of thumbnails of a video with their times; see `VideoOutputs.contact_sheet`."""
        title, video = self.parts.media.resolve(reference)
        return self.parts.outputs.contact_sheet(title, video, target, columns=columns, rows=rows)

    def remove(self, entry: VideoEntry) -> "Removal":
        """Remove a video from the library, with its thumbnails, browser copy and jobs; its source file stays."""
        from longview.app.files.removal import remove

        self.parts.runner.cancel_content(entry.content_hash)
        return remove(self.parts.library, self.parts.media, entry)

    # -- indexing and questions ------------------------------------------------------------------------------------------

    def plan(self, reference: str, options: "PlanOptions | None" = None) -> "PlanReport":
        """Plan what `index` would do, and the session for questions; see `longview.app.ingest.planning.IndexPlanner`."""
        from longview.app.ingest.options import PlanOptions
        from longview.app.ingest.planning import IndexPlanner

        planner = IndexPlanner(self.parts.library, self.parts.media, self.parts.indexer, self.parts.runtime)
        return planner.plan(reference, options or PlanOptions())

    def index(
        self, path: Path, options: "IndexOptions | None" = None, *, progress: Progress | None = None
    ) -> "Stream[IndexResult]":
        """Index a file: add it to the queue, and run the sources that apply to it; see `Indexer.index`.

        `progress`: see `Stream`.
        """
        return Stream(lambda progress: self._index(path, options, progress), progress=progress)

    def _index(
        self, path: Path, options: "IndexOptions | None", progress: Progress
    ) -> "Generator[PartialResult[Any], None, IndexResult]":
        from longview.app.ingest.options import IndexOptions

        options = options or IndexOptions()
        job = self.parts.runner.add(path, options, is_own=True)
        return (yield from self.parts.runner.run(job, keep_sessions=options.keep_sessions, progress=progress))

    def run_job(self, job: "QueuedJob", *, progress: Progress | None = None) -> "Stream[IndexResult]":
        """Run a job of this process, which keeps no sessions for later questions; see `JobRunner.run`.

        `progress`: see `Stream`.
        """
        return Stream(lambda progress: self.parts.runner.run(job, keep_sessions=False, progress=progress), progress=progress)

    def localization_provenance(self, location: "Location") -> "Provenance":
        """Return what found the occurrences of a location: a checkpoint in its frames, else the search in words."""
        from longview.app.qa.quotes.answers import PROVENANCE
        from longview.app.runtime.provenance import localization_provenance

        return localization_provenance(self.parts.runtime, location.frames.plan) if location.frames else PROVENANCE

    def locate(self, entry: VideoEntry, query: str, *, progress: Progress | None = None) -> "Stream[Location]":
        """Find all occurrences of a query in a video; see `Locator.locate`. `progress`: see `Stream`."""
        return Stream(lambda progress: self.parts.locator.locate(entry, query, progress), progress=progress)

    def ask(
        self,
        entries: Sequence[VideoEntry],
        question: str,
        *,
        history: "Sequence[ChatTurn]" = (),
        progress: Progress | None = None,
    ) -> "Stream[Answer]":
        """Answer a question about videos, or about the whole library where none is named; see `Answers.answer`.

        `progress`: see `Stream`.
        """
        return Stream(
            lambda progress: self.parts.answers.answer(entries, question, history=history, progress=progress), progress=progress
        )

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        video: str | None = None,
        verify: bool | None = None,
        progress: Progress | None = None,
    ) -> "Stream[SearchResults]":
        """Search all tracks of the library, or of one video, and verify the captions among the moments; see `Retriever.search`.

        `progress`: see `Stream`.
        """

        def operation(progress: Progress) -> "Generator[PartialResult[SearchResults], None, SearchResults]":
            video_id = self.parts.media.find(video, progress).video_id if video else None
            return self.parts.retriever.search(query, limit=limit, video_id=video_id, verify=verify, progress=progress)

        return Stream(operation, progress=progress)

    # -- parts -------------------------------------------------------------------------------------------------------

    @LazyPart
    def pictures(self) -> "Pictures":
        """The posters and thumbnails of the videos."""
        from longview.app.files.posters import Pictures

        return Pictures(self.parts.media)

    @LazyPart
    def subtitles(self) -> "SubtitleFiles":
        """The subtitle files that users add to the videos."""
        from longview.app.ingest.subtitle_import import SubtitleFiles

        return SubtitleFiles(self.parts.library, self.parts.decoder)

    @LazyPart
    def removals(self) -> "VideoRemovals":
        """The removed videos, and how they are brought back."""
        from longview.app.files.removal import VideoRemovals

        return VideoRemovals(self.parts.library, lambda: self.parts.media)

    @LazyPart
    def conversations(self) -> "VideoConversations":
        """The conversations about the videos."""
        from longview.app.qa.conversations import VideoConversations

        return VideoConversations(self.parts.library)

    @LazyPart
    def jobs(self) -> "JobControl":
        """The queue of files to index."""
        from longview.app.jobs.control import JobControl

        return JobControl(self.parts.library.queue, lambda: self.parts.runner)
