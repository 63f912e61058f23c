"""The tab that lists the library, and adds and removes videos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from longview.app.example_questions import examples_for
from longview.app.jobs import Job, Jobs
from longview.app.service import MEDIA_SUFFIXES, Longview, VideoEntry
from longview.ui import render
from longview.ui.toasts import toast

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


def library_tab(jobs: Jobs) -> LibraryTab:
    """Build the tab inside the current Gradio blocks."""
    with gr.Row():
        upload = gr.File(label="Upload videos or sound", file_types=list(MEDIA_SUFFIXES), type="filepath", file_count="multiple")
        with gr.Column():
            path = gr.Textbox(label="Or a path on this machine", placeholder="/home/me/holiday.mp4")
            add = gr.Button("Index", variant="primary")
            accepts_long = gr.Checkbox(label="Caption even if it takes longer than ten minutes", value=False)
    table = gr.HTML()
    with gr.Row():
        video_to_remove = gr.Dropdown(label="Remove from the library (the file stays)", choices=[], value=None, interactive=True)
        remove = gr.Button("Remove", variant="stop")
    # For clients of the API; the page itself shows all jobs in its status line.
    result = gr.HTML(visible=False)
    indexed_video = gr.Textbox(visible=False)

    def on_add(text: str, accepts_long: bool = False) -> Iterator[tuple[str, str]]:
        if not text.strip():
            raise toast("The path is empty; enter the path of a video on this machine.")
        yield from _follow_jobs([jobs.index(Path(text.strip()).expanduser(), accepts_long=accepts_long)])

    def on_upload(files: list[str] | None, accepts_long: bool = False) -> Iterator[tuple[Any, str, str]]:
        started_jobs = [jobs.index(Path(file), upload_name=Path(file).name, accepts_long=accepts_long) for file in files or []]
        # The drop zone is cleared at once, so that more files can be uploaded while these are indexed.
        yield None, "", ""
        for state in _follow_jobs(started_jobs):
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
        trigger_mode="multiple",
        concurrency_limit=MAX_FOLLOWED_UPLOADS,
        show_progress="hidden",
    )
    for following in (adding, uploading):
        following.success(None, indexed_video, None, js="id => longviewIndexed(id)")
    return LibraryTab(table, video_to_remove, remove)


def library_lists(app: Longview, selected_video: VideoEntry | None) -> list[Any]:
    """Render all lists of videos: the choices of the watch tab, those of the library tab, and the table.

    The last update is the placeholder of the search: a query that finds the selected video.
    """
    entries = app.videos()
    choices = [(f"{entry.title} ({entry.video_id})", entry.video_id) for entry in entries]
    outdated_ids = frozenset(entry.video_id for entry in entries if app.caption_offer(entry))
    return [
        gr.update(choices=choices, value=selected_video.video_id if selected_video else None),
        gr.update(choices=choices, value=None),
        render.library_table(entries, outdated_ids),
        gr.update(placeholder=_example_search(app, selected_video)),
    ]


def _example_search(app: Longview, entry: VideoEntry | None) -> str:
    if entry is None:
        return ""
    segments = {track.source: app.segments(entry, track.source) for track in entry.tracks}
    example = examples_for(entry.duration_s, segments).search
    return f"For example: {example}" if example else ""


def current_job(jobs: Jobs) -> Job | None:
    """Return the running job, else the latest job."""
    running_jobs = jobs.running_jobs()
    return running_jobs[0] if running_jobs else jobs.latest_job()


def jobs_status(jobs: Jobs) -> str:
    """Render the line that shows the current job."""
    return render.job(current_job(jobs), waiting=max(0, len(jobs.running_jobs()) - 1))


def _follow_jobs(followed_jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """Render the state of jobs, and the id of the first video, until all have ended. Leaving the page does not stop them."""
    for job in followed_jobs:
        yield render.job(job), ""
        while not job.finished_event.wait(JOB_POLL_S):
            yield render.job(job), ""
    errors = [f"{job.title} failed. {job.error}" for job in followed_jobs if job.error]
    if errors:
        raise toast("\n".join(errors))
    yield "".join(map(render.job, followed_jobs)), next((job.video_id for job in followed_jobs if job.video_id), "")
