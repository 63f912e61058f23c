"""The tab that searches all captions, and asks the whole library."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.progress import Progress
from longview.app.service import Longview
from longview.ui import markdown, render
from longview.ui.streaming import ANSWERING, IDLE, ActiveStreams, stream_events
from longview.ui.toasts import or_toast

MAX_RESULTS = 24


def search_tab(app: Longview, streams: ActiveStreams) -> None:
    """Build the tab inside of the blocks that are open."""
    query = gr.Textbox(
        label="Search all captions", placeholder="red circle, 빨간 원, círculo rojo …", submit_btn=True, max_length=1000
    )
    verify = gr.Checkbox(True, label="Verify results (re-checks every hit in the video)")
    results = gr.HTML()
    question = gr.Textbox(label="Ask the whole library", placeholder="When does … appear?", submit_btn=True, max_length=2000)
    answer = gr.Markdown()
    citations = gr.HTML()

    def on_search(text: str) -> str:
        return render.moments(or_toast(lambda: app.search(text, limit=MAX_RESULTS)))

    def on_verify(text: str, is_requested: bool) -> Iterator[Any]:
        moments = list(app.search(text, limit=MAX_RESULTS)) if is_requested and text.strip() else []
        for number, moment in enumerate(app.verify_moments(moments)):
            moments[number] = moment
            yield render.moments(moments, is_verifying=number + 1 < len(moments))

    def on_ask(text: str, request: gr.Request) -> Iterator[tuple[Any, str, str]]:
        yield gr.update(**ANSWERING), "…", ""
        content, cards = "", ""
        try:
            with streams.cancellable(request) as cancel_event:
                latest: deque[Progress] = deque(maxlen=1)
                stream = app.ask([], text, cancel_event=cancel_event, on_progress=latest.append)
                for piece in stream_events(stream):
                    content += piece
                    yield gr.skip(), markdown.plain_answer(content) + ("" if piece else markdown.answer_progress(latest)), cards
                result = stream.answer
            titles = {entry.video_id: entry.title for entry in app.videos()}
            cards = render.citation_cards(
                [(item.video_id, titles.get(item.video_id, ""), item.span) for item in result.citations]
            )
            content = markdown.plain_answer(result.text, [item.span for item in result.citations])
        except EXPECTED_ERRORS as error:
            content = markdown.plain_answer(str(error))
        yield gr.update(**IDLE), content, cards

    searching = query.submit(on_search, query, results, api_name="search")
    verifying = searching.success(on_verify, [query, verify], results, show_progress="hidden", api_visibility="private")
    # A new search stops the verification of the old one.
    query.submit(None, None, None, cancels=[verifying])
    asking = question.submit(on_ask, question, [question, answer, citations], api_name="ask_library")
    question.stop(streams.stop, None, question, cancels=[asking], api_visibility="private", queue=False)
