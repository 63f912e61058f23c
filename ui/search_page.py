"""The page that searches all tracks, and asks the whole library. Its address has the query, whether captions are verified, and
the id of the answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gradio as gr
from fastapi.concurrency import run_in_threadpool

from longview.app.errors import EXPECTED_ERRORS
from longview.app.service import Longview
from longview.app.serving.running_answers import AnswerState
from longview.app.serving.workers import Workers
from longview.app.streams import Done
from longview.core.progress import Cancelled, ProgressReport
from longview.model.tasks.events import PartialResult
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui import markdown, render
from longview.ui.streaming import ANSWERING, IDLE, ActiveSearches
from longview.ui.toasts import reports_errors, show_warning
from longview.ui.watch_page import ANSWER_POLL_S, MAX_FOLLOWERS, MAX_ID_CHARACTERS

MAX_RESULTS = 24


def search_page(app: Longview, workers: Workers, searches: ActiveSearches, page: gr.Blocks) -> None:
    """Build the page inside of a route of Gradio's blocks, `page`."""
    gr.HTML(render.empty_library())
    with gr.Column(elem_classes="needs-video"):
        query = gr.Textbox(label="Search what is shown, said and written", submit_btn=True, max_length=MAX_QUESTION_CHARACTERS)
        verify = gr.Checkbox(True, label="Verify captions where this is quick")
        results = gr.HTML()
        verify_all = gr.Button("Verify all results", visible=False)
        searched_query = gr.State("")
        question = gr.Textbox(
            label="Ask the whole library",
            placeholder="When is … mentioned?  When does … appear?",
            submit_btn=True,
            max_length=MAX_QUESTION_CHARACTERS,
            elem_id="longview-library-question",
        )
        # The script of the page puts it into the address.
        answer_id = gr.Textbox(visible="hidden", label="Answer", max_length=MAX_ID_CHARACTERS)
        answer = gr.Markdown()
        citations = gr.HTML()

    @reports_errors
    def on_search(text: str, is_requested: bool, request: gr.Request) -> Iterator[tuple[Any, Any, str]]:
        for shown_results, button in search(text, None if is_requested else False, request):
            yield shown_results, button, text

    @reports_errors
    def on_verify_all(text: str, request: gr.Request) -> Iterator[tuple[Any, Any]]:
        yield from search(text, True, request)

    def search(text: str, verify: bool | None, request: gr.Request) -> Iterator[tuple[Any, Any]]:
        # The page shows the results of one search, so a new search ends the verification of the previous one.
        searches.cancel(request)
        with searches.cancellable(request) as progress:
            has_results = False
            try:
                without_frames = {entry.video_id for entry in app.videos() if not entry.has_frames}
                for event in app.search(text, limit=MAX_RESULTS, verify=verify, progress=progress):
                    match event:
                        case ProgressReport() if not has_results:
                            yield render.progress(event), gr.update(visible=False)
                        case PartialResult(results):
                            has_results = True
                            yield (
                                render.moments(results, is_verifying=verify is not False, without_frames=without_frames),
                                gr.update(visible=False),
                            )
                        case Done(results):
                            yield (
                                render.moments(results, without_frames=without_frames),
                                gr.update(visible=results.unverified_count > 0),
                            )
            except Cancelled:
                # The output belongs to a newer search by now. Without a last event Gradio would clear it.
                yield gr.skip(), gr.skip()
            except EXPECTED_ERRORS as error:
                show_warning(str(error))
                yield "", gr.update(visible=False)

    @reports_errors
    async def on_ask(text: str) -> AsyncIterator[tuple[Any, Any, Any, Any]]:
        asked = workers.answers.ask(None, text)
        async for update in answer_updates(asked.answer_id):
            yield update

    @reports_errors
    async def on_load_answer(request: gr.Request) -> AsyncIterator[tuple[Any, Any, Any, Any]]:
        wanted_id = request.query_params.get("answer") or ""
        if not wanted_id:
            yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
            return
        asked = workers.answers.state(wanted_id)
        if asked is None:
            yield gr.skip(), "This answer is not kept any more; ask again.", "", ""
            return
        yield gr.update(value=asked.question), gr.skip(), gr.skip(), gr.skip()
        async for update in answer_updates(wanted_id):
            yield update

    async def answer_updates(asked_id: str) -> AsyncIterator[tuple[Any, Any, Any, Any]]:
        """Render an answer until it has ended: it continues without this page."""
        shown: AnswerState | None = None
        while True:
            state = workers.answers.state(asked_id)
            if state is None:
                yield gr.update(**IDLE), gr.skip(), gr.skip(), gr.skip()
                return
            if state != shown:
                content, cards = await run_in_threadpool(rendered, state)
                yield gr.update(**(ANSWERING if state.is_unfinished else IDLE)), content, cards, asked_id
                shown = state
            if not state.is_unfinished:
                return
            await asyncio.sleep(ANSWER_POLL_S)

    def rendered(state: AnswerState) -> tuple[str, str]:
        """Return the text of an answer as Markdown, and its citations as cards."""
        if state.status == "stopped":
            return markdown.STOPPED_REPLY, ""
        if state.result is None:
            progress = markdown.answer_progress(state.report) if state.report else "" if state.text else "…"
            return markdown.plain_answer(state.text) + progress, ""
        result = state.result
        titles = app.titles()
        cards = render.citation_cards([(item.video_id, titles.get(item.video_id, ""), item.span) for item in result.citations])
        if result.quoted:
            content = markdown.quotes(result.text, [(item.span, item.video_id) for item in result.citations])
        else:
            content = markdown.plain_answer(result.text, [item.span for item in result.citations])
        return markdown.thoughts(result.thoughts) + content, cards

    def on_stop(asked_id: str) -> dict[str, Any]:
        workers.answers.stop_answer(asked_id)
        return gr.update(**IDLE)

    def on_load_filters(request: gr.Request) -> tuple[Any, Any, Any]:
        # Somebody may have typed before the page was loaded.
        query_text, question_text = (request.query_params.get(name, "")[:MAX_QUESTION_CHARACTERS] for name in ("q", "question"))
        return query_text or gr.skip(), gr.skip() if _verifies(request) else False, question_text or gr.skip()

    @reports_errors
    def on_load_search(request: gr.Request) -> Iterator[tuple[Any, Any, Any]]:
        text = (request.query_params.get("q") or "")[:MAX_QUESTION_CHARACTERS]
        if text.strip():
            yield from on_search(text, _verifies(request), request)
        else:
            yield gr.skip(), gr.skip(), gr.skip()

    search_options: dict[str, Any] = {"trigger_mode": "multiple", "show_progress": "hidden", "concurrency_limit": 4}
    query.submit(on_search, [query, verify], [results, verify_all, searched_query], api_name="search", **search_options)
    verify_all.click(on_verify_all, searched_query, [results, verify_all], api_name="search_verified", **search_options)
    query.submit(None, query, None, js="query => longviewSearched(query)")
    verify.input(None, verify, None, js="isRequested => longviewVerifies(isRequested)")
    page.load(on_load_filters, None, [query, verify, question], api_visibility="private", queue=False).then(
        None, None, None, js="() => longviewTell('opened')"
    )
    page.load(on_load_search, None, [results, verify_all, searched_query], api_visibility="private", **search_options)
    answered = [question, answer, citations, answer_id]
    following: dict[str, Any] = {"concurrency_limit": MAX_FOLLOWERS, "show_progress": "hidden"}
    question.submit(on_ask, question, answered, api_name="ask_library", **following)
    page.load(on_load_answer, None, answered, api_visibility="private", **following)
    answer_id.change(None, answer_id, None, js="id => longviewAsked(id)")
    question.stop(on_stop, answer_id, question, api_visibility="private", queue=False)


def _verifies(request: gr.Request) -> bool:
    """Whether the address of the page asks for the verification of captions, which it does unless it says otherwise."""
    return bool(request.query_params.get("verify") != "false")
