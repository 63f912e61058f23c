"""Longview as one object: a facade over the indexer, the retriever, answers, the media store and the runtime of one library."""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.answers import Answers, AnswerStream
from longview.app.indexer import EXPECTED_REPLY_TOKENS, Indexer, IndexResult, requested_span
from longview.app.media import MediaStore, is_file_name
from longview.app.progress import OnProgress, StagedProgress
from longview.app.retriever import Retriever
from longview.app.runtime import Runtime
from longview.app.settings import Settings
from longview.indexing.errors import UnknownVideo
from longview.indexing.exports import FORMATS, ExportFormat, export_captions
from longview.indexing.library import AnsweredQuestion, Caption, Library, Provenance, VideoEntry
from longview.indexing.search import Moment
from longview.model.engine.base import ChatTurn
from longview.model.engine.checkpoints import Checkpoint
from longview.model.tasks.question import check_length
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.time_text import find_times, format_clock, format_time
from longview.video.timeline import Event, Span

if TYPE_CHECKING:
    from longview.indexing.vectors import VectorIndex
    from longview.model.engine.planner import OnFraction
    from longview.model.engine.sessions import SessionPool
    from longview.model.tasks.localizer import Localization
    from longview.model.tasks.prober import Prober

__all__ = [  # with the types that the interface needs
    "FORMATS", "AnsweredQuestion", "AnswerStream", "Caption", "ChatTurn", "Event", "ExportFormat", "IndexResult", "Longview",
    "Moment", "NO_CAPTIONS", "NO_EVENTS", "PlanReport", "Span", "VideoEntry", "find_times", "format_clock", "format_time",
]  # fmt: skip

log = logging.getLogger(__name__)

NO_CAPTIONS = "There are no captions: its frames could not be decoded, or are unlike anything this checkpoint was trained on."
"""What is shown for a video without captions that could not be searched."""
NO_EVENTS = "No events detected."
"""What is shown for a video that was searched and has no captions."""


@dataclass(frozen=True)
class PlanReport:
    """A plan and its estimated cost."""

    video: VideoInfo
    plan: SamplingPlan
    estimated_seconds: float
    estimated_bytes: int
    """Memory, with the checkpoint's weights."""


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
        self._indexer = Indexer(self.library, self.media, self._runtime)
        self._retriever = Retriever(self.library, self.media, self._runtime)
        self._answers = Answers(self.library, self.media, self._retriever, self._runtime)

    # -- the checkpoint ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint:
        """The chosen checkpoint; found, not loaded."""
        return self._runtime.checkpoint

    @property
    def pool(self) -> "SessionPool":
        """The checkpoint's sessions; loads it."""
        return self._runtime.pool

    @property
    def prober(self) -> "Prober":
        """The checkpoint's prober; loads it."""
        return self._runtime.prober

    @property
    def vectors(self) -> "VectorIndex":
        """The index of caption vectors; loads the encoder."""
        return self._runtime.vectors

    @property
    def device(self) -> str:
        """The device of the checkpoint: `cuda`, `cpu` or `server`."""
        return self.pool.engine.device

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
        """Return the video that an id, a unique prefix of one or a path means; see `MediaStore.find`."""
        return self.media.find(reference)

    def get_or_index(self, reference: str, on_progress: OnProgress | None = None) -> VideoEntry:
        """Return the same video; index a path first that is not in the library."""
        try:
            return self.video(reference)
        except UnknownVideo:
            if is_file_name(reference) or "/" in reference or Path(reference).suffix:
                log.warning("%s is not in the library yet and is indexed first", reference)
                return self.index(Path(reference), on_progress=on_progress).entry
            raise

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

    # -- reading and asking ------------------------------------------------------------------------------------------

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
        """Plan the session for questions about a video or a part of it. A path need not be in the library.

        Raises:
            ImpossiblePlan: the options cannot be satisfied together.
        """
        _, video = self.media.resolve(reference)
        span = requested_span(video, start_s, end_s)
        plan = self.pool.planner.plan(video, "qa", span=span, fps=fps, max_frames=max_frames, context_tokens=context_tokens)
        engine = self.pool.engine
        seconds = engine.estimated_seconds(plan, reply_tokens=EXPECTED_REPLY_TOKENS)
        return PlanReport(video, plan, seconds, engine.estimated_bytes(plan))

    def index(
        self,
        path: Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        context_tokens: int | None = None,
        title: str | None = None,
        keep_sessions: bool = True,
        on_progress: OnProgress | None = None,
    ) -> IndexResult:
        """Caption a file and put it into the library; see `Indexer.index`."""
        return self._indexer.index(
            path,
            start_s=start_s,
            end_s=end_s,
            context_tokens=context_tokens,
            title=title,
            keep_sessions=keep_sessions,
            on_progress=on_progress,
        )

    def locate(self, entry: VideoEntry, query: str, *, on_progress: OnProgress | None = None) -> "Localization":
        """Find all occurrences of a query in the whole video, whichever part of it was indexed."""
        from longview.model.tasks.localizer import locate

        check_length(query, "query")
        stages = StagedProgress(on_progress)
        stages.begin(f"Searching {entry.title}", until=1.0)
        candidates = self._retriever.candidate_spans(entry, query)
        return locate(self.pool, self.prober, self.media.probe(entry), query, candidates=candidates, on_part=stages)

    def ask(
        self,
        entries: Sequence[VideoEntry],
        question: str,
        *,
        history: Sequence[ChatTurn] = (),
        verify: bool = False,
        cancel_event: threading.Event | None = None,
        on_progress: OnProgress | None = None,
    ) -> AnswerStream:
        """Answer a question about videos, or about the whole library where none is named; see `Answers.ask`."""
        return self._answers.ask(
            entries, question, history=history, verify=verify, cancel_event=cancel_event, on_progress=on_progress
        )

    def search(self, query: str, *, limit: int = 10, video: str | None = None) -> tuple[Moment, ...]:
        """Return the moments of the library, or of one video, that fit a query best; see `Retriever.search`."""
        video_id = self.video(video).video_id if video else None
        return self._retriever.search(query, limit=limit, video_id=video_id)

    def verify_moments(self, moments: Sequence[Moment], *, on_part: "OnFraction | None" = None) -> Iterator[Moment]:
        """Verify search results one by one; see `Retriever.verify`."""
        return self._retriever.verify(moments, on_part=on_part)
