"""The tab that searches all captions, and asks the whole library."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.progress import Progress
from longview.app.service import Longview
from longview.ui import render
from longview.ui.notes import or_toast
from longview.ui.streaming import ANSWERING, IDLE, ActiveStreams, stream_events

MAX_RESULTS = 24


def search_tab(app: Longview, answers: ActiveStreams) -> None:
    """Build the tab inside of the blocks that are open."""
    query = gr.Textbox(
        label="Search all captions", placeholder="red circle, 빨간 원, círculo rojo …", submit_btn=True, max_length=1000
    )
    verify = gr.Checkbox(True, label="Look again at each moment, and leave out those whose caption is not confirmed")
    results = gr.HTML()
    question = gr.Textbox(
        label="Ask the whole library", placeholder="When does the red circle appear?", submit_btn=True, max_length=2000
    )
    answer = gr.Markdown()
    evidence = gr.HTML()

    def on_search(text: str) -> str:
        return render.moments(or_toast(lambda: app.search(text, limit=MAX_RESULTS)))

    def on_verify(text: str, wanted: bool) -> Iterator[Any]:
        moments = list(app.search(text, limit=MAX_RESULTS)) if wanted and text.strip() else []
        for number, seen in enumerate(app.verify_moments(moments)):
            moments[number] = seen
            yield render.moments(moments, is_verifying=number + 1 < len(moments))

    def on_ask(text: str, request: gr.Request) -> Iterator[tuple[Any, str, str]]:
        yield gr.update(**ANSWERING), "…", ""
        told, cards = "", ""
        try:
            with answers.cancellable(request) as stopping:
                latest: deque[Progress] = deque(maxlen=1)
                asking = app.ask([], text, cancel_event=stopping, on_progress=latest.append)
                for piece in stream_events(asking):
                    told += piece
                    yield gr.skip(), render.plain_answer(told) + ("" if piece else render.answer_progress(latest)), cards
                done = asking.answer
            titles = {entry.video_id: entry.title for entry in app.videos()}
            cards = render.citation_cards([(item.video_id, titles.get(item.video_id, ""), item.span) for item in done.citations])
            told = render.plain_answer(done.text, app.checkpoint.notice)
        except EXPECTED_ERRORS as error:
            told = render.plain_answer(str(error))
        yield gr.update(**IDLE), told, cards

    searched = query.submit(on_search, query, results, api_name="search")
    looked = searched.success(on_verify, [query, verify], results, show_progress="hidden", api_visibility="private")
    # A new search leaves the old one's moments alone.
    query.submit(None, None, None, cancels=[looked])
    asking = question.submit(on_ask, question, [question, answer, evidence], api_name="ask_library")
    question.stop(answers.stop, None, question, cancels=[asking], api_visibility="private")
