"""The page of the library: a component of its own draws it (`assets/library.js`)."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.ingest.options import IndexOptions
from longview.app.jobs.text import job_title, named_reason, refused_text
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui import render
from longview.ui.routes.jobs import add_path
from longview.ui.toasts import reports_errors, show_warning, toast
from longview.ui.watch_page import MAX_ID_CHARACTERS, find_entry
from longview.video.probing.guard import MEDIA_SUFFIXES

MAX_FOLLOWED_UPLOADS = 32
"""Maximum number of requests that follow their jobs at once. A further upload is added to the jobs when one of these ends."""
JOB_POLL_S = 0.5
"""Interval at which a page gets the progress of its job, in seconds."""


def library_page(app: Longview, workers: Workers) -> None:
    """Build the page inside the current Gradio blocks: the place of its own component, and endpoints for clients of the API."""
    gr.HTML("<longview-library></longview-library>", elem_id="longview-library")
    upload = gr.File(file_types=list(MEDIA_SUFFIXES), type="filepath", file_count="multiple", visible=False, label="Files")
    path = gr.Textbox(label="A file or folder on this machine", visible=False)
    accepts_long = gr.Checkbox(label="Caption even if it takes longer than ten minutes", value=False, visible=False)
    video_to_remove = gr.Textbox(label="Video", visible=False, max_length=MAX_ID_CHARACTERS)
    remove = gr.Button(visible=False)
    result = gr.HTML(visible=False)
    indexed_video = gr.Textbox(visible=False)

    @reports_errors
    def on_add(text: str, accepts_long: bool = False) -> Iterator[tuple[str, str]]:
        addition = add_path(workers, text.strip(), IndexOptions(accepts_long=accepts_long))
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
                job = workers.index(path, IndexOptions(accepts_long=accepts_long), upload_name=path.name)
                numbers.append(job.job_id)
            except EXPECTED_ERRORS as error:
                errors.append(named_reason(path.name, error))
        # The drop zone is cleared at once, so that more files can be uploaded while these are indexed.
        yield None, "", ""
        for state in _follow_jobs(workers, numbers, errors):
            yield gr.skip(), *state

    @reports_errors
    def on_remove(video_id: str | None) -> str:
        # The video is identified by its id only: with a path, a client could make the server read any file.
        video = find_entry(app, video_id)
        if video is None:
            raise toast("This video is not in the library." if video_id else "No video is named.")
        return app.remove(video).text

    following: dict[str, Any] = {
        "trigger_mode": "multiple",
        "concurrency_limit": MAX_FOLLOWED_UPLOADS,
        "show_progress": "hidden",
    }
    path.submit(on_add, [path, accepts_long], [result, indexed_video], api_name="index", **following)
    # Gradio's own reading of uploads leaves an empty file of each. Which ones are allowed is checked where they come in.
    upload.upload(
        on_upload, [upload, accepts_long], [upload, result, indexed_video], api_name="upload", preprocess=False, **following
    )
    remove.click(on_remove, video_to_remove, result, api_name="remove", queue=False)


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
