"""The tab that searches all captions, and asks the whole library."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.errors import EXPECTED_ERRORS
from app.progress import Progress
from app.service import Longview
from ui import render
from ui.answers import ANSWERING, IDLE, Answers, followed
from ui.notes import or_error

SHOWN = 24


def search_tab(app: Longview, answers: Answers) -> None:
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
        return render.moments(or_error(lambda: app.search(text, limit=SHOWN)))

    def on_verify(text: str, wanted: bool) -> Iterator[Any]:
        moments = list(app.search(text, limit=SHOWN)) if wanted and text.strip() else []
        for number, seen in enumerate(app.verified(moments)):
            moments[number] = seen
            yield render.moments(moments, looking_again=number + 1 < len(moments))

    def on_ask(text: str, request: gr.Request) -> Iterator[tuple[Any, str, str]]:
        yield gr.update(**ANSWERING), "…", ""
        told, cards = "", ""
        try:
            with answers.stoppable(request) as stopping:
                latest: deque[Progress] = deque(maxlen=1)
                asking = app.ask([], text, stopping=stopping, on_progress=latest.append)
                for piece in followed(asking):
                    told += piece
                    yield gr.skip(), render.plain(told) + ("" if piece else render.looking(latest)), cards
                done = asking.answer
            titles = {entry.video_id: entry.title for entry in app.videos()}
            cards = render.evidence([(item.video_id, titles.get(item.video_id, ""), item.span) for item in done.evidence])
            told = render.plain(done.text, app.checkpoint.notice)
        except EXPECTED_ERRORS as error:
            told = render.plain(str(error))
        yield gr.update(**IDLE), told, cards

    searched = query.submit(on_search, query, results, api_name="search")
    looked = searched.success(on_verify, [query, verify], results, show_progress="hidden", api_visibility="private")
    # A new search leaves the old one's moments alone.
    query.submit(None, None, None, cancels=[looked])
    asking = question.submit(on_ask, question, [question, answer, evidence], api_name="ask_library")
    question.stop(answers.stop, None, question, cancels=[asking], api_visibility="private")
