"""The page: its routes, and what all of them show. All state comes from the library, so a reload loses nothing."""

import asyncio
import logging
from contextlib import suppress

import gradio as gr
from gradio.queueing import Event
from gradio.server_messages import EventMessage

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui import render
from longview.ui.library_page import library_page
from longview.ui.search_page import search_page
from longview.ui.streaming import ActiveSearches
from longview.ui.watch_page import place, watch_page

log = logging.getLogger(__name__)

THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
    block_title_text_color="*primary_700",
    block_label_text_color="*primary_700",
    body_text_color_subdued="*neutral_500",
    link_text_color_dark="*secondary_400",
)
"""A theme with system fonts: the default one would fetch its fonts from the internet. Its own colours of these texts have a
contrast below 4.5."""
SHELL = "<longview-uploads></longview-uploads><longview-queue></longview-queue>"
"""The own components that are above the content of a page."""
QUEUE_RESTART_S = 0.2
"""Time after which the queue of requests is started again after an error, in seconds."""
MAX_WAITING_REQUESTS = 64
"""Maximum number of requests that wait for their turn; Gradio rejects further requests as "busy". Requests that load the
page, show jobs or free the model are not queued, so that they also work on a busy server."""


def build(app: Longview, workers: Workers) -> gr.Blocks:
    """Build the pages over one library."""
    searches = ActiveSearches()
    with gr.Blocks(title="Longview", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        _shell(app)
        library_page(app, workers)
    with page.route("Watch", "/watch"):
        _shell(app, place("shell"), has_notice=False)
        watch_page(app, workers, page)
    with page.route("Search", "/search"):
        _shell(app)
        search_page(app, workers, searches, page)
        page.unload(searches.cancel)
    # Without `api_open=False` clients could bypass the queue and its limit.
    page.queue(max_size=MAX_WAITING_REQUESTS, api_open=False)
    _keep_queue_alive(page)
    return page


def _shell(app: Longview, content: str = SHELL, *, has_notice: bool = True) -> None:
    """Build what is above the content of a page: the notice, and the queue. The place beside a player is for the video."""
    gr.Navbar(main_page_name="Library")
    if has_notice and app.notice:
        gr.HTML(render.notice(app.notice), elem_id="longview-notice")
    gr.HTML(content, elem_id="longview-shell")


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
                # The requests that were running are lost, and those that wait are not. A stopped queue refuses new ones.
                queue.stopped = False
                log.exception("the queue of requests failed, and is started again")
                await asyncio.sleep(QUEUE_RESTART_S)

    queue.send_message = send_message  # type: ignore[method-assign, assignment]
    queue.start_processing = start_processing  # type: ignore[method-assign]
