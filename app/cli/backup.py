"""The commands that find moved video files, back a library up, and restore it."""

from pathlib import Path
from typing import Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.maintenance.backup import backup as write_backup
from longview.app.maintenance.restore import restore as restore_backup
from longview.app.streams import Stream
from longview.app.text.counts import count_text
from longview.app.text.local_time import moment_text


@command("json")
def backup(
    context: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New zip file to write.")],
    originals: Annotated[
        bool, typer.Option("--originals", help="Also back up all video files; uploads are in every back-up.")
    ] = False,
) -> None:
    """Write the library into one file, also while it is in use, and read it back.

    Example: longview backup /media/disk/library.zip --originals
    """
    folder = context.settings.library.expanduser().resolve()
    report = context.follow(Stream(lambda progress: write_backup(folder, file, with_originals=originals, progress=progress)))
    manifest = report.manifest
    lines = [
        f"{report.path}: {count_text(manifest.video_count, 'video')}, {count_text(manifest.segment_count, 'segment')} and "
        f"{count_text(len(manifest.members) - 1, 'video file')}, {report.size_bytes / 1e6:.1f} MB; read back and compared.",
        *(f"{entry.video_id}  {entry.title}: {entry.path} is missing or was changed" for entry in report.missing),
    ]
    if report.missing:
        lines.append("These video files are not in the back-up; if they were moved, see `longview relink`.")
    context.print_result(schemas.BackupDocument.of(report), "\n".join(map(printable, lines)))
    if report.missing:
        raise typer.Exit(1)


@command("json")
def restore(
    context: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `longview backup` has written.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Restore into an existing library; its database is kept under another name.")
    ] = False,
) -> None:
    """Restore a library from a back-up into a new or empty folder, or in the place of another one.

    Example: longview restore /media/disk/library.zip --library ~/restored
    """
    folder = context.settings.library.expanduser().resolve()
    report = context.follow(Stream(lambda progress: restore_backup(file, folder, replace=replace, progress=progress)))
    manifest = report.manifest
    created_at = moment_text(manifest.created_at)
    lines = [
        f"{report.library} has the library of {created_at} again: {count_text(manifest.video_count, 'video')}, "
        f"{count_text(manifest.segment_count, 'segment')}; {count_text(report.restored_files, 'video file')} written."
    ]
    if report.kept:
        lines.append(f"The database that was there before is kept as {report.kept}.")
    lines += [f"{entry.video_id}  {entry.title}: {entry.path} is missing or was changed" for entry in report.missing]
    if report.missing:
        lines.append("What was found in these videos is searchable; `longview relink FOLDER` finds files that were moved.")
    context.print_result(schemas.RestoreDocument.of(report), "\n".join(map(printable, lines)))


@command("json")
def relink(
    context: Context, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder where the video files are now.")]
) -> None:
    """Find moved and renamed video files by their content, and set their paths.

    Example: longview relink ~/Videos
    """
    report = context.follow(context.app.relink(folder))
    lines = [f"{item.entry.video_id}  {item.entry.title}: {item.entry.path} is now {item.path}" for item in report.found]
    lines += [f"{entry.video_id}  {entry.title}: {entry.path} is still missing" for entry in report.missing]
    if report.unreadable:
        lines.append(f"{count_text(len(report.unreadable), 'file')} could not be read, such as {report.unreadable[0]}.")
    if not report.found and not report.missing:
        lines.append("No file was missing.")
    document = schemas.RelinkDocument.of(report)
    context.print_result(document, "\n".join(map(printable, lines)))
    if report.missing:
        raise typer.Exit(1)
