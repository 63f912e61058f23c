"""The verbs that write files: exports, cuts and contact sheets."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from longview.app.cli.console import Context, command
from longview.app.cli.params import (
    ExistingVideo,
    Output,
    VideoArgument,
    ordered_span,
    parse_seconds,
    resolve_video,
    span_row,
    span_text,
    warn_if_incomplete,
)
from longview.app.errors import BadRequest
from longview.indexing.exports import ExportFormat
from longview.video.atomic import atomic_write
from longview.video.time_text import format_time

log = logging.getLogger(__name__)


@command
def export(
    call: Context,
    video: VideoArgument,
    format: Annotated[ExportFormat, typer.Option(help="The format.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; by default stdout.", show_default=False)
    ] = None,
) -> None:
    """Export a video's captions as subtitles or a table."""
    entry = resolve_video(call, video)
    text = call.app.export(entry, format)
    warn_if_incomplete(entry)
    if output is None:
        call.print_result({"video_id": entry.video_id, "format": format, "content": text}, text.rstrip("\n"))
        return
    target = output.expanduser()
    if target.exists() and target.suffix.lower() != f".{format}":
        raise BadRequest(
            f"{output} exists and is no {format} file; it was not overwritten. Choose another name, or end it in .{format}."
        )
    try:
        with atomic_write(target) as partial:
            partial.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}.") from error
    call.print_result({"video_id": entry.video_id, "format": format, "path": str(output)}, f"Wrote {output}.")


@command
def cut(
    call: Context,
    video: ExistingVideo,
    start: Annotated[str, typer.Option(help="Begin here: 75, 1:15, 1:02:03.")],
    end: Annotated[str, typer.Option(help="Stop here.")],
    reencode: Annotated[bool, typer.Option("--reencode", help="Cut exactly, by encoding anew.")] = False,
    output: Output = None,
) -> None:
    """Cut a part out into a file of its own. Without --reencode it begins with the key frame before."""
    asked_s = parse_seconds(start)
    span = ordered_span(asked_s, parse_seconds(end))
    done = call.app.media.cut(resolve_video(call, video), span, output, reencode=reencode)
    earlier_s = span.start_s - done.span.start_s
    said = f" (begins {earlier_s:.1f} s early, with a key frame; --reencode cuts exactly)" if earlier_s > 0.05 else ""
    document = {"path": str(done.path), "reencoded": reencode, "asked": span_row(span)} | span_row(done.span)
    call.print_result(document, f"Wrote {done.path}: {span_text(done.span)}{said}.")


@command
def sheet(
    call: Context,
    video: ExistingVideo,
    columns: Annotated[int, typer.Option(min=1, max=20, help="Pictures in a row.")] = 4,
    rows: Annotated[int, typer.Option(min=1, max=20, help="Rows.")] = 4,
    output: Output = None,
) -> None:
    """Write a contact sheet: one picture with thumbnails from the whole video and their times."""
    path, times_s, lost_s = call.app.media.contact_sheet(resolve_video(call, video), output, columns=columns, rows=rows)
    if lost_s:
        log.warning("Pictures could not be read at %s.", ", ".join(map(format_time, lost_s)))
    document = {"path": str(path), "times_s": [round(time_s, 3) for time_s in times_s]}
    call.print_result(document | {"unreadable_s": [round(time_s, 3) for time_s in lost_s]}, f"Wrote {path}.")
