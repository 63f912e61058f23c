"""The tab that searches all tracks, and asks the whole library."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.service import Longview
from longview.app.streams import Done
from longview.core.progress import Cancelled, ProgressReport
from longview.model.tasks.events import PartialResult, TextDelta
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui import markdown, render
from longview.ui.streaming import ANSWERING, IDLE, STOPPED_REPLY, ActiveStreams
from longview.ui.toasts import reports_errors, show_warning

MAX_RESULTS = 24


def search_tab(app: Longview, streams: ActiveStreams) -> gr.Textbox:
    """Build the tab inside the current Gradio blocks; return the box of the query, whose placeholder is an example."""
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
    )
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
        streams.discard(request, "search")
        with streams.cancellable(request, "search") as stream:
            has_results = False
            try:
                without_frames = {entry.video_id for entry in app.videos() if not entry.has_frames}
                for event in app.search(text, limit=MAX_RESULTS, verify=verify, progress=stream.progress):
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
    def on_ask(text: str, request: gr.Request) -> Iterator[tuple[Any, str, str]]:
        yield gr.update(**ANSWERING), "…", ""
        content, cards = "", ""
        try:
            with streams.cancellable(request) as stream:
                for event in app.ask([], text, progress=stream.progress):
                    match event:
                        case ProgressReport():
                            yield gr.skip(), markdown.plain_answer(content) + markdown.answer_progress(event), cards
                        case TextDelta(piece):
                            content += piece
                            yield gr.skip(), markdown.plain_answer(content), cards
                        case Done(answered):
                            result = answered
            titles = {entry.video_id: entry.title for entry in app.videos()}
            cards = render.citation_cards(
                [(item.video_id, titles.get(item.video_id, ""), item.span) for item in result.citations]
            )
            if result.quoted:
                content = markdown.quotes(result.text, [(item.span, item.video_id) for item in result.citations])
            else:
                content = markdown.plain_answer(result.text, [item.span for item in result.citations])
            content = markdown.thoughts(result.thoughts) + content
        except Cancelled:
            content = STOPPED_REPLY
        except EXPECTED_ERRORS as error:
            content = markdown.plain_answer(str(error))
        yield gr.update(**IDLE), content, cards

    search_options: dict[str, Any] = {"trigger_mode": "multiple", "show_progress": "hidden", "concurrency_limit": 4}
    query.submit(on_search, [query, verify], [results, verify_all, searched_query], api_name="search", **search_options)
    verify_all.click(on_verify_all, searched_query, [results, verify_all], api_name="search_verified", **search_options)
    question.submit(on_ask, question, [question, answer, citations], api_name="ask_library")
    question.stop(streams.stop, None, question, api_visibility="private", queue=False)
    return query
