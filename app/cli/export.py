"""The commands that write files: exports, cuts and contact sheets."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.params import (
    ExistingVideo,
    Output,
    VideoArgument,
    ordered_span,
    parse_seconds,
    resolve_video,
    span_text,
    warn_if_incomplete,
)
from longview.app.errors import BadRequest
from longview.app.files.download_names import export_name
from longview.core.atomic import atomic_write
from longview.core.sources import sources_by_precedence
from longview.core.time_format import format_time
from longview.indexing.exports import FORMATS

if TYPE_CHECKING:
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)

MAX_UNMENTIONED_S = 0.05
"""Maximum time by which a cut may begin early without a note, in seconds."""


_WORD_FORMATS = [item.name for item in FORMATS.values() if item.holds_word_times]


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, FORMATS))}.")
    return name


@command("json", "model", "decoding")
def export(  # noqa: PLR0913 (a parameter for each option of the command)
    context: Context,
    video: VideoArgument,
    format: Annotated[str, typer.Option(help="File format.", metavar="|".join(FORMATS), callback=_known_format)],
    source: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(sources_by_precedence())}; several are separated by commas.", show_default=False),
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Only segments in this language, such as en.", show_default=False)
    ] = None,
    word_times: Annotated[
        bool, typer.Option("--word-times", help=f"Write the times of words ({', '.join(_WORD_FORMATS)}).")
    ] = False,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Number of the only track, current or earlier; see `longview versions`.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, or a folder; by default stdout.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Export captions, subtitles, speech or screen text of a video; by default the first of these that it has.

    Example: longview export 3f2a --format srt -o holiday.srt
    """
    entry = resolve_video(context, video)
    if version is None:
        sources = _sources_of(entry, source)
        text = context.app.export(entry, format, sources, language=language, word_times=word_times)
    else:
        if source is not None:
            raise BadRequest("--version names one track, which has one source; leave out --source.")
        track_version = context.app.version(entry, version)
        sources = [track_version.track.source]
        text = context.app.export_version(entry, format, track_version, language=language, word_times=word_times)
        entry = replace(entry, tracks=(track_version.track,))
    if "captions" in sources:
        warn_if_incomplete(entry)
    if output is None:
        document = schemas.ExportDocument(video_id=entry.video_id, format=format, sources=sources, version=version, content=text)
        context.print_result(document, text.rstrip("\n"))
        return
    target = output.expanduser()
    try:
        if target.is_dir():
            output = target = target / export_name(entry, sources, format, language=language, version=version)
            if target.exists():
                # It may be of another video with the same title.
                raise BadRequest(f"{target} already exists and was not overwritten; name the file with --output.")
        if target.exists() and target.suffix.lower() != FORMATS[format].suffix:
            raise BadRequest(
                f"{output} exists and is not a {FORMATS[format].suffix} file, so it was not overwritten; "
                f"choose a new name, or one in {FORMATS[format].suffix}."
            )
        with atomic_write(target) as partial:
            partial.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}.") from error
    document = schemas.ExportDocument(video_id=entry.video_id, format=format, sources=sources, version=version, path=str(output))
    context.print_result(document, f"Wrote {output}.")


def _sources_of(entry: "VideoEntry", choice: str | None) -> list[str]:
    """Return the sources that are exported: those of the user, else the first that the video has."""
    if choice is None:
        return [name for name in sources_by_precedence() if (track := entry.track(name)) and track.segment_count][:1]
    # Users read the label, such as “screen text”.
    names = [name.strip().replace(" ", "_") for name in choice.split(",")]
    for name in names:
        if name not in sources_by_precedence():
            raise BadRequest(f"There is no source {name!r}; choose from {', '.join(sources_by_precedence())}.")
    return names


@command("json", "backend")
def cut(
    context: Context,
    video: ExistingVideo,
    start: Annotated[str, typer.Option(help="Start time: 75, 1:15 or 1:02:03.")],
    end: Annotated[str, typer.Option(help="End time.")],
    reencode: Annotated[bool, typer.Option("--reencode", help="Cut exactly at the given times, by re-encoding.")] = False,
    output: Output = None,
) -> None:
    """Cut out a part of a video, starting at a key frame.

    Example: longview cut 3f2a --start 0:10 --end 0:20
    """
    span = ordered_span(parse_seconds(start), parse_seconds(end))
    result = context.app.cut(video, span, output, reencode=reencode)
    early_s = span.start_s - result.span.start_s
    note = f" (begins {early_s:.1f} s early, at a key frame; --reencode cuts exactly)" if early_s > MAX_UNMENTIONED_S else ""
    document = schemas.CutDocument(
        **schemas.SpanOut.fields_of(result.span), path=str(result.path), reencoded=reencode, requested=schemas.SpanOut.of(span)
    )
    context.print_result(document, f"Wrote {result.path}: {span_text(result.span)}{note}.")


@command("json", "backend")
def contact_sheet(
    context: Context,
    video: ExistingVideo,
    columns: Annotated[int, typer.Option(min=1, max=20, help="Thumbnails per row.")] = 4,
    rows: Annotated[int, typer.Option(min=1, max=20, help="Number of rows.")] = 4,
    output: Output = None,
) -> None:
    """Write an image of thumbnails with their times.

    Example: longview contact-sheet 3f2a
    """
    sheet = context.app.contact_sheet(video, output, columns=columns, rows=rows)
    if sheet.undecodable_s:
        log.warning("Frames could not be decoded at %s.", ", ".join(map(format_time, sheet.undecodable_s)))
    document = schemas.ContactSheetDocument(
        path=str(sheet.path),
        times_s=[round(time_s, 3) for time_s in sheet.times_s],
        undecodable_s=[round(time_s, 3) for time_s in sheet.undecodable_s],
    )
    context.print_result(document, f"Wrote {sheet.path}.")
