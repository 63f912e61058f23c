"""The state of a job as text, for the command line and the page."""

import re
from collections.abc import Sequence
from pathlib import Path

from longview.app.ingest.options import RUN_SETTINGS
from longview.app.settings import RENAMED
from longview.app.text.counts import count_text
from longview.core.time_format import format_time
from longview.indexing.records.job import QueuedJob

NOT_UTF8 = re.compile("[\ud800-\udfff]")
MAX_REFUSED = 3
"""Maximum number of files of a folder whose reasons are stated; further ones are counted."""


def refused_text(refused: Sequence[tuple[Path, Exception]]) -> str:
    """Return which files of a folder were not added to the queue, and why those at the beginning were not."""
    reasons = [printable(named_reason(path.name, error)) for path, error in refused[:MAX_REFUSED]]
    more = [f"… and {len(refused) - MAX_REFUSED:,} more"] if len(refused) > MAX_REFUSED else []
    verb = "was" if len(refused) == 1 else "were"
    return "\n".join([f"{count_text(len(refused), 'file')} {verb} not added:", *reasons, *more])


def named_reason(name: str, error: Exception | str) -> str:
    """Return why something is wrong with a file, with the name of the file once."""
    reason = str(error)
    return reason if reason.startswith(name) else f"{name}: {reason}"


def printable(text: str) -> str:
    """Return a text with replacement characters for the bytes of a file's name that are not UTF-8."""
    return NOT_UTF8.sub("\N{REPLACEMENT CHARACTER}", text)


def job_text(job: QueuedJob) -> str:
    """Return a job as one line: its number, state, title, and the reason of its state."""
    return f"{job.job_id:>4}  {state_text(job)}  {job.title}  {detail_text(job)}".rstrip()


def job_title(job: QueuedJob) -> str:
    """Return what a job does."""
    return f"Captioning {job.title} again" if job.options == {"sources": ["captions"]} else f"Indexing {job.title}"


def state_text(job: QueuedJob) -> str:
    """Return the state of a job, with its percentage while it runs."""
    return f"{job.status} {job.fraction:.0%}" if job.status == "running" else job.status


def detail_text(job: QueuedJob) -> str:
    """Return what is to be said of the state of a job: stage and remaining time, or why it waits, failed or is paused."""
    if job.status == "running":
        # The remaining time in full seconds.
        remaining = f"{format_time(job.seconds_left)[:-2]} left" if job.seconds_left is not None else ""
        request = {"pause": "is being paused", "cancel": "is being cancelled"}.get(job.request, "")
        return " · ".join(filter(None, (job.stage, remaining, request)))
    needed, chosen = "", ""
    if job.is_unfinished:
        # Any process gives a job its run settings; the others have to be those of the process.
        others = {RENAMED.get(name, name): value for name, value in job.settings.items() if name not in RUN_SETTINGS}
        own = {name: value for name, value in job.settings.items() if name in RUN_SETTINGS}
        needed = "needs the settings " + ", ".join(f"{name}={value}" for name, value in others.items()) if others else ""
        chosen = "with " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in own.items()) if own else ""
    attempts = f"tried {job.attempts} times" if job.status == "failed" and job.attempts > 1 else ""
    reason = job.reason
    if job.status == "waiting" and job.attempts:
        # What is known of its last run, which may have been killed.
        reason = f"the last run: {reason}" if reason else "a run was interrupted; the next one resumes there"
    return " · ".join(filter(None, (reason, attempts, needed, chosen)))
