"""The command that adds videos to the library: files, folders, and folders that are followed."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command, stop
from longview.app.cli.output import printable, write_err, write_out
from longview.app.cli.params import ContextTokens, End, Start, parse_seconds
from longview.app.errors import EXPECTED_ERRORS, BadRequest, JobStopped, NoSpace
from longview.app.ingest.indexer import IndexResult
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.outcomes import source_text
from longview.app.jobs.folder_watch import FolderWatch, left_out_text, media_files
from longview.app.jobs.text import named_reason
from longview.app.text.damage import damage_of
from longview.core.progress import Cancelled
from longview.core.sources import source_label
from longview.core.time_format import format_time
from longview.indexing.errors import LibraryUnusable
from longview.indexing.records.job import BATCH, PERSON, QueuedJob
from longview.video.probing.guard import MEDIA_SUFFIXES

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

WATCH_POLL_S = 2.0
"""Interval at which the folders of `--watch` are looked at, in seconds."""
STOPPED_INDEX = "Stopped. What was done is kept, and what is left is paused in the queue: run the same command to resume."
STOPPED_WATCH = "Stopped. The folders are no longer followed; what was done is kept; run the same command to resume."

Sources = Annotated[
    str | None,
    typer.Option(help="Only these sources, separated by commas: subtitles, speech, screen_text, captions.", show_default=False),
]


@command("json", "model", "decoding", "index-checks", "speech", "screen-text", "transcript")
def index(  # noqa: PLR0913 (a parameter for each option of the command)
    context: Context,
    paths: Annotated[list[Path], typer.Argument(help="Video or audio files, or folders of them.")],
    sources: Sources = None,
    start: Start = None,
    end: End = None,
    context_tokens: ContextTokens = None,
    accepts_long: Annotated[
        bool, typer.Option("--yes", "-y", help="Caption even if it takes longer than ten minutes; otherwise a terminal is asked.")
    ] = False,
    is_watching: Annotated[
        bool, typer.Option("--watch", help="Follow the folders: index what is new or has changed there, until Ctrl-C.")
    ] = False,
) -> None:
    """Read subtitles, recognise speech, read the text on screen, caption the videos, and add all of it to the library.

    The files are added to the queue of the library. An interrupted run resumes where it stopped; see `longview jobs`.

    Example: longview index holiday.mp4
    """
    options = IndexOptions(
        start_s=parse_seconds(start),
        end_s=parse_seconds(end),
        sources=None if sources is None else tuple(name.strip() for name in sources.split(",") if name.strip()),
        context_tokens=context_tokens,
        # This process ends after the last file, so no question will need the sessions.
        keep_sessions=False,
        accepts_long=accepts_long,
    )
    if options.sources == ():
        raise BadRequest("--sources names no source; choose from subtitles, speech, screen_text and captions.")
    try:
        if is_watching:
            _watch(context, paths, options)
        else:
            _index_files(context, paths, options)
    except (KeyboardInterrupt, Cancelled):
        context.pause_jobs()
        stop(as_json=context.as_json, message=STOPPED_WATCH if is_watching else STOPPED_INDEX)


def _add_files(context: Context, paths: Sequence[Path], options: IndexOptions) -> Iterator[tuple[Path, QueuedJob | Exception]]:
    """Add files and the media files of folders to the queue; yield each with its job, or with the error that prevents it."""
    for path in paths:
        try:
            # Files of a folder give way to one that a person names.
            is_folder = _is_folder(path)
            files = [file for file, _ in media_files(path.resolve())] if is_folder else [path]
            left_out_files = left_out_text(path.resolve()) if is_folder else ""
            if not files:
                suffixes = " ".join(MEDIA_SUFFIXES)
                reason = (
                    f"that can be indexed. {left_out_files}" if left_out_files else f"; their names end with one of {suffixes}."
                )
                raise BadRequest(f"{path} has no video or audio files{'' if reason[0] == ';' else ' '}{reason}")
            if left_out_files:
                write_err(printable(left_out_files))
        except EXPECTED_ERRORS as error:
            yield path, error
            continue
        for file in files:
            try:
                yield file, context.app.jobs.add(file, options, priority=BATCH if is_folder else PERSON, is_own=True)
            except EXPECTED_ERRORS as error:
                yield file, error


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        # No file can have this name.
        return False


def _index_files(context: Context, paths: Sequence[Path], options: IndexOptions) -> None:
    """Add all files to the queue first, so that none is lost, and index them one after another."""
    documents: list[schemas.IndexedVideoOut | schemas.FailedVideoOut] = []
    lines: list[str] = []
    failures: list[Exception] = []
    files = list(_add_files(context, paths, options))
    for number, (path, job) in enumerate(files, start=1):
        try:
            if isinstance(job, Exception):
                raise job
            if len(files) > 1:
                write_err(printable(f"Indexing {path} ({number} of {len(files)})"))
            result = _index_file(context, job, options)
        except EXPECTED_ERRORS as error:
            failures.append(error)
            documents.append(schemas.FailedVideoOut(path=str(path), error=schemas.ErrorOut.of(error)))
            lines.append(str(error) if isinstance(error, JobStopped) else f"failed: {error}")
            continue
        _print_notice(context, result)
        failures += [report.error for report in result.failures if report.error]
        documents.append(schemas.IndexedVideoOut.of(result))
        lines += index_lines(result)
    if len(documents) == 1 and isinstance(documents[0], schemas.FailedVideoOut):
        raise failures[0]
    context.print_result(schemas.IndexDocument(videos=documents, notice=context.app.notice), "\n".join(lines))
    if failures:
        raise typer.Exit(1)


def _print_notice(context: Context, result: IndexResult) -> None:
    """Print the notice of the checkpoint if it has looked at a video; words do not depend on it."""
    captions = result.report("captions")
    if captions and captions.status in ("indexed", "declined") and result.entry.has_frames:
        context.print_notice()


def _index_file(context: Context, job: QueuedJob, options: IndexOptions) -> IndexResult:
    """Run the job of a file. If its captions would take long, ask on a terminal, and make them if the user agrees.

    All other sources have been run by then, and are kept.
    """
    result = context.follow(context.app.run_job(job))
    captions = result.report("captions")
    seconds = captions.estimated_seconds if captions and captions.status == "skipped" else None
    if seconds is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return result
    question = f"{job.path.name}: captioning takes about {format_time(seconds)} on this machine. Start it now?"
    try:
        if not typer.confirm(question, default=False, err=True):
            return result
    except typer.Abort:
        # What was found so far is reported in any case.
        return result
    outcome = context.follow(context.app.index(job.path, replace(options, sources=("captions",))))
    others = [report for report in result.reports if report.source != "captions"]
    return replace(outcome, reports=(*others, *outcome.reports))


def _watch(context: Context, paths: Sequence[Path], options: IndexOptions) -> NoReturn:
    """Follow folders until the user stops it: add what is new or has changed to the queue, and index what waits of it."""
    if context.as_json:
        raise BadRequest("--watch has no end, so it prints no document; `longview jobs --json` shows the state of the queue.")
    folders = [path.resolve() for path in paths]
    for path in folders:
        if not path.is_dir():
            raise BadRequest(f"{path} is not a folder; --watch follows folders.")
    watch = FolderWatch(folders, rest_s=context.settings.watch_rest_s)
    write_err(f"Following {', '.join(map(str, folders))}; Ctrl-C ends it.")
    last_notices: set[str] = set()
    while True:
        try:
            _add_changes(context, watch, options)
            job = context.app.jobs.claim_next(within=folders)
        except (LibraryUnusable, NoSpace) as error:
            # A full disk or a busy library: the next look tries again. Each reason is stated once.
            if str(error) not in last_notices:
                write_err(printable(str(error)))
            last_notices.add(str(error))
            job = None
        if job is None:
            time.sleep(WATCH_POLL_S)
            continue
        last_notices.clear()
        write_err(printable(f"Indexing {job.path}"))
        try:
            result = context.follow(context.app.run_job(job))
        except EXPECTED_ERRORS as error:
            write_err(printable(named_reason(job.title, error)))
        else:
            _print_notice(context, result)
            write_out("\n".join(index_lines(result)) + "\n")


def _add_changes(context: Context, watch: FolderWatch, options: IndexOptions) -> None:
    """Look at the folders, and add what is new or has changed to the queue.

    Raises:
        LibraryUnusable, NoSpace: the library cannot be written; what is left is found by the next look.
    """
    changes = watch.look()
    for folder in changes.unreachable:
        write_err(printable(f"{folder} cannot be read now; it is looked at again."))
    for path in changes.gone:
        write_err(printable(f"{path} is gone; what is known of it stays in the library."))
    for path in changes.complete:
        try:
            if not context.app.jobs.is_up_to_date(path, options):
                context.app.jobs.add(path, options, priority=BATCH)
        except (LibraryUnusable, NoSpace):
            raise
        except (OSError, *EXPECTED_ERRORS) as error:
            write_err(printable(named_reason(str(path), error)))
        watch.mark_done(path)


def index_lines(result: IndexResult) -> Iterator[str]:
    """Yield one line about a file that was indexed, and one about each source."""
    entry = result.entry
    yield f"{entry.video_id}  {format_time(entry.duration_s)}  {printable(str(entry.path))}"
    for report in result.reports:
        # A reason may have the name of a file, or a line of one.
        yield f"  {source_label(report.source):11}  {printable(source_text(report, entry))}"
    if damage := damage_of(entry):
        yield f"  {'damaged':11}  {damage.text}"
