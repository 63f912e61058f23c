"""The verbs that show the library and the versions of tracks, and that remove videos and bring them back."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.cli.params import ExistingVideo
from longview.app.reports import contents_text, count_text, source_label
from longview.video.time_text import format_time

if TYPE_CHECKING:
    from longview.app.service import TrackVersion


@command("json", "model")
def list_(context: Context) -> None:
    """Show the videos of the library.

    Example: longview list
    """
    entries = context.app.videos()
    sizes = context.app.video_bytes(entries)
    rows, lines = [], []
    for entry in entries:
        size = sizes[entry.video_id]
        rows.append(schemas.VideoOut.of(entry, is_outdated=context.app.is_outdated(entry), sizes=size))
        lines.append(f"{entry.video_id}  {format_time(entry.duration_s):>10}  {printable(entry.title)}  [{contents_text(entry)}]")
        if size.original is None:
            lines.append(f"{'':14}file missing: longview relink FOLDER finds it again")
        if offer := context.app.caption_offer(entry):
            lines.append(printable(f"{'':14}{offer.advice}"))
    context.print_result(
        schemas.ListDocument(videos=rows), "\n".join(lines) or "The library is empty; add a video with `longview index FILE`."
    )


@command("json")
def versions(context: Context, video: ExistingVideo) -> None:
    """Show what made the tracks of a video: those that are searched, and earlier ones, which `export --version` writes.

    Example: longview versions 3f2a
    """
    entry = context.app.video(video)
    track_versions = context.app.versions(entry)
    rows = [schemas.VersionOut.of(item) for item in track_versions]
    document = schemas.VersionsDocument(video_id=entry.video_id, versions=rows)
    context.print_result(document, "\n".join(map(_version_line, track_versions)))


def _version_line(version: "TrackVersion") -> str:
    from longview.app.sources import SOURCES
    from longview.indexing.provenance_text import describe_maker

    track = version.track
    state = "current" if version.is_current else "earlier"
    if not track.is_complete:
        state += f", {track.status}"
    contents = count_text(track.segment_count, SOURCES[track.source].segment_noun)
    line = f"{source_label(track.source):11}  {describe_maker(track, is_detailed=True)}; {contents}; {state}"
    return f"{version.number:>4}  {printable(line)}"


@command("json")
def remove(
    context: Context,
    video: Annotated[
        str | None,
        typer.Argument(metavar="VIDEO", help="Video id, unique id prefix, or file path; without it, --undo takes the last one."),
    ] = None,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Bring back a video that was removed in the last 24 hours."),
    ] = False,
) -> None:
    """Remove a video from the library, or bring it back within 24 hours; its file stays.

    Example: longview remove 3f2a
    """
    from longview.app.housekeeping import purge_expired

    purge_expired(context.app.library)
    if undo:
        _undo(context, video)
        return
    if video is None:
        raise typer.BadParameter("Name the video to remove; `longview list` shows all videos.")
    removal = context.app.remove(context.app.video(video))
    context.print_result(schemas.RemoveDocument.of(removal), printable(f"{removal.text} {removal.undo_advice}"))


def _undo(context: Context, reference: str | None) -> None:
    entry = context.app.undo_removal(reference)
    is_missing = context.app.video_bytes([entry])[entry.video_id].original is None
    text = f"{entry.title} ({entry.video_id}) is in the library again, with all that was found in it."
    if any(track.status == "incomplete" for track in entry.tracks):
        text += f" Not all of it was indexed; `longview index {shlex.quote(str(entry.path))}` goes on."
    if is_missing:
        text += f" Its file is no longer at {entry.path}; `longview relink FOLDER` finds it if it was moved."
    context.print_result(
        schemas.UndoRemovalDocument(video_id=entry.video_id, path=str(entry.path), missing=is_missing), printable(text)
    )
