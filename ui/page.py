"""The page: its tabs, and the components that they share. All state comes from the library, so a reload loses nothing."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Event
from gradio.server_messages import EventMessage

from longview.app.service import Longview
from longview.app.serving.sample import newest_video
from longview.app.serving.workers import Workers
from longview.indexing.errors import LibraryUnusable
from longview.ui import render
from longview.ui.library_tab import library_lists, library_tab
from longview.ui.search_tab import search_tab
from longview.ui.streaming import ActiveStreams
from longview.ui.toasts import reports_errors, show_info, show_warning
from longview.ui.watch_tab import UNCHECKED, find_entry, indexed_view, tracks_view, video_view, watch_tab

log = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
"""A theme with system fonts: the default one would fetch its fonts from the internet."""
QUEUE_RESTART_S = 0.2
"""Time after which the queue of requests is started again after an error, in seconds."""
MAX_WAITING_REQUESTS = 64
"""Maximum number of requests that wait for their turn; Gradio rejects further requests as "busy". Requests that load the
page, show jobs or free the model are not queued, so that they also work on a busy server."""

MAX_START_S = 365 * 24 * 3600.0
"""Maximum time at which the player begins, in seconds: a year, which no video lasts."""


def build(app: Longview, workers: Workers) -> gr.Blocks:
    """Build the page over one library."""
    streams = ActiveStreams()
    with gr.Blocks(title="Longview", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        gr.Markdown("### Longview · ask questions about long videos, find moments, export captions")
        if app.notice:
            gr.HTML(render.notice(app.notice))
        gr.HTML('<div id="longview-jobs" role="status"></div>')
        gr.HTML(render.queue_table())
        finished_count = gr.Number(0, visible="hidden")
        # The script of the page clicks it when a job has ended.
        jobs_ended = gr.Button(visible="hidden", elem_id="longview-jobs-ended")
        # The script clicks this one when a job has further partial results.
        segments_added = gr.Button(visible="hidden", elem_id="longview-segments-added")
        with gr.Tabs():
            with gr.Tab("Watch"):
                watch = watch_tab(app, workers, streams)
            with gr.Tab("Search"):
                query = search_tab(app, streams)
            with gr.Tab("Library"):
                library = library_tab(workers)
        selected_video, view = watch.selected_video, watch.view
        lists = [selected_video, library.video_to_remove, library.table, query]

        def or_failure(render_updates: Callable[[], list[Any]]) -> list[Any]:
            """Return the updates of lists and view; if the library cannot be read, the error in place of player and table."""
            try:
                return render_updates()
            except LibraryUnusable as error:
                failure = render.failure(str(error))
                updates = [gr.skip()] * (len(lists) + len(view))
                updates[lists.index(library.table)] = updates[len(lists)] = failure
                return updates

        @reports_errors
        def on_load(request: gr.Request) -> list[Any]:
            def render_updates() -> list[Any]:
                entry = find_entry(app, request.query_params.get("video")) or newest_video(app.videos())
                return [*library_lists(app, entry), *video_view(app, workers, entry, _start_s(request))]

            return [*or_failure(render_updates), len(workers.ended_video_ids())]

        @reports_errors
        def on_jobs_ended(video_id: str | None, known_count: int, rendered_player: str | None) -> list[Any]:
            video_ids = workers.ended_video_ids()

            def render_updates() -> list[Any]:
                entry = find_entry(app, video_id) or newest_video(app.videos())
                # Only a video that a job was about is rendered again.
                ended_ids = set(video_ids[int(known_count or 0) :])
                rendered_view = [gr.skip()] * len(view)
                if entry is not None and (entry.video_id != video_id or entry.video_id in ended_ids):
                    rendered_view = indexed_view(app, workers, entry, rendered_player)
                return [*library_lists(app, entry), *rendered_view]

            return [len(video_ids), *or_failure(render_updates)]

        @reports_errors
        def on_segments_added(video_id: str | None) -> list[Any]:
            def render_updates() -> list[Any]:
                entry = find_entry(app, video_id)
                if entry is None:
                    # The first video of the library is opened as soon as there is something to see.
                    entry = newest_video(app.videos())
                    return [*library_lists(app, entry), *video_view(app, workers, entry)]
                is_affected = workers.is_indexing(entry.video_id)
                return [gr.skip()] * len(lists) + (tracks_view(app, workers, entry) if is_affected else [gr.skip()] * len(view))

            return or_failure(render_updates)

        @reports_errors
        def on_remove(video_id: str | None, current: str | None) -> list[Any]:
            # The video is identified by its id only: with a path, a client could make the server read any file.
            video = find_entry(app, video_id)
            if video is None:
                show_warning(
                    "This video is no longer in the library; reload the page."
                    if video_id
                    else "No video is selected; choose the video to remove."
                )
                return [gr.skip()] * (len(lists) + len(view))
            removal = app.remove(video)
            show_info(f"{removal.text} “Undo” below the list brings it back for 24 hours.")

            def render_updates() -> list[Any]:
                entry = find_entry(app, current) or newest_video(app.videos())
                return [*library_lists(app, entry), *video_view(app, workers, entry)]

            return or_failure(render_updates)

        page.load(on_load, None, [*lists, *view, finished_count], api_visibility="private", queue=False)
        ending = jobs_ended.click(
            on_jobs_ended,
            [selected_video, finished_count, view[0]],
            [finished_count, *lists, *view],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
            queue=False,
            **UNCHECKED,
        )
        adding = segments_added.click(
            on_segments_added,
            selected_video,
            [*lists, *view],
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
            queue=False,
            **UNCHECKED,
        )
        for rendering in (ending, adding):
            rendering.then(None, None, None, js="() => longviewRestoreSections()")
        page.unload(streams.cancel_all)
        library.remove.click(
            on_remove, [library.video_to_remove, selected_video], [*lists, *view], api_name="remove", **UNCHECKED
        )
    # Without `api_open=False` clients could bypass the queue and its limit.
    page.queue(max_size=MAX_WAITING_REQUESTS, api_open=False)
    _keep_queue_alive(page)
    return page


def _keep_queue_alive(page: gr.Blocks) -> None:
    """Let the queue continue after an error: Gradio would refuse every later request of all pages.

    It forgets the oldest of 2,000 sessions, and those that end. A message to one of them is such an error.
    """
    queue = page._queue
    send, process = queue.send_message, queue.start_processing

    def send_message(event: Event, message: EventMessage) -> None:
        with suppress(KeyError):
            send(event, message)

    async def start_processing() -> None:
        while True:
            try:
                await process()
                return
            except Exception:
                # The requests that were running are lost, and those that wait are not.
                log.exception("the queue of requests failed, and is started again")
                await asyncio.sleep(QUEUE_RESTART_S)
                queue.stopped = False

    queue.send_message = send_message  # type: ignore[method-assign, assignment]
    queue.start_processing = start_processing  # type: ignore[method-assign]


def _start_s(request: gr.Request) -> float:
    """Return the time at which the player begins, in seconds."""
    try:
        time_s = float(request.query_params.get("t", 0))
    except ValueError:
        return 0.0
    return time_s if 0.0 <= time_s <= MAX_START_S else 0.0
