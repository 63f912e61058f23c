"""The use cases: index, list, plan, caption, locate, ask, search, export. The only place that joins the packages."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.answers import Answer, AnswerStream, answer_question
from longview.app.errors import BadRequest, VideoGone
from longview.app.media import MediaStore
from longview.app.plans import check_range, plan_facts, requested_span, video_facts
from longview.app.progress import OnProgress, StagedProgress
from longview.app.runtime import Runtime
from longview.app.settings import Settings
from longview.indexing.errors import UnknownVideo
from longview.indexing.exports import FORMATS, ExportFormat, event_row, export_captions
from longview.indexing.library import ID_DIGITS, AnsweredQuestion, Caption, Library, Provenance, VideoEntry
from longview.indexing.search import Moment, captions_with_all_words, search
from longview.model.engine.base import ChatTurn
from longview.model.engine.checkpoints import Checkpoint
from longview.model.errors import ModelError
from longview.model.tasks.prompts import PROMPT_VERSION
from longview.model.tasks.question import check_length
from longview.video.clips import is_browser_playable
from longview.video.decoder import Decoder
from longview.video.errors import VideoError
from longview.video.guard import check_path
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.time_text import find_times, format_clock, format_time
from longview.video.timeline import Event, Span

if TYPE_CHECKING:
    from longview.indexing.vectors import VectorIndex
    from longview.model.engine.sessions import OnFraction, SessionPool
    from longview.model.tasks.localizer import Localization

__all__ = [  # with what the interface needs of the types that are handed out
    "FORMATS", "AnsweredQuestion", "Answer", "AnswerStream", "Caption", "Event", "ExportFormat", "Longview", "Moment", "Span",
    "NO_CAPTIONS", "ChatTurn", "VideoEntry", "event_row", "find_times", "format_clock", "format_time", "plan_facts", "video_facts",
]  # fmt: skip

log = logging.getLogger(__name__)

NO_CAPTIONS = "There are no captions: its pictures could not be read, or are of a kind that this checkpoint does not know."
"""What is said of a video of which nothing could be told."""
EXPECTED_REPLY_TOKENS = 300
"""For estimates of time: a window's captions are about that long."""


@dataclass(frozen=True)
class IndexResult:
    """What indexing a file came to."""

    entry: VideoEntry
    seconds_spent: float


@dataclass(frozen=True)
class PlanReport:
    """A plan and what it would cost."""

    video: VideoInfo
    plan: SamplingPlan
    estimated_seconds: float
    estimated_bytes: int
    """Memory, the checkpoint's weights included."""


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
        # Pictures for people and cuts are exact, however hastily the model looks.
        self.media = MediaStore(self.library, Decoder(settings.limits, processes=1) if settings.key_frames_only else self.decoder)
        self._runtime = Runtime(settings, self.library, self.decoder)

    @property
    def checkpoint(self) -> Checkpoint:
        """The chosen checkpoint; found, not loaded."""
        return self._runtime.checkpoint

    @property
    def pool(self) -> "SessionPool":
        """The checkpoint's sessions; loads it."""
        return self._runtime.pool

    @property
    def vectors(self) -> "VectorIndex":
        """The index of caption vectors; loads the encoder."""
        return self._runtime.vectors

    @property
    def device(self) -> str:
        """Where the checkpoint runs: `cuda` or `cpu`."""
        return self.pool.engine.device

    def warm_up(self) -> None:
        """Load checkpoint and encoder now, so that the first question does not wait for them."""
        _ = self.pool
        self.vectors.search("", limit=1)

    # -- the library ---------------------------------------------------------------------------------------------

    def videos(self) -> tuple[VideoEntry, ...]:
        """All videos of the library."""
        return self.library.videos()

    def video(self, reference: str) -> VideoEntry:
        """The video that an id, a unique prefix or a path means.

        Raises:
            UnknownVideo: it is not in the library. AmbiguousVideo: several begin like that.
        """
        if _names_file(reference):
            checked = check_path(reference, self.decoder.limits)
            entry = self.library.video(self.media.hash(checked)[:ID_DIGITS])
            if entry.path.exists():
                return entry
            # The same content under another name: the original was moved or renamed.
            self.library.set_path(entry.video_id, checked)
            return self.library.video(entry.video_id)
        return self.library.video(reference)

    def get_or_index(self, reference: str, on_progress: OnProgress | None = None) -> VideoEntry:
        """The same, but a path that is not in the library is indexed first."""
        try:
            return self.video(reference)
        except UnknownVideo:
            if _names_file(reference) or "/" in reference or Path(reference).suffix:
                log.warning("%s is not in the library yet and is indexed first", reference)
                return self.index(Path(reference), on_progress=on_progress).entry
            raise

    def provenance(self, plan: SamplingPlan | None) -> Provenance:
        """What is answerable for a result that is made now."""
        facts = plan_facts(plan) | {"key_frames_only": self.settings.key_frames_only} if plan else {}
        return Provenance(self.checkpoint.identity, PROMPT_VERSION, facts)

    def chat_history(self, entry: VideoEntry) -> tuple[AnsweredQuestion, ...]:
        """What was asked about a video before, oldest first."""
        return self.library.chat_history(entry.video_id)

    def clear_chat(self, entry: VideoEntry) -> None:
        """Delete the questions about a video and their answers, to begin the conversation anew."""
        self.library.clear_chat(entry.video_id)

    def is_stale(self, entry: VideoEntry) -> bool:
        """Whether another checkpoint, or other prompts, would now caption this video."""
        return entry.provenance.checkpoint != self.checkpoint.identity or entry.provenance.prompt_version != PROMPT_VERSION

    def remove(self, reference: str) -> VideoEntry:
        """Forget a video and delete the thumbnails and the browser's copy made of it; its original stays where it is."""
        entry = self.video(reference)
        self.library.remove(entry.video_id)
        self.media.delete_derived(entry.video_id)
        return entry

    # -- reading -------------------------------------------------------------------------------------------------

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
        """What would be looked at for questions about a video or a part of it; a path need not be in the library.

        Raises:
            ImpossiblePlan: the wishes cannot be had together.
        """
        if _names_file(reference):
            path = check_path(Path(reference), self.decoder.limits)
            info = self.decoder.probe(path, known_hash=self.media.hash(path))
        else:
            info = self.media.probe(self.library.video(reference))
        span = requested_span(info, start_s, end_s)
        plan = self.pool.plan(info, "watch", span=span, fps=fps, max_frames=max_frames, context_tokens=context_tokens)
        engine = self.pool.engine
        seconds = engine.estimated_seconds(plan, reply_tokens=EXPECTED_REPLY_TOKENS)
        return PlanReport(info, plan, seconds, engine.estimated_bytes(plan))

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
        """Caption a file and put it into the library, replacing what was there for the same content.

        Nothing is written before everything is known. `keep_read`: what was read stays in memory, as far as its budget goes, for
        questions to come.

        Raises:
            VideoError: the file cannot be used. ImpossiblePlan: start, end or context cannot be had.
            LibraryUnusable: the library cannot be written, for instance because the disk is full.
        """
        from longview.model.tasks.captioner import caption
        from longview.model.tasks.chapters import Summary, summarize

        check_range(start_s, end_s)
        begun = time.monotonic()
        stages = StagedProgress(on_progress)
        stages.begin("reading the file", until=0.02)
        checked = check_path(path, self.decoder.limits)
        info = self.decoder.probe(checked, known_hash=self.media.hash(checked))
        stages.begin("loading the checkpoint", until=0.04)
        pool = self.pool
        plan = pool.plan(info, "caption", span=requested_span(info, start_s, end_s), context_tokens=context_tokens)
        estimate_s = pool.engine.estimated_seconds(plan, reply_tokens=EXPECTED_REPLY_TOKENS)
        log.info("%s: %d frames in %d windows, about %.0f s", info.path.name, plan.frames, len(plan.windows), estimate_s)
        if estimate_s > 60:
            log.warning("%s will take about %s on this %s", info.path.name, format_time(estimate_s), pool.engine.device)
        stages.begin("looking and captioning", until=0.94)
        captions = caption(pool, info, plan, keep_sessions=keep_sessions, on_part=stages)
        stages.begin("telling the story", until=0.97)
        # Of what could not be looked at there is nothing to tell, not even that nothing happens.
        is_told = captions.events or not captions.coverage.uncovered
        told = summarize(captions.events, plan.span, pool, on_part=stages) if is_told else Summary("", ())
        stages.begin("writing to the library", until=0.99)
        spent_s = time.monotonic() - begun
        video_id = info.content_hash[:ID_DIGITS]
        entry = VideoEntry(
            video_id=video_id,
            content_hash=info.content_hash,
            path=info.path,
            title=title or self._title(video_id, info.path),
            duration_s=info.duration_s,
            span=plan.span,
            provenance=self.provenance(plan),
            facts={
                "width": info.width,
                "height": info.height,
                "fps": round(info.fps_nominal, 3),
                "codec": info.codec,
                "container": info.container,
                "has_audio": info.has_audio,
                "size_bytes": info.size_bytes,
                "browser_plays": is_browser_playable(info),
            },
            incomplete=captions.coverage.uncovered,
            summary=told.text,
            chapters=tuple(Event(chapter.span, chapter.title) for chapter in told.chapters),
            seconds_spent=spent_s,
        )
        if entry.incomplete:
            parts = ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in entry.incomplete)
            log.warning("%s: there may be more than the captions tell in %s", entry.title, parts)
        entry = self.library.put(entry, captions.events)
        stages.begin("embedding the captions", until=1.0)
        self.vectors.update(stages)
        stages(1.0)
        return IndexResult(entry, time.monotonic() - begun)

    def _title(self, video_id: str, path: Path) -> str:
        """A title that was chosen before, else the file's name."""
        try:
            return self.library.video(video_id).title
        except UnknownVideo:
            # A file's name may hold anything, line breaks and escape sequences too.
            return " ".join("".join(letter if letter.isprintable() else " " for letter in path.stem).split()) or "video"

    def captions(self, entry: VideoEntry) -> tuple[Caption, ...]:
        """A video's captions in order of time."""
        return self.library.captions(entry.video_id)

    def export(self, entry: VideoEntry, format: ExportFormat) -> str:
        """A video's captions as text in that format."""
        return export_captions(format, entry, [caption.event for caption in self.captions(entry)])

    # -- asking --------------------------------------------------------------------------------------------------

    def locate(self, entry: VideoEntry, query: str, *, on_progress: OnProgress | None = None) -> "Localization":
        """All occurrences of a query in a video, the whole of it, whichever part was indexed."""
        from longview.model.tasks.localizer import locate

        check_length(query, "query")
        stages = StagedProgress(on_progress)
        stages.begin("looking", until=1.0)
        info = self.media.probe(entry)
        return locate(self.pool, info, query, candidates=self.candidate_spans(entry, query), on_part=stages)

    def candidate_spans(self, entry: VideoEntry, query: str, within: Span | None = None) -> tuple[Span, ...]:
        """Where the captions say, in the query's own words, that it happens."""
        told = self.library.captions_by_id(captions_with_all_words(self.library, query, entry.video_id))
        spans = (caption.event.span for caption in told.values())
        return tuple(span for span in spans if within is None or span.overlap_s(within) > 0)

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
        """A question about one or more videos, or about the whole library where none is named; see `longview.app.answers.asked`.

        Raises:
            BadQuestion: the question is empty, too long, or names a time the only video does not have.
        """
        return answer_question(
            self, entries, question, history=history, verify=verify, cancel_event=cancel_event, on_progress=on_progress
        )

    def widen_to_caption(self, entry: VideoEntry, span: Span, answer: str) -> Span:
        """Evidence that is a moment, widened to the event around it that the captions tell in the answer's words."""
        if span.duration_s <= float(entry.provenance.plan["grain_s"]):
            for caption in self.captions(entry):
                if caption.event.span.overlap_s(span) > 0 and caption.event.text in answer:
                    return caption.event.span
        return span

    def search(self, query: str, *, limit: int = 10, video: str | None = None) -> tuple[Moment, ...]:
        """The moments of the library, or of one video, that fit a query.

        Raises:
            BadRequest: the query is empty. BadQuestion: it is too long.
        """
        if not query.strip():
            raise BadRequest("The query is empty: say what to search for.")
        check_length(query, "query")
        video_id = self.video(video).video_id if video else None
        return search(self.library, self.vectors, query, limit=limit, video_id=video_id)

    def verify_moments(self, moments: Sequence[Moment], *, on_part: "OnFraction | None" = None) -> Iterator[Moment]:
        """The same moments one by one, each looked at again: whether what its caption says is seen there.

        What cannot be looked at, because its original is gone or the checkpoint cannot be loaded, stays as it was.
        """
        from longview.model.tasks.verifier import verify_claim

        try:
            pool = self.pool
        except ModelError as error:
            log.warning("The moments were not looked at again: %s", error)
            yield from moments
            return
        infos: dict[str, VideoInfo] = {}
        for number, moment in enumerate(moments):
            is_seen = None
            try:
                if moment.video_id not in infos:
                    infos[moment.video_id] = self.media.probe(self.library.video(moment.video_id))
                is_seen = verify_claim(pool, infos[moment.video_id], moment.span, moment.text)
            except (ModelError, VideoError, VideoGone, UnknownVideo) as error:
                log.warning("%s at %s was not looked at again: %s", moment.title, format_time(moment.span.start_s), error)
            if on_part:
                on_part((number + 1) / len(moments))
            yield replace(moment, verified=is_seen)


def _names_file(reference: str) -> bool:
    try:
        return Path(reference).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
