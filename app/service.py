"""Longview as one object: a facade over the indexer, the retriever, answers, the media store and the runtime of one library."""

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longview.app.answers import Answer, Answers
from longview.app.checks import Checks
from longview.app.indexer import Indexer, IndexResult, requested_span
from longview.app.media import MediaStore, is_file_name
from longview.app.retriever import Retriever, SearchResults
from longview.app.runtime import Runtime
from longview.app.settings import Settings
from longview.app.streams import Done, Stream
from longview.indexing.errors import UnknownVideo
from longview.indexing.exports import FORMATS, ExportFormat, export_captions
from longview.indexing.library import AnsweredQuestion, Caption, Library, Provenance, VideoEntry
from longview.indexing.search import Moment
from longview.model.engine.base import ChatTurn
from longview.model.engine.checkpoints import Checkpoint
from longview.model.tasks.events import PartialResult, TextDelta
from longview.model.tasks.question import check_length
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.progress import Cancelled, Progress, ProgressReport
from longview.video.sampler import SamplingPlan
from longview.video.time_text import TimeReference, find_times, format_time
from longview.video.timeline import Event, Span

if TYPE_CHECKING:
    from longview.indexing.vectors import VectorIndex
    from longview.model.engine.sessions import SessionPool
    from longview.model.tasks.costs import Cost
    from longview.model.tasks.localizer import Localization
    from longview.model.tasks.prober import Prober

__all__ = [  # with the types that the interface needs
    "FORMATS", "Answer", "AnsweredQuestion", "Cancelled", "Caption", "ChatTurn", "Done", "Event", "ExportFormat", "IndexResult",
    "Longview", "Moment", "NO_CAPTIONS", "NO_EVENTS", "PartialResult", "PlanReport", "Progress", "ProgressReport",
    "SearchResults", "Span", "Stream", "TextDelta", "TimeReference", "VideoEntry", "find_times", "format_time",
]  # fmt: skip

log = logging.getLogger(__name__)

NO_CAPTIONS = "There are no captions: the frames could not be decoded, or are unlike anything this checkpoint was trained on."
"""Text in place of the captions of a video that could not be captioned."""
NO_EVENTS = "No events detected."
"""Text in place of the captions of a video that was captioned and has no events."""


@dataclass(frozen=True)
class PlanReport:
    """A plan and its estimated cost."""

    video: VideoInfo
    plan: SamplingPlan
    estimated_bytes: int
    """Peak memory, including the weights of the checkpoint."""
    checks: Checks
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
        self.decoder = Decoder(
            settings.limits,
            backend=settings.backend,
            key_frames_only=settings.key_frames_only,
            processes=settings.decode_processes,
        )
        # Thumbnails and cuts are exact, also where the checkpoint gets key frames only.
        exact = Decoder(settings.limits, backend=settings.backend, processes=1) if settings.key_frames_only else self.decoder
        self.media = MediaStore(self.library, exact)
        self._runtime = Runtime(settings, self.library, self.decoder)
        self.indexer = Indexer(self.library, self.media, self._runtime)
        self._retriever = Retriever(self.library, self.media, self._runtime)
        self._answers = Answers(self.library, self.media, self._retriever, self._runtime)

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint:
        """The chosen checkpoint, without its weights."""
        return self._runtime.checkpoint

    @property
    def pool(self) -> "SessionPool":
        """The sessions of the checkpoint; the first access loads its weights."""
        return self._runtime.pool

    @property
    def prober(self) -> "Prober":
        """The prober of the checkpoint."""
        return self._runtime.prober

    @property
    def vectors(self) -> "VectorIndex":
        """The index of caption vectors; the first access loads the sentence encoder."""
        return self._runtime.vectors

    @property
    def device(self) -> str:
        """The device of the checkpoint: `cuda`, `cpu` or `server`."""
        return self.pool.engine.device

    @property
    def checks(self) -> Checks:
        """The checks that are on for the chosen checkpoint, which is not loaded for it."""
        return self._runtime.checks

    def warm_up(self) -> None:
        """Load checkpoint and encoder now, so that the first question does not wait for them."""
        _ = self.pool
        self.vectors.search("", limit=1)

    def provenance(self, plan: SamplingPlan | None) -> Provenance:
        """Return the provenance of a result that is made now."""
        return self._runtime.provenance(plan)

    # -- the library -------------------------------------------------------------------------------------------------

    def videos(self) -> tuple[VideoEntry, ...]:
        """Return all videos of the library."""
        return self.library.videos()

    def video(self, reference: str) -> VideoEntry:
        """Return the video that an id, a unique id prefix or a path names; see `MediaStore.find`."""
        return self.media.find(reference)

    def get_or_index(self, reference: str, *, progress: Progress | None = None) -> Stream[VideoEntry]:
        """Return the video that a reference names; index a file first if it is not in the library. `progress`: see `Stream`."""

        def operation(progress: Progress) -> Generator[PartialResult[Any], None, VideoEntry]:
            try:
                return self.media.find(reference, progress)
            except UnknownVideo:
                if not is_file_name(reference):
                    raise
            log.warning("%s is not in the library yet; it is indexed first.", reference)
            result = yield from self.indexer.index(Path(reference), keep_sessions=True, progress=progress)
            return result.entry

        return Stream(operation, progress=progress)

    def is_outdated(self, entry: VideoEntry) -> bool:
        """Whether another checkpoint, or another version of the prompts, would now caption this video."""
        return self._runtime.is_outdated(entry)

    def captions(self, entry: VideoEntry) -> tuple[Caption, ...]:
        """Return a video's captions in order of time."""
        return self.library.captions(entry.video_id)

    def export(self, entry: VideoEntry, format: ExportFormat) -> str:
        """Return a video's captions as text in a format."""
        return export_captions(format, entry, [caption.event for caption in self.captions(entry)])

    def answers(self, entry: VideoEntry) -> tuple[AnsweredQuestion, ...]:
        """Return the conversation about a video, oldest turn first."""
        return self.library.answers(entry.video_id)

    def delete_answers(self, entry: VideoEntry) -> None:
        """Delete the conversation about a video."""
        self.library.delete_answers(entry.video_id)

    def remove(self, entry: VideoEntry) -> None:
        """Remove a video from the library, with its thumbnails and browser copy; its source file stays."""
        self.library.remove(entry.video_id)
        self.media.delete_derived(entry.video_id)

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
        """Plan the session for questions about a video or a part of it, and estimate the cost of each task.

        A path need not be in the library. `fps` and `max_frames` apply to questions only.

        Raises:
            ImpossiblePlan: the options cannot be satisfied together.
        """
        from longview.model.tasks import costs

        _, video = self.media.resolve(reference)
        span = requested_span(video, start_s, end_s)
        pool, checks = self.pool, self._runtime.checks
        plan = pool.planner.plan(video, "qa", span=span, fps=fps, max_frames=max_frames, context_tokens=context_tokens)
        caption_plan = pool.planner.plan(video, "caption", span=span, context_tokens=context_tokens)
        return PlanReport(
            video,
            plan,
            pool.engine.estimated_bytes(plan),
            checks,
            ask=costs.answer_cost(pool, self.prober, video, plan, checks.answers),
            index=costs.captions_cost(pool, self.prober, video, caption_plan, checks.captions),
            locate=costs.locate_cost(pool, self.prober, caption_plan, checks.localization),
            occurrence=costs.occurrence_cost(pool, self.prober, video, checks.localization),
        )

    def index(
        self,
        path: Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        context_tokens: int | None = None,
        title: str | None = None,
        keep_sessions: bool = True,
        progress: Progress | None = None,
    ) -> Stream[IndexResult]:
        """Caption a file and add it to the library; see `Indexer.index`. `progress`: see `Stream`."""
        return Stream(
            lambda progress: self.indexer.index(
                path,
                start_s=start_s,
                end_s=end_s,
                context_tokens=context_tokens,
                title=title,
                keep_sessions=keep_sessions,
                progress=progress,
            ),
            progress=progress,
        )

    def locate(self, entry: VideoEntry, query: str, *, progress: Progress | None = None) -> "Stream[Localization]":
        """Find all occurrences of a query in the whole video, whichever part of it was indexed. `progress`: see `Stream`."""

        def operation(progress: Progress) -> "Localization":
            from longview.model.tasks.localizer import locate

            check_length(query, "query")
            progress = progress.child(0.0, 1.0, f"Searching {entry.title}")
            candidates = self._retriever.candidate_spans(entry, query)
            with self._runtime.watching(entry.path, entry.content_hash) as file:
                video, options = self.media.probe(entry, progress), self._runtime.checks.localization
                result = locate(self.pool, self.prober, video, query, options, candidates=candidates, progress=progress)
                file.check(progress)
            return result

        return Stream(operation, progress=progress)

    def ask(
        self,
        entries: Sequence[VideoEntry],
        question: str,
        *,
        history: Sequence[ChatTurn] = (),
        progress: Progress | None = None,
    ) -> Stream[Answer]:
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
    ) -> Stream[SearchResults]:
        """Search the captions of the library, or of one video, and verify the moments; see `Retriever.search`.

        `progress`: see `Stream`.
        """

        def operation(progress: Progress) -> Generator[PartialResult[SearchResults], None, SearchResults]:
            video_id = self.media.find(video, progress).video_id if video else None
            return self._retriever.search(query, limit=limit, video_id=video_id, verify=verify, progress=progress)

        return Stream(operation, progress=progress)
