"""Arguments and options of several commands, and their values."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app.cli.console import Context
from longview.app.errors import BadRequest
from longview.core.time_format import format_spans, format_time
from longview.core.time_text import parse_time
from longview.core.timeline import Span

if TYPE_CHECKING:
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)

VideoArgument = Annotated[str, typer.Argument(metavar="VIDEO", help="Title, id or file of a video; a new file is indexed first.")]
ExistingVideo = Annotated[str, typer.Argument(metavar="VIDEO", help="Title, id or file of a video.")]
ContextTokens = Annotated[
    int | None, typer.Option(min=1, help="Maximum context (prompt and reply), in tokens.", show_default=False)
]
Start = Annotated[str | None, typer.Option(help="Start time: 75, 1:15 or 1:02:03.", show_default=False)]
End = Annotated[str | None, typer.Option(help="End time.", show_default=False)]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; by default named after the video.", show_default=False)
]


def parse_seconds(text: str | None) -> float | None:
    """Parse a time as users write it (`1:23`, `83`) into seconds; text that is not a time is a usage error."""
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def ordered_span(start_s: float | None, end_s: float | None) -> Span:
    """Return the span from one time to a later one."""
    assert start_s is not None and end_s is not None
    if not 0 <= start_s < end_s:
        raise BadRequest(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s)}).")
    return Span(start_s, end_s)


def span_text(span: Span) -> str:
    """Return a span as text for the text output."""
    return f"{format_time(span.start_s)} – {format_time(span.end_s)}"


def warn_if_incomplete(entry: "VideoEntry") -> None:
    """Warn if the captions may not cover all of a video."""
    track = entry.track("captions")
    if track is None or track.status != "complete":
        return
    if track.uncovered:
        log.warning("Captions may be incomplete from %s.", format_spans(*track.uncovered))
    if track.span.duration_s < entry.duration_s - 0.1:
        log.warning(
            "Only %s was captioned; index the video again without --start and --end to caption all of it.", span_text(track.span)
        )


def resolve_video(context: Context, reference: str) -> "VideoEntry":
    """Return the video that a reference names; index a new file first."""
    return context.follow(context.app.get_or_index(reference))
