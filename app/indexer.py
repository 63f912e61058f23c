"""Index a file: caption it, summarize it, and write it to the library in one transaction."""

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.media import END_SLACK_S, MediaStore
from longview.app.runtime import Runtime
from longview.app.watched_file import WatchedFile
from longview.indexing.errors import UnknownVideo
from longview.indexing.library import ID_DIGITS, Library, VideoEntry
from longview.video.clips import is_browser_playable
from longview.video.errors import ImpossiblePlan
from longview.video.probe import VideoInfo
from longview.video.progress import NO_PROGRESS, Cancelled, Progress
from longview.video.sampler import SamplingPlan
from longview.video.time_text import format_spans, format_time
from longview.video.timeline import Event, Span

if TYPE_CHECKING:
    from longview.model.tasks.captioner import Captions
    from longview.model.tasks.costs import Cost
    from longview.model.tasks.events import PartialResult
    from longview.model.tasks.merging import WindowCaptions

log = logging.getLogger(__name__)

MIN_SLOW_S = 60.0
"""Minimum estimated time at which the user is warned, in seconds."""


@dataclass(frozen=True)
class IndexResult:
    """The library entry of a file that was indexed, and how long it took."""

    entry: VideoEntry
    seconds_spent: float
    estimated_seconds: float | None
    """Estimated captioning time, in seconds."""


class Indexer:
    """Indexes files into one library."""

    def __init__(self, library: Library, media: MediaStore, runtime: Runtime) -> None:
        self._library, self._media, self._runtime = library, media, runtime

    def index(
        self,
        path: Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        context_tokens: int | None = None,
        title: str | None = None,
        keep_sessions: bool = True,
        progress: Progress = NO_PROGRESS,
    ) -> Generator["PartialResult[WindowCaptions]", None, IndexResult]:
        """Caption a file and add it to the library; replace the entry that has the same content.

        The captions of each window are yielded. The library is written once, at the end. `keep_sessions`: the sessions stay in
        memory for later questions, as far as the pool has room.

        Raises:
            VideoError: the file cannot be used. ImpossiblePlan: start, end or context cannot be satisfied.
            VideoGone: the file changed meanwhile. Cancelled: the operation was cancelled.
            LibraryUnusable: the library cannot be written, for instance because the disk is full.
        """
        from longview.model.tasks.captioner import caption
        from longview.model.tasks.chapters import Summary, summarize
        from longview.model.tasks.costs import captions_cost

        check_range(start_s, end_s)
        start = time.monotonic()
        step = progress.child(0.0, 0.02, "Probing")
        with self._runtime.watching(path) as file:
            video = self._media.open(path, step)
            file.content_hash = video.content_hash
            step = progress.child(0.02, 0.04, "Loading the checkpoint")
            pool, prober, options = self._runtime.pool, self._runtime.prober, self._runtime.checks.captions
            span = requested_span(video, start_s, end_s)
            plan = pool.planner.plan(video, "caption", span=span, context_tokens=context_tokens, progress=step)
            cost = captions_cost(pool, prober, video, plan, options)
            _log_cost(video, plan, cost, pool.engine.device)
            step = progress.child(0.04, 0.94, "Captioning")
            windows = caption(pool, prober, video, plan, options, keep_sessions=keep_sessions, progress=step)
            captions = yield from _check_windows(windows, file, progress)
        step = progress.child(0.94, 0.97, "Summarizing")
        # Without frames and events, even "no events detected" would be an unsupported claim.
        has_summary = captions.events or not captions.coverage.uncovered
        summary = summarize(captions.events, plan.span, pool, prober, progress=step) if has_summary else Summary("", ())
        progress.child(0.97, 0.99, "Writing to the library")
        video_id = video.content_hash[:ID_DIGITS]
        entry = VideoEntry(
            video_id=video_id,
            content_hash=video.content_hash,
            path=video.path,
            title=title or self._title(video_id, video.path),
            duration_s=video.duration_s,
            span=plan.span,
            provenance=self._runtime.provenance(plan),
            facts={
                "width": video.width,
                "height": video.height,
                "fps": round(video.fps_nominal, 3),
                "codec": video.codec,
                "container": video.container,
                "has_audio": video.has_audio,
                "size_bytes": video.size_bytes,
                "browser_plays": is_browser_playable(video),
            },
            incomplete=captions.coverage.uncovered,
            summary=summary.text,
            chapters=tuple(Event(chapter.span, chapter.title) for chapter in summary.chapters),
            seconds_spent=time.monotonic() - start,
        )
        if entry.incomplete:
            spans = format_spans(*entry.incomplete)
            log.warning("%s: captions may be incomplete from %s", entry.title, spans)
        entry = self._library.put(entry, captions.events)
        self._embed(progress)
        return IndexResult(entry, time.monotonic() - start, cost.seconds)

    def _embed(self, progress: Progress) -> None:
        """Embed the new captions. The video is already in the library, so a cancellation does not remove it."""
        try:
            self._runtime.vectors.update(progress.child(0.99, 1.0, "Embedding the captions"))
        except Cancelled:
            log.info("The captions will be embedded by the next search.")

    def _title(self, video_id: str, path: Path) -> str:
        """Return the title that the library has, else the file's name."""
        try:
            return self._library.video(video_id).title
        except UnknownVideo:
            # A file name may contain any character, also line breaks and escape sequences.
            return " ".join("".join(letter if letter.isprintable() else " " for letter in path.stem).split()) or "video"


def _log_cost(video: VideoInfo, plan: SamplingPlan, cost: "Cost", device: str) -> None:
    """Log what captioning will cost, and warn if it will take long."""
    name, duration = video.path.name, "an unknown time" if cost.seconds is None else format_time(cost.seconds)
    log.info("%s: %d frames in %d windows, about %s", name, plan.frames, len(plan.windows), duration)
    if cost.seconds is not None and cost.seconds > MIN_SLOW_S:
        log.warning("%s: captioning will take about %s on device %s", name, duration, device)


def _check_windows(
    windows: Generator["PartialResult[WindowCaptions]", None, "Captions"], file: WatchedFile, progress: Progress
) -> Generator["PartialResult[WindowCaptions]", None, "Captions"]:
    """Yield the captions of each window. After each window, check that the file is still the one that was hashed.

    Raises:
        VideoGone: the file changed meanwhile.
    """
    while True:
        try:
            window = next(windows)
        except StopIteration as end:
            captions: Captions = end.value
            file.check(progress)
            return captions
        file.check(progress)
        yield window


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Check that an end comes after its start.

    Raises:
        ImpossiblePlan: the end does not come after the start.
    """
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ImpossiblePlan(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s or 0.0)}).")


def requested_span(video: VideoInfo, start_s: float | None, end_s: float | None) -> Span | None:
    """Return the part of a video that is requested; None for all of it.

    Raises:
        ImpossiblePlan: the end is outside the video, or does not come after the start.
    """
    check_range(start_s, end_s)
    if not start_s and end_s is None:
        return None
    from_s = start_s or 0.0
    if end_s is not None and end_s > video.duration_s + END_SLACK_S:
        raise ImpossiblePlan(f"{format_time(end_s)} is outside the video, which is {format_time(video.duration_s)} long.")
    # The sampler refuses a start beyond the video's end.
    return Span(from_s, max(from_s, video.duration_s if end_s is None else end_s))
