"""Longview as one object: a facade over the indexer, the retriever, answers, the media store and the runtime of one library."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.errors import BadRequest
from longview.app.files.file_names import is_file_name
from longview.app.files.video_names import checked_title, is_same_title, with_id
from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.app.streams import Done, Stream
from longview.app.text.sources import source_label
from longview.core.lazy import LazyPart, lazy_names
from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.core.time_text import TimeReference, find_times, format_time, parse_time
from longview.core.timeline import Event, Segment, Span
from longview.indexing.errors import ExportNotPossible, UnknownVideo
from longview.indexing.records.track import ID_DIGITS, VIDEO_ID, Provenance, Track, TrackVersion
from longview.indexing.records.video import AnsweredQuestion, VideoEntry, VideoName
from longview.indexing.sqlite.library import Library
from longview.model.errors import ModelError
from longview.model.tasks.events import PartialResult, TextDelta

if TYPE_CHECKING:
    from longview.app.files.disk_usage import VideoBytes
    from longview.app.files.media import MediaStore
    from longview.app.files.removal import Removal
    from longview.app.ingest.indexer import Indexer, IndexResult
    from longview.app.ingest.options import IndexOptions
    from longview.app.ingest.sources import Decision
    from longview.app.ingest.subtitle_import import SubtitleImport
    from longview.app.jobs.runner import JobRunner
    from longview.app.qa.answers import Answer, Answers
    from longview.app.qa.chapters import ChapterFinder, Chapters
    from longview.app.qa.locator import Location, Locator
    from longview.app.qa.retriever import Retriever, SearchResults
    from longview.app.runtime.caption_offer import CaptionOffer
    from longview.app.runtime.checks import Checks
    from longview.indexing.exports import FORMATS, ExportFormat
    from longview.indexing.records.job import QueuedJob
    from longview.indexing.records.provenance_text import describe_maker
    from longview.indexing.records.track import StoredSegment
    from longview.indexing.search.search import Evidence, Moment
    from longview.indexing.sqlite.tracks.removals import RemovedVideo
    from longview.indexing.sqlite.vectors import VectorIndex
    from longview.model.engine.base import ChatTurn
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.model.engine.sessions import SessionPool
    from longview.model.screen_text.weights import TextModel
    from longview.model.speech.weights import SpeechModel
    from longview.model.tasks.costs import Cost
    from longview.model.tasks.prober import Verifier
    from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
    from longview.video.decoding.decoder import Decoder
    from longview.video.probing.guard import MEDIA_SUFFIXES
    from longview.video.probing.probe import VideoInfo
    from longview.video.sampling_plan import SamplingPlan

__all__ = [  # with the types and constants that the interface needs
    "Answer", "AnsweredQuestion", "Cancelled", "CaptionOffer", "Chapters", "ChatTurn", "describe_maker", "Done", "Event",
    "Evidence", "ExportFormat", "find_times", "format_time", "FORMATS", "IndexOptions", "IndexResult", "is_quoted", "Longview",
    "VIDEO_ID", "MAX_QUESTION_CHARACTERS", "MEDIA_SUFFIXES", "Moment", "NO_EVENTS", "parse_time", "PartialResult", "PlanReport",
    "Progress",
    "ProgressReport", "QueuedJob", "RemovedVideo", "SearchResults",
    "Segment", "Span", "StoredSegment", "Stream", "TextDelta", "TimeReference", "Track", "TrackVersion", "VideoEntry",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        "longview.app.qa.answers": ("Answer",),
        "longview.app.runtime.caption_offer": ("CaptionOffer",),
        "longview.app.qa.chapters": ("Chapters",),
        "longview.app.ingest.indexer": ("IndexOptions", "IndexResult"),
        "longview.app.qa.retriever": ("SearchResults",),
        "longview.indexing.exports": ("FORMATS", "ExportFormat"),
        "longview.indexing.records.job": ("QueuedJob",),
        "longview.indexing.records.provenance_text": ("describe_maker",),
        "longview.indexing.sqlite.tracks.removals": ("RemovedVideo",),
        "longview.indexing.search.search": ("Evidence", "Moment"),
        "longview.indexing.records.track": ("StoredSegment",),
        "longview.model.engine.base": ("ChatTurn",),
        "longview.model.tasks.question": ("MAX_QUESTION_CHARACTERS",),
        "longview.video.probing.guard": ("MEDIA_SUFFIXES",),
    },
)

log = logging.getLogger(__name__)

EXPORT_ORDER = ("captions", "subtitles", "speech", "screen_text")
"""Sources that are exported where none is chosen: the first that the video has."""
NO_EVENTS = "No events detected."
"""Text in place of the captions of a video that was captioned and has no events."""


def is_quoted(item: AnsweredQuestion) -> bool:
    """Whether an answer of a conversation consists of quotes."""
    from longview.app.qa.quotes.answers import PROVENANCE

    return item.provenance.checkpoint == PROVENANCE.checkpoint


@dataclass(frozen=True)
class PlanReport:
    """A plan and its estimated cost."""

    video: "VideoInfo"
    sources: "dict[str, Decision]"
    """What each source would do when the video is indexed."""
    frames: "FramePlan | None"
    """The plan and the costs of tasks that look at frames; None for a file without pictures."""
    other_seconds: float = 0.0
    """Estimated time of `index` beside that of the sources, in seconds."""
    declined_after_s: float | None = None
    """Time after which the checkpoint may decline to caption the video, in seconds; None: it declines none."""

    @property
    def captions_at_most_s(self) -> float | None:
        """Time of captions if the checkpoint knows the footage, in seconds; None: unknown, or they are not made."""
        is_run = self.sources["captions"].action == "run"
        seconds = self.frames.index.seconds if is_run and self.frames else None
        expected_s = self.sources["captions"].estimated_seconds
        return seconds if seconds is None or expected_s is None else max(seconds, expected_s)

    @property
    def estimated_seconds(self) -> float | None:
        """Expected time of `index` in a new process, in seconds; None if that of a source is unknown."""
        times = [decision.estimated_seconds for decision in self.sources.values() if decision.action == "run"]
        return None if None in times else sum(time_s or 0.0 for time_s in times) + self.other_seconds


@dataclass(frozen=True)
class FramePlan:
    """A sampling plan and the estimated costs of the tasks that use the checkpoint."""

    plan: "SamplingPlan"
    estimated_bytes: int
    """Peak memory, including the weights of the checkpoint."""
    checks: "Checks"
    """The checks that are enabled. The costs include them."""
    ask: "Cost"
    """The cost of an answer about the window that a question needs."""
    index: "Cost"
    """The cost of captions, chapters and summary."""
    locate: "Cost"
    """The cost of `locate` for a query that does not occur."""
    occurrence: "Cost"
    """The cost that each occurrence adds to `locate`."""


class Longview:
    """One library and one checkpoint, which is loaded only when something needs it. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        """Open the library.

        Raises:
            LibraryUnusable: the library folder cannot be used.
        """
        self.settings = settings
        self.library = Library(settings.library.expanduser().resolve())
        self._runtime = Runtime(settings, self.library)

    @property
    def decoder(self) -> "Decoder":
        """The decoder of videos, whose processes are started when they are needed."""
        return self._runtime.decoder

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
    def indexer(self) -> "Indexer":
        """What runs the sources of a file."""
        from longview.app.ingest.indexer import Indexer

        return Indexer(self.library, self.media, self._runtime)

    @LazyPart
    def runner(self) -> "JobRunner":
        """What adds files to the queue, and runs them."""
        from longview.app.jobs.runner import JobRunner

        return JobRunner(self.library, self.media, self.indexer, self.settings)

    @LazyPart
    def _retriever(self) -> "Retriever":
        from longview.app.qa.retriever import Retriever

        return Retriever(self.library, self.media, self._runtime)

    @LazyPart
    def _locator(self) -> "Locator":
        from longview.app.qa.locator import Locator

        return Locator(self.library, self.media, self._retriever, self._runtime)

    @LazyPart
    def _chapter_finder(self) -> "ChapterFinder":
        from longview.app.qa.chapters import ChapterFinder

        return ChapterFinder(self.library, self._runtime)

    @LazyPart
    def _answers(self) -> "Answers":
        from longview.app.qa.answers import Answers

        return Answers(self.library, self.media, self._retriever, self._runtime, self._chapter_finder)

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> "Checkpoint":
        """The chosen checkpoint, without its weights."""
        return self._runtime.checkpoint

    @property
    def grounding_checkpoint(self) -> "Checkpoint | None":
        """The checkpoint that locates, without its weights; None: the chosen one does."""
        return self._runtime.grounding_checkpoint

    @property
    def notice(self) -> str | None:
        """What every user of the chosen checkpoint must see; why there is none, if it cannot be found."""
        try:
            return self.checkpoint.notice
        except ModelError as error:
            return str(error)

    @property
    def pool(self) -> "SessionPool":
        """The sessions of the checkpoint; the first access loads its weights."""
        return self._runtime.pool

    @property
    def verifier(self) -> "Verifier":
        """The verifier of the checkpoint."""
        return self._runtime.verifier

    @property
    def vectors(self) -> "VectorIndex":
        """The index of passage vectors; the first access loads the sentence encoder."""
        return self._runtime.vectors

    @property
    def device(self) -> str:
        """The device of the checkpoint: `cuda`, `cpu` or `server`."""
        return self.pool.engine.device

    @property
    def checks(self) -> "Checks":
        """The checks that are on for the chosen checkpoint, which is not loaded for it."""
        return self._runtime.checks

    @property
    def speech_model(self) -> "SpeechModel":
        """The chosen speech model, without its weights.

        Raises:
            SpeechModelNotFound, InvalidSpeechModel: see `longview.model.speech.weights.find_speech_model`.
        """
        return self._runtime.speech_model

    @property
    def text_model(self) -> "TextModel":
        """The models that read text on screen, without their weights.

        Raises:
            TextModelNotFound: see `longview.model.screen_text.weights.find_text_model`.
        """
        return self._runtime.text_model

    def warm_up(self) -> None:
        """Load the sentence encoder now, so that the first search does not wait for it."""
        self.vectors.search("", limit=1)

    def provenance(self, plan: "SamplingPlan | None") -> Provenance:
        """Return the provenance of a result that is made now."""
        return self._runtime.provenance(plan)

    def localization_provenance(self, plan: "SamplingPlan | None") -> Provenance:
        """Return the provenance of spans that are located now."""
        return self._runtime.localization_provenance(plan)

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
        return self._runtime.is_outdated(entry)

    def caption_offer(self, entry: VideoEntry) -> "CaptionOffer | None":
        """Return the offer to caption a video again with the default of now; see `longview.app.runtime.caption_offer`."""
        from longview.app.runtime.caption_offer import caption_offer

        return caption_offer(entry, self._runtime)

    def versions(self, entry: VideoEntry) -> tuple[TrackVersion, ...]:
        """Return all tracks of a video, current and earlier, in the order in which they were begun."""
        return self.library.versions.of_video(entry.video_id)

    def version(self, entry: VideoEntry, number: int) -> TrackVersion:
        """Return the track of a video with this number.

        Raises:
            UnknownVersion: there is none, or it belongs to another video.
        """
        return self.library.versions.version(entry.video_id, number)

    def segments(
        self, entry: VideoEntry, source: str | None = None, *, language: str | None = None, within: Span | None = None
    ) -> tuple[Segment, ...]:
        """Return segments of a video in order of time; see `Tracks.segments`."""
        stored = self.library.tracks.segments(entry.video_id, source, language=language, within=within)
        return tuple(item.segment for item in stored)

    def export(
        self,
        entry: VideoEntry,
        format: "ExportFormat",
        sources: Sequence[str],
        *,
        language: str | None = None,
        words: bool = False,
    ) -> str:
        """Return tracks of a video as text in a format.

        `language`: only segments in this language. `words`: with the times of words.

        Raises:
            ExportNotPossible: there is nothing to export, or the format cannot hold it.
        """
        segments = [item for name in sources for item in self.segments(entry, name, language=language)]
        return self._export(entry, format, segments, sources, language=language, words=words)

    def export_version(
        self,
        entry: VideoEntry,
        format: "ExportFormat",
        version: TrackVersion,
        *,
        language: str | None = None,
        words: bool = False,
    ) -> str:
        """Return one version of a track as text in a format; see `export`.

        Raises:
            ExportNotPossible: there is nothing to export, or the format cannot hold it.
        """
        segments = [item for item in self.library.versions.segments(version) if language in (None, item.language)]
        entry = replace(entry, tracks=(version.track,))
        return self._export(entry, format, segments, [version.track.source], language=language, words=words)

    def _export(
        self,
        entry: VideoEntry,
        format: "ExportFormat",
        segments: Sequence[Segment],
        sources: Sequence[str],
        *,
        language: str | None,
        words: bool,
    ) -> str:
        from longview.indexing.exports import export_segments

        if language is None and format in ("srt", "vtt"):
            segments = _in_main_language(entry, segments)
        if not segments:
            what = " or ".join(map(source_label, sources or EXPORT_ORDER)) + (f" in the language {language}" if language else "")
            raise ExportNotPossible(f"{entry.title} has no {what} to export; `longview index` adds what the video has.")
        return export_segments(format, entry, segments, words=words)

    def chapters(self, entry: VideoEntry) -> "Chapters":
        """Return the chapters of a video: those of its captions, else those of its words, whose titles are quotes."""
        return self._chapter_finder.chapters(entry)

    def add_subtitles(
        self, entry: VideoEntry, path: Path, *, language: str | None = None, offset_s: float = 0.0
    ) -> "SubtitleImport":
        """Add a subtitle file, or a transcript without times, to a video; see `longview.app.ingest.subtitle_import`."""
        from longview.app.ingest.subtitle_import import import_subtitles

        return import_subtitles(self.library, self.decoder, entry, path, language=language, offset_s=offset_s)

    def answer_count(self, entry: VideoEntry) -> int:
        """Return the number of questions that were asked about a video and not cleared."""
        return self.library.answer_count(entry.video_id)

    def answers(self, entry: VideoEntry) -> tuple[AnsweredQuestion, ...]:
        """Return the conversation about a video, oldest turn first."""
        return self.library.answers(entry.video_id)

    def clear_answers(self, entry: VideoEntry) -> None:
        """Clear the conversation about a video; `undo_clear` brings it back for a day, unless another one is cleared."""
        self.library.cleared_conversations.clear(entry.video_id)

    def cleared_count(self, entry: VideoEntry) -> int:
        """Return the number of questions about a video that `undo_clear` would bring back."""
        return self.library.cleared_conversations.count(entry.video_id)

    def undo_clear(self, entry: VideoEntry) -> None:
        """Bring back the conversation about a video that was cleared in the last day.

        Raises:
            NothingCleared: there is none.
        """
        self.library.cleared_conversations.undo(entry.video_id)

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

    def removed_videos(self) -> "tuple[RemovedVideo, ...]":
        """Return the videos whose removal can be undone, the last removed first."""
        return self.library.removals.videos()

    def video_bytes(self, entries: Sequence[VideoEntry]) -> "dict[str, VideoBytes]":
        """Return the sizes of the files, caches and vectors of videos by their ids; see
        `longview.app.files.disk_usage.video_bytes`."""
        from longview.app.files.disk_usage import video_bytes

        return video_bytes(self.library, entries)

    # -- indexing and questions ------------------------------------------------------------------------------------------

    def plan(
        self,
        reference: str,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        context_tokens: int | None = None,
    ) -> PlanReport:
        """Plan what `index` would do and the session for questions about a video or a part of it; estimate the costs.

        A path need not be in the library. `fps` and `max_frames` apply to questions only.

        Raises:
            ImpossiblePlan: the options cannot be satisfied together.
        """
        from longview.app.ingest.ranges import requested_span
        from longview.app.runtime.context_retry import retry_with_smaller_plan

        _, video = self.media.resolve(reference)
        span = requested_span(video, start_s, end_s)
        other_s = self.indexer.other_seconds
        sources, declined_after_s = self.indexer.decisions(video, span or Span(0.0, video.duration_s))
        if not video.has_frames:
            return PlanReport(video, sources, None, other_s)
        frames = retry_with_smaller_plan(self._runtime, lambda: self._plan_frames(video, span, fps, max_frames, context_tokens))
        captions = sources["captions"]
        if captions.action == "run" and captions.estimated_seconds is None:
            sources["captions"] = replace(captions, estimated_seconds=frames.index.seconds)
        return PlanReport(video, sources, frames, other_s, declined_after_s)

    def _plan_frames(
        self, video: "VideoInfo", span: Span | None, fps: float | None, max_frames: int | None, context_tokens: int | None
    ) -> FramePlan:
        from longview.app.runtime.transcript_context import words_in
        from longview.model.tasks import costs

        pool, checks, grounding = self.pool, self._runtime.checks, self._runtime.grounding_pool
        planner = pool.planner
        plan = planner.plan(video, "qa", span=span, fps=fps, max_frames=max_frames, context_tokens=context_tokens)
        plan = planner.estimate_kept_share(video, plan)
        caption_plan = planner.plan(video, "caption", span=span, context_tokens=context_tokens)
        caption_plan = planner.estimate_kept_share(video, caption_plan)
        # A file that is not in the library has no words yet.
        words = words_in(self.library, self.settings, video.content_hash[:ID_DIGITS])
        return FramePlan(
            plan,
            self._estimated_bytes(video, plan),
            checks,
            ask=costs.answer_cost(pool, self.verifier, video, plan, checks.answers, words=words),
            index=costs.captions_cost(pool, self.verifier, video, caption_plan, checks.captions, words=words),
            locate=costs.locate_cost(pool, self.verifier, video, caption_plan, checks.localization, grounding),
            occurrence=costs.occurrence_cost(pool, self.verifier, video, checks.localization, grounding),
        )

    def _estimated_bytes(self, video: "VideoInfo", plan: "SamplingPlan") -> int:
        """Estimate the memory of the chosen checkpoint, and of the one that locates if it runs here, too."""
        estimated_bytes, grounding = self._runtime.pool.engine.estimated_bytes(plan), self._runtime.grounding_pool
        if grounding is None or self.settings.grounding_server is not None:
            return estimated_bytes
        grounding_bytes = grounding.engine.estimated_bytes(grounding.planner.plan(video, "caption", span=plan.span))
        if self._runtime.swaps_weights:
            return max(estimated_bytes, grounding_bytes)
        return grounding_bytes + (estimated_bytes if self.settings.server is None else 0)

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


def _in_main_language(entry: VideoEntry, segments: Sequence[Segment]) -> list[Segment]:
    """Leave out the subtitles that are not in the main language: translations would alternate with the original in one file."""
    track = entry.track("subtitles")
    languages = {item.language for item in segments if item.source == "subtitles"}
    if track is None or not track.languages or len(languages) < 2:
        return list(segments)
    log.warning("Only the %s subtitles are exported; --language chooses: %s.", track.languages[0], ", ".join(track.languages))
    return [item for item in segments if item.source != "subtitles" or item.language == track.languages[0]]
