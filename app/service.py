"""Longview as one object: a facade over the indexer, the retriever, answers, the media store and the runtime of one library."""

import logging
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.errors import BadRequest
from longview.app.files.file_names import is_file_name
from longview.app.files.video_names import checked_title, is_same_title, with_id
from longview.app.runtime.provenance import is_outdated
from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.app.streams import Stream
from longview.core.lazy import LazyPart
from longview.core.progress import Progress
from longview.core.timeline import Segment, Span
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.track import TrackVersion
from longview.indexing.records.video import AnsweredQuestion, VideoEntry, VideoName
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.tasks.events import PartialResult

if TYPE_CHECKING:
    from longview.app.files.media import MediaStore
    from longview.app.files.outputs import VideoOutputs
    from longview.app.files.removal import Removal
    from longview.app.ingest.indexer import Indexer, IndexResult
    from longview.app.ingest.options import IndexOptions, PlanOptions
    from longview.app.ingest.planning import PlanReport
    from longview.app.ingest.subtitle_import import SubtitleImport
    from longview.app.jobs.runner import JobRunner
    from longview.app.qa.answers import Answer, Answers
    from longview.app.qa.chapters import ChapterFinder, Chapters
    from longview.app.qa.locator import Location, Locator
    from longview.app.qa.retriever import Retriever, SearchResults
    from longview.app.runtime.caption_offer import CaptionOffer
    from longview.indexing.records.job import QueuedJob
    from longview.model.engine.base import ChatTurn
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.video.decoding.decoder import Decoder

log = logging.getLogger(__name__)


def is_quoted(item: AnsweredQuestion) -> bool:
    """Whether an answer of a conversation consists of quotes."""
    from longview.app.qa.quotes.answers import PROVENANCE

    return item.provenance.checkpoint == PROVENANCE.checkpoint


class Longview:
    """One library and one checkpoint, which is loaded only when something needs it. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        """Open the library.

        Raises:
            LibraryUnusable: the library folder cannot be used.
        """
        self.settings = settings
        self.library = Library(settings.library.expanduser().resolve())
        self.runtime = Runtime(settings, self.library)

    @property
    def decoder(self) -> "Decoder":
        """The decoder of videos, whose processes are started when they are needed."""
        return self.runtime.decoder

    @LazyPart
    def media(self) -> "MediaStore":
        """The files of the library."""
        from longview.app.files.media import MediaStore

        return MediaStore(self.library, self.settings.limits, self._exact_decoder, self.settings.cache_bytes)

    def _exact_decoder(self) -> "Decoder":
        """Return the decoder for thumbnails and cuts, which are exact, also where the checkpoint gets key frames only."""
        from longview.video.decoding.decoder import Decoder

        settings = self.settings
        return Decoder(settings.limits, backend=settings.backend, processes=1) if settings.key_frames_only else self.decoder

    @LazyPart
    def outputs(self) -> "VideoOutputs":
        """The files that are written from videos for a user."""
        from longview.app.files.outputs import VideoOutputs

        return VideoOutputs(self._exact_decoder(), self.settings.limits)

    @LazyPart
    def indexer(self) -> "Indexer":
        """What runs the sources of a file."""
        from longview.app.ingest.indexer import Indexer

        return Indexer(self.library, self.media, self.runtime)

    @LazyPart
    def runner(self) -> "JobRunner":
        """What adds files to the queue, and runs them."""
        from longview.app.jobs.runner import JobRunner

        return JobRunner(self.library, self.media, self.indexer, self.settings)

    @LazyPart
    def _retriever(self) -> "Retriever":
        from longview.app.qa.retriever import Retriever

        return Retriever(self.library, self.media, self.runtime)

    @LazyPart
    def _locator(self) -> "Locator":
        from longview.app.qa.locator import Locator

        return Locator(self.library, self.media, self._retriever, self.runtime)

    @LazyPart
    def _chapter_finder(self) -> "ChapterFinder":
        from longview.app.qa.chapters import ChapterFinder

        return ChapterFinder(self.library, self.runtime)

    @LazyPart
    def _answers(self) -> "Answers":
        from longview.app.qa.answers import Answers

        return Answers(self.library, self.media, self._retriever, self.runtime, self._chapter_finder)

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> "Checkpoint":
        """The chosen checkpoint, without its weights."""
        return self.runtime.checkpoint

    @property
    def notice(self) -> str | None:
        """What every user of the chosen checkpoint must see; why there is none, if it cannot be found."""
        try:
            return self.checkpoint.notice
        except ModelError as error:
            return str(error)

    def warm_up(self) -> None:
        """Load the sentence encoder now, so that the first search does not wait for it."""
        self.runtime.vectors.search("", limit=1)

    # -- the library -------------------------------------------------------------------------------------------------

    def videos(self) -> tuple[VideoEntry, ...]:
        """Return all videos of the library."""
        return self.library.videos()

    def video(self, reference: str) -> VideoEntry:
        """Return the video that an id, a title or a path names; see `MediaStore.find`."""
        return self.media.find(reference)

    def rename(self, entry: VideoEntry, title: str) -> VideoEntry:
        """Give a video another title, and return it with that.

        Raises:
            BadRequest: the title is empty, too long or not printable, or the id of another video.
            UnknownVideo: the video was removed meanwhile.
        """
        title = checked_title(title)
        if other := with_id(title, [name for name in self.library.names() if name.video_id != entry.video_id]):
            raise BadRequest(f"{title} is the id of another video, {other.title}; choose a title that cannot be mistaken for it.")
        return self.library.rename(entry.video_id, title)

    def namesakes(self, entry: VideoEntry) -> tuple[VideoName, ...]:
        """Return the other videos that the title of a video also names."""
        others = [name for name in self.library.names() if name.video_id != entry.video_id]
        return tuple(name for name in others if is_same_title(name.title, entry.title))

    def get_or_index(self, reference: str, *, progress: Progress | None = None) -> Stream[VideoEntry]:
        """Return the video that a reference names; index a file first if it is not in the library. `progress`: see `Stream`."""

        def operation(progress: Progress) -> Generator[PartialResult[Any], None, VideoEntry]:
            try:
                return self.media.find(reference, progress)
            except UnknownVideo:
                if not is_file_name(reference):
                    raise
            log.warning("%s is not in the library yet; it is indexed first.", reference)
            result = yield from self._index(Path(reference), None, progress)
            return result.entry

        return Stream(operation, progress=progress)

    def is_outdated(self, entry: VideoEntry) -> bool:
        """Whether another checkpoint, another profile, or another version of the prompts would now caption this video."""
        return is_outdated(self.runtime, entry)

    def caption_offer(self, entry: VideoEntry) -> "CaptionOffer | None":
        """Return the offer to caption a video again with the default of now; see `longview.app.runtime.caption_offer`."""
        from longview.app.runtime.caption_offer import caption_offer

        return caption_offer(entry, self.runtime)

    def segments(
        self, entry: VideoEntry, source: str | None = None, *, language: str | None = None, within: Span | None = None
    ) -> tuple[Segment, ...]:
        """Return segments of a video in order of time; see `Tracks.segments`."""
        segments = self.library.tracks.segments(entry.video_id, source, language=language, within=within)
        return tuple(item.segment for item in segments)

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

        return export(self.library, entry, format, sources, language=language, word_times=word_times)

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

        return export_version(self.library, entry, format, version, language=language, word_times=word_times)

    def chapters(self, entry: VideoEntry) -> "Chapters":
        """Return the chapters of a video: those of its captions, else those of its words, whose titles are quotes."""
        return self._chapter_finder.chapters(entry)

    def add_subtitles(
        self, entry: VideoEntry, path: Path, *, language: str | None = None, offset_s: float = 0.0
    ) -> "SubtitleImport":
        """Add a subtitle file, or a transcript without times, to a video; see `longview.app.ingest.subtitle_import`."""
        from longview.app.ingest.subtitle_import import import_subtitles

        return import_subtitles(self.library, self.decoder, entry, path, language=language, offset_s=offset_s)

    def answers(self, entry: VideoEntry) -> tuple[AnsweredQuestion, ...]:
        """Return the conversation about a video, oldest turn first."""
        return self.library.conversations.answers(entry.video_id)

    def remove(self, entry: VideoEntry) -> "Removal":
        """Remove a video from the library, with its thumbnails, browser copy and jobs; its source file stays."""
        from longview.app.files.removal import remove

        self.runner.cancel_content(entry.content_hash)
        return remove(self.library, self.media, entry)

    def undo_removal(self, reference: str | None = None) -> VideoEntry:
        """Bring back a video that was removed in the last day, with all that was found in it; see `undo_removal`."""
        from longview.app.files.removal import undo_removal

        return undo_removal(self.library, self.media, reference)

    def undo_removal_of(self, video_id: str) -> VideoEntry:
        """Bring back a removed video by its id or a unique prefix of it, and by no path: for requests to a server."""
        from longview.app.files.removal import undo_removal_of

        return undo_removal_of(self.library, video_id)

    # -- indexing and questions ------------------------------------------------------------------------------------------

    def plan(self, reference: str, options: "PlanOptions | None" = None) -> "PlanReport":
        """Plan what `index` would do, and the session for questions; see `longview.app.ingest.planning.IndexPlanner`."""
        from longview.app.ingest.options import PlanOptions
        from longview.app.ingest.planning import IndexPlanner

        planner = IndexPlanner(self.library, self.media, self.indexer, self.runtime)
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
        job = self.runner.add(path, options, is_own=True)
        return (yield from self.runner.run(job, keep_sessions=options.keep_sessions, progress=progress))

    def run_job(self, job: "QueuedJob", *, progress: Progress | None = None) -> "Stream[IndexResult]":
        """Run a job of this process, which keeps no sessions for later questions; see `JobRunner.run`.

        `progress`: see `Stream`.
        """
        return Stream(lambda progress: self.runner.run(job, keep_sessions=False, progress=progress), progress=progress)

    def locate(self, entry: VideoEntry, query: str, *, progress: Progress | None = None) -> "Stream[Location]":
        """Find all occurrences of a query in a video; see `Locator.locate`. `progress`: see `Stream`."""
        return Stream(lambda progress: self._locator.locate(entry, query, progress), progress=progress)

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
            lambda progress: self._answers.answer(entries, question, history=history, progress=progress), progress=progress
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
            video_id = self.media.find(video, progress).video_id if video else None
            return self._retriever.search(query, limit=limit, video_id=video_id, verify=verify, progress=progress)

        return Stream(operation, progress=progress)
