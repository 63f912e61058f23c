"""The tab that lists the library, and adds and removes videos."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.files.disk_usage import missing_ids
from longview.app.jobs.text import job_title, named_reason, refused_text
from longview.app.qa.example_questions import examples_for
from longview.app.service import Longview
from longview.app.serving.workers import FolderAddition, Workers
from longview.indexing.records.video import VideoEntry
from longview.ui import render
from longview.ui.toasts import reports_errors, show_warning, toast
from longview.video.probing.guard import MEDIA_SUFFIXES

MAX_FOLLOWED_UPLOADS = 32
"""Maximum number of requests that follow their jobs at once. A further upload is added to the jobs when one of these ends."""
JOB_POLL_S = 0.5
"""Interval at which a page gets the progress of its job, in seconds."""


@dataclass(frozen=True)
class LibraryTab:
    """The components of the tab that other parts of the page update."""

    table: gr.HTML
    video_to_remove: gr.Dropdown
    remove: gr.Button


def library_tab(workers: Workers) -> LibraryTab:
    """Build the tab inside the current Gradio blocks."""
    with gr.Row():
        upload = gr.File(label="Upload videos or sound", file_types=list(MEDIA_SUFFIXES), type="filepath", file_count="multiple")
        with gr.Column():
            path = gr.Textbox(label="Or a file or folder on this machine", placeholder="/home/me/holiday.mp4")
            add = gr.Button("Index", variant="primary")
            accepts_long = gr.Checkbox(label="Caption even if it takes longer than ten minutes", value=False)
    table = gr.HTML()
    with gr.Row():
        video_to_remove = gr.Dropdown(label="Remove from the library (the file stays)", choices=[], value=None, interactive=True)
        remove = gr.Button("Remove", variant="stop")
    # For clients of the API; the page itself shows all jobs in its status line.
    result = gr.HTML(visible=False)
    indexed_video = gr.Textbox(visible=False)

    @reports_errors
    def on_add(text: str, accepts_long: bool = False) -> Iterator[tuple[str, str]]:
        if not text.strip():
            raise toast("The path is empty; enter the path of a video on this machine.")
        addition = _add(workers, text.strip(), accepts_long)
        refusal = refused_text(addition.refused) if addition.refused else ""
        if refusal and not addition.jobs:
            raise toast(refusal)
        if refusal:
            show_warning(refusal)
        for state, video_id in _follow_jobs(workers, [job.job_id for job in addition.jobs], []):
            yield (render.failure(refusal) if refusal else "") + state, video_id

    @reports_errors
    def on_upload(files: list[Any] | Any | None, accepts_long: bool = False) -> Iterator[tuple[Any, str, str]]:
        numbers, errors = [], []
        for file in files if isinstance(files, list) else [files] if files else []:
            path = Path(file["path"])
            try:
                job = workers.index(path, upload_name=path.name, accepts_long=accepts_long)
                numbers.append(job.job_id)
            except EXPECTED_ERRORS as error:
                errors.append(named_reason(path.name, error))
        # The drop zone is cleared at once, so that more files can be uploaded while these are indexed.
        yield None, "", ""
        for state in _follow_jobs(workers, numbers, errors):
            yield gr.skip(), *state

    adding = gr.on(
        [add.click, path.submit],
        on_add,
        [path, accepts_long],
        [result, indexed_video],
        api_name="index",
        trigger_mode="multiple",
        concurrency_limit=MAX_FOLLOWED_UPLOADS,
        show_progress="hidden",
    )
    uploading = upload.upload(
        on_upload,
        [upload, accepts_long],
        [upload, result, indexed_video],
        api_name="upload",
        # Gradio's own reading of uploads leaves an empty file of each. Which ones are allowed is checked where they come in.
        preprocess=False,
        trigger_mode="multiple",
        concurrency_limit=MAX_FOLLOWED_UPLOADS,
        show_progress="hidden",
    )
    for following in (adding, uploading):
        following.success(None, indexed_video, None, js="id => longviewIndexed(id)")
    return LibraryTab(table, video_to_remove, remove)


def _add(workers: Workers, text: str, accepts_long: bool) -> FolderAddition:
    """Add a file, or all videos of a folder, to the queue.

    Raises:
        As `Workers.index` and `Workers.index_folder`.
    """
    path, is_folder = Path(text), False
    # A path that no file can have, such as that of an unknown user, is refused with its reason as a file.
    with suppress(OSError, RuntimeError, ValueError):
        path = path.expanduser()
        is_folder = path.is_dir()
    if is_folder:
        return workers.index_folder(path, accepts_long=accepts_long)
    return FolderAddition([workers.index(path, accepts_long=accepts_long)])


def library_lists(app: Longview, selected_video: VideoEntry | None) -> list[Any]:
    """Render all lists of videos: the choices of the watch tab, those of the library tab, and the table.

    The last update is the placeholder of the search: a query that finds the selected video.
    """
    entries = app.videos()
    counts = Counter(entry.title for entry in entries)
    # Only videos of one title need their ids to be told apart.
    labels = [entry.title if counts[entry.title] == 1 else f"{entry.title} ({entry.video_id})" for entry in entries]
    choices = [(label, entry.video_id) for label, entry in zip(labels, entries, strict=True)]
    outdated_ids = frozenset(entry.video_id for entry in entries if app.caption_offer(entry))
    return [
        gr.update(choices=choices, value=selected_video.video_id if selected_video else None),
        gr.update(choices=choices, value=None),
        render.library_table(entries, outdated_ids, missing_ids(entries), app.removed_videos()),
        gr.update(placeholder=_example_search(app, selected_video)),
    ]


def _example_search(app: Longview, entry: VideoEntry | None) -> str:
    if entry is None:
        return ""
    segments = {track.source: app.segments(entry, track.source) for track in entry.tracks}
    example = examples_for(entry.duration_s, segments).search
    return f"For example: {example}" if example else ""


def _follow_jobs(workers: Workers, numbers: Sequence[int], errors: list[str]) -> Iterator[tuple[str, str]]:
    """Render the state of jobs, and the id of the first video, until none waits or runs. Leaving the page does not stop them.

    `errors`: those of files that could not be added.
    """
    results = []
    for number in numbers:
        while (job := workers.job(number)).status in ("waiting", "running"):
            yield render.job(job), ""
            time.sleep(JOB_POLL_S)
        results.append(job)
        if job.status == "failed":
            errors.append(f"{job_title(job)} failed. {job.reason}")
    if errors:
        raise toast("\n".join(errors))
    yield "".join(map(render.job, results)), next((job.video_id or "" for job in results if job.status == "done"), "")
