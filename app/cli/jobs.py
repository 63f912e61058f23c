"""The command that lists the queue of files to index, with subcommands that cancel, pause, retry, move and watch its jobs."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command, command_with_subcommands
from longview.app.cli.output import printable, write_err
from longview.app.jobs.text import job_text
from longview.app.text.damage import damage_of
from longview.indexing.records.job import QueuedJob

WATCH_POLL_S = 1.0
"""Interval at which `jobs watch` looks at the queue, in seconds."""

JobNumbers = Annotated[list[int] | None, typer.Argument(metavar="[JOB...]", help="Numbers of jobs.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All jobs to which it applies.")]


@command_with_subcommands("json")
def jobs(
    context: Context,
    shows_ended: Annotated[bool, typer.Option("--ended", help="List also the jobs that are done or were cancelled.")] = False,
) -> None:
    """List the queue of files to index: what runs, how long it takes, what waits, and what failed and why.

    `longview serve` runs whatever waits, and `longview index` its own files. The subcommands change the queue.

    Example: longview jobs
    """
    _print(context, [job for job in context.app.jobs.all() if shows_ended or job.status not in ("done", "cancelled")])


@command("json", parent=jobs)
def cancel(context: Context, numbers: JobNumbers = None, is_all: All = False) -> None:
    """Cancel jobs. What was found so far stays in the library.

    Example: longview jobs cancel 3
    """
    _change(context, numbers, is_all, context.app.jobs.cancel, ("waiting", "running", "paused", "failed"))


@command("json", parent=jobs)
def pause(context: Context, numbers: JobNumbers = None, is_all: All = False) -> None:
    """Pause jobs; `longview jobs retry` resumes them where they stopped.

    Example: longview jobs pause --all
    """
    _change(context, numbers, is_all, context.app.jobs.pause, ("waiting", "running"))


@command("json", parent=jobs)
def retry(context: Context, numbers: JobNumbers = None, is_all: All = False) -> None:
    """Let jobs that are paused, have failed or were cancelled wait for their turn again; --all: all but the cancelled ones.

    Example: longview jobs retry 3
    """
    retried_jobs = _change(context, numbers, is_all, context.app.jobs.retry, ("paused", "failed"))
    if any(job.status == "waiting" for job in retried_jobs):
        write_err("They wait until `longview serve` runs for this library, or `longview index` of their files.")


@command("json", parent=jobs)
def first(context: Context, number: Annotated[int, typer.Argument(metavar="JOB", help="Number of a job.")]) -> None:
    """Let a job run before all others that wait.

    Example: longview jobs first 3
    """
    job = context.app.jobs.move_first(number)
    if job.status not in ("waiting", "paused"):
        write_err(f"Nothing was changed: the job {number} is {job.status}.")
    _print(context, [job])


@command("json", parent=jobs)
def watch(context: Context) -> None:
    """Show the progress of the queue on stderr until no job waits or runs, then list it.

    Example: longview jobs watch
    """
    last_texts: dict[int, str] = {}
    while True:
        queue = context.app.jobs.all()
        for job in queue:
            text = job_text(job)
            # Do not report jobs that ended before the command started.
            if text != last_texts.get(job.job_id) and (job.is_unfinished or job.job_id in last_texts):
                last_texts[job.job_id] = text
                write_err(printable(text))
        if not any(job.status in ("waiting", "running") for job in queue):
            break
        time.sleep(WATCH_POLL_S)
    _print(context, [job for job in queue if job.job_id in last_texts or job.status in ("paused", "failed")])


def _change(
    context: Context, numbers: Sequence[int] | None, is_all: bool, change: Callable[[int], QueuedJob], statuses: Sequence[str]
) -> list[QueuedJob]:
    """Change the jobs with these numbers, or all that are in one of some states; print and return them."""
    if not numbers and not is_all:
        raise typer.BadParameter("name the jobs by their numbers, or add --all; `longview jobs` lists them.")
    if numbers and is_all:
        raise typer.BadParameter("name the jobs by their numbers, or add --all, and not both.")
    queue = context.app.jobs
    if is_all:
        numbers = [job.job_id for job in queue.all() if job.status in statuses]
    changed_jobs = []
    for number in numbers or ():
        before = queue.job(number)
        changed_jobs.append(change(number))
        if (before.status, before.request) == (changed_jobs[-1].status, changed_jobs[-1].request):
            write_err(f"Nothing was changed: the job {number} is {before.status}.")
    _print(context, changed_jobs)
    return changed_jobs


def _print(context: Context, jobs: Sequence[QueuedJob]) -> None:
    damages = _damages(context, jobs)
    lines = []
    for job in jobs:
        lines.append(job_text(job))
        damage = damages.get(job.job_id)
        # The outcome of a finished job already says so.
        if damage and damage not in job.reason:
            lines.append(f"{'':6}damaged: {damage}")
    context.print_result(
        schemas.JobsDocument(jobs=[schemas.JobOut.of(job, damages.get(job.job_id, "")) for job in jobs]),
        "\n".join(map(printable, lines)) or "No file waits to be indexed, and none failed.",
    )


def _damages(context: Context, jobs: Sequence[QueuedJob]) -> dict[int, str]:
    """Return what could not be decoded of the files of jobs, by the numbers of the jobs."""
    texts = {entry.content_hash: damage.text for entry in context.app.videos() if (damage := damage_of(entry))} if jobs else {}
    return {job.job_id: texts[job.content_hash] for job in jobs if job.content_hash in texts}
