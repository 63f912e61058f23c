"""The commands that show the library, a video and the versions of its tracks, and that rename and remove videos."""

import logging
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.cli.params import ExistingVideo
from longview.app.errors import EXPECTED_ERRORS
from longview.app.jobs.source_states import jobs_by_content
from longview.app.serving.sample_questions import sample_questions
from longview.app.text.contents import contents_text, segments_text, track_state_text
from longview.app.text.counts import count_text, size_text
from longview.app.text.damage import damage_of
from longview.core.sources import source_label
from longview.core.time_format import format_time

if TYPE_CHECKING:
    from longview.indexing.records.job import QueuedJob
    from longview.indexing.records.track import TrackVersion
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)

JOB_STATES = {"running": "being indexed now", "waiting": "waiting to be indexed", "paused": "indexing is paused"}
"""States of unfinished jobs, as shown in the text output."""
MAX_SHOWN_IDS = 5
"""Maximum number of other videos of the same title whose ids are shown."""


@command("json", "model")
def list_(context: Context) -> None:
    """Show the videos of the library.

    Example: longview list
    """
    entries = context.app.videos()
    sizes, jobs = context.app.disk_usage(entries), jobs_by_content(context.app.jobs.all(ended_limit=0))
    rows, lines, captions_footage = [], [], context.app.captions_footage
    for entry in entries:
        size, job = sizes[entry.video_id], jobs.get(entry.content_hash)
        is_outdated, questions = context.app.is_outdated(entry), sample_questions(context.app, entry)
        row = schemas.VideoOut.of(
            entry,
            is_outdated=is_outdated,
            sizes=size,
            captions_footage=captions_footage,
            job=job,
            example_questions=questions,
        )
        rows.append(row)
        length = format_time(entry.duration_s)
        lines.append(printable(f"{entry.video_id}  {length:>10}  {entry.title}  [{_contents(entry, job)}]"))
        if size.original is None:
            lines.append(f"{'':14}file missing: longview relink FOLDER finds it again")
        if damage := damage_of(entry):
            lines.append(f"{'':14}damaged: {damage.text}")
        if offer := context.app.caption_offer(entry):
            lines.append(printable(f"{'':14}{offer.advice}"))
    listed_hashes = {entry.content_hash for entry in entries}
    if count := sum(job.content_hash not in listed_hashes for job in context.app.jobs.unfinished()):
        lines.append(f"Not indexed yet: {count_text(count, 'file')}; `longview jobs` says how far they are.")
    context.print_result(
        schemas.ListDocument(videos=rows), "\n".join(lines) or "The library is empty; add a video with `longview index FILE`."
    )


def _contents(entry: "VideoEntry", job: "QueuedJob | None") -> str:
    """Return what the library has of a video, and the state of the job that indexes it."""
    return contents_text(entry) + (f"; {JOB_STATES[job.status]}" if job and job.is_unfinished else "")


@command("json", "model")
def info(context: Context, video: ExistingVideo) -> None:
    """Show one video: its file, what was found in it, and what can be done next.

    Example: longview info "Town meeting"
    """
    from longview.app.text.local_time import moment_text
    from longview.app.text.video_facts import next_steps, picture_text, track_text

    entry = context.app.video(video)
    size = context.app.disk_usage([entry])[entry.video_id]
    job = jobs_by_content(context.app.jobs.all(ended_limit=0)).get(entry.content_hash)
    questions, chapters = context.app.conversations.count(entry), _chapter_count(context, entry)
    steps = next_steps(entry, is_missing=size.original is None, is_unfinished=job is not None and job.is_unfinished)
    document = schemas.InfoDocument.of(
        entry,
        is_outdated=context.app.is_outdated(entry),
        sizes=size,
        captions_footage=context.app.captions_footage,
        job=job,
        chapters=chapters,
        questions=questions,
        example_questions=sample_questions(context.app, entry),
        next=list(steps),
    )
    rows = [
        ("id", entry.video_id),
        ("file", f"{entry.path}{'' if size.original is not None else ' (missing)'}"),
        ("length", format_time(entry.duration_s)),
        ("added", moment_text(entry.added_at)),
        ("size", size_text(size.original) if size.original is not None else "unknown"),
        ("picture", picture_text(entry)),
        *((source_label(track.source), track_text(track)) for track in entry.tracks),
        *([("job", JOB_STATES[job.status])] if job and job.is_unfinished else []),
        *([("damaged", damage.text)] if (damage := damage_of(entry)) else []),
        ("chapters", "unknown" if chapters is None else f"{chapters:,}"),
        ("questions", f"{questions:,}"),
        *[("next" if number == 0 else "", step) for number, step in enumerate(steps)],
    ]
    lines = [entry.title, *(f"  {name:12} {text}" for name, text in rows)]
    context.print_result(document, "\n".join(map(printable, lines)))


def _chapter_count(context: Context, entry: "VideoEntry") -> int | None:
    try:
        return len(context.app.chapters(entry).events)
    except EXPECTED_ERRORS as error:
        # All else is known without the sentence encoder.
        log.info("%s", error)
        return None


@command("json")
def rename(
    context: Context,
    video: ExistingVideo,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The new title, of at most 300 characters.")],
) -> None:
    """Give a video another title; its file keeps its name.

    Example: longview rename 3f2a "Town meeting, June 2026"
    """
    before = context.app.video(video)
    entry = context.app.rename(before, title)
    namesakes = context.app.namesakes(entry)
    document = schemas.RenameDocument(
        video_id=entry.video_id,
        path=str(entry.path),
        title=entry.title,
        old_title=before.title,
        namesakes=[name.video_id for name in namesakes],
    )
    text = f"“{before.title}” is now called “{entry.title}”."
    if namesakes:
        ids = ", ".join(name.video_id for name in namesakes[:MAX_SHOWN_IDS])
        text += f" Another video has this title, too ({ids}): name them by their ids, this one by {entry.video_id}."
    context.print_result(document, printable(text))


@command("json")
def versions(context: Context, video: ExistingVideo) -> None:
    """Show what made the tracks of a video: those that are searched, and earlier ones, which `export --version` writes.

    Example: longview versions 3f2a
    """
    entry = context.app.video(video)
    track_versions = context.app.versions(entry)
    document = schemas.VersionsDocument.of(entry.video_id, track_versions)
    context.print_result(document, "\n".join(map(_version_line, track_versions)))


def _version_line(version: "TrackVersion") -> str:
    from longview.indexing.records.provenance_text import describe_maker

    track = version.track
    state = "current" if version.is_current else "earlier"
    if state_text := track_state_text(track):
        state += f", {state_text}"
    contents = segments_text(track.source, track.segment_count)
    if track.status == "declined":
        contents = f"none, because {track.note}" if track.note else "none"
    line = f"{source_label(track.source):11}  {describe_maker(track)}; {contents}; {state}"
    return f"{version.number:>4}  {printable(line)}"


@command("json")
def remove(
    context: Context,
    video: Annotated[
        str | None,
        typer.Argument(metavar="VIDEO", help="Title, id or file of a video; without it, --undo takes the last one."),
    ] = None,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Bring back a video that was removed in the last 24 hours."),
    ] = False,
) -> None:
    """Remove a video from the library, or bring it back within 24 hours; its file stays.

    Example: longview remove 3f2a
    """
    from longview.app.maintenance.housekeeping import purge

    purge(context.app)
    if undo:
        _undo(context, video)
        return
    if video is None:
        raise typer.BadParameter("Name the video to remove; `longview list` shows all videos.")
    removal = context.app.remove(context.app.video(video))
    context.print_result(schemas.RemoveDocument.of(removal), printable(f"{removal.text} {removal.undo_advice}"))


def _undo(context: Context, reference: str | None) -> None:
    entry = context.app.removals.undo(reference)
    is_missing = context.app.disk_usage([entry])[entry.video_id].original is None
    text = f"{entry.title} ({entry.video_id}) is in the library again, with all that was found in it."
    if any(track.status == "incomplete" for track in entry.tracks):
        text += f" Not all of it was indexed; `longview index {shlex.quote(str(entry.path))}` resumes."
    if is_missing:
        text += f" Its file is no longer at {entry.path}; `longview relink FOLDER` finds it if it was moved."
    context.print_result(
        schemas.UndoRemovalDocument(video_id=entry.video_id, path=str(entry.path), missing=is_missing), printable(text)
    )
