"""What several verbs take and print: videos, times, spans, and what could not be looked at."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from longview.app.cli.console import Context, progress_bar
from longview.app.errors import BadRequest
from longview.indexing.library import VideoEntry
from longview.video.time_text import format_time, parse_time
from longview.video.timeline import Span

log = logging.getLogger(__name__)


def parse_seconds(text: str | None) -> float | None:
    """A time as people write it, in seconds; wrong usage if it is none."""
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def ordered_span(start_s: float | None, end_s: float | None) -> Span:
    """From one time to a later one."""
    assert start_s is not None and end_s is not None
    if not 0 <= start_s < end_s:
        raise BadRequest(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s)}).")
    return Span(start_s, end_s)


def span_text(span: Span) -> str:
    """A span for people."""
    return f"{format_time(span.start_s)} - {format_time(span.end_s)}"


def span_row(span: Span) -> dict[str, Any]:
    """A span for programs, in seconds and as text."""
    return {
        "start_s": round(span.start_s, 3),
        "end_s": round(span.end_s, 3),
        "start": format_time(span.start_s),
        "end": format_time(span.end_s),
    }


def coverage_row(seconds: float, frames: int, grain_s: float, unseen: Sequence[Span]) -> dict[str, Any]:
    """What was looked at, and what could not be."""
    spans = [span_row(span) for span in unseen]
    return {"seconds": round(seconds, 3), "frames": frames, "grain_s": round(grain_s, 4), "unseen": spans}


VideoArgument = Annotated[str, typer.Argument(help="An id, a unique beginning of one, or a path (indexed first if it is new).")]
ExistingVideo = Annotated[str, typer.Argument(metavar="VIDEO", help="An id, a unique beginning of one, or a path.")]
ContextTokens = Annotated[int | None, typer.Option(min=1, help="Most tokens of one prompt and reply.", show_default=False)]

Start = Annotated[str | None, typer.Option(help="Begin here: 75, 1:15, 1:02:03.", show_default=False)]
End = Annotated[str | None, typer.Option(help="Stop here.", show_default=False)]

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file to write; by default named after the video.", show_default=False)
]


def warn_if_incomplete(entry: VideoEntry) -> None:
    """Warn where captions do not tell all of a video."""
    if entry.incomplete:
        log.warning("There may be more than this in %s.", ", ".join(map(span_text, entry.incomplete)))
    if entry.span.duration_s < entry.duration_s - 0.1:
        log.warning("Only %s was indexed; index the video again without --start and --end for all of it.", span_text(entry.span))


def resolve_video(call: Context, reference: str) -> VideoEntry:
    """The video, indexed first if it is a new path."""
    with progress_bar() as on_progress:
        return call.app.get_or_index(reference, on_progress)
