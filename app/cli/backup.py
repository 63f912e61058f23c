"""The verbs that find moved video files, back a library up, and restore it."""

from pathlib import Path
from typing import Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.originals import relink as find_moved
from longview.app.reports import count_text
from longview.app.streams import Stream
from longview.indexing.library import Library


@command("json")
def relink(
    context: Context, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder where the video files are now.")]
) -> None:
    """Find moved and renamed video files by their content, and set their paths.

    Example: longview relink ~/Videos
    """
    library = Library(context.settings.library.expanduser().resolve())
    report = context.follow(Stream(lambda progress: find_moved(library, folder, context.settings.limits, progress)))
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
