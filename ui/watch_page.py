"""The page of one video. Own components draw the player and the panels (`assets/watch/`), and Gradio the chat."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr
from fastapi.concurrency import run_in_threadpool

from longview.app.errors import EXPECTED_ERRORS
from longview.app.service import Longview
from longview.app.serving.sample_questions import video_examples
from longview.app.serving.workers import Workers
from longview.app.text.counts import count_text
from longview.indexing.errors import LibraryUnusable, NothingCleared
from longview.indexing.records.video import VideoEntry
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui import markdown, render
from longview.ui.routes.common import is_id
from longview.ui.streaming import ANSWERING, IDLE
from longview.ui.toasts import reports_errors, show_warning, toast

PLACEHOLDER = "Ask about this video"
UNDO_CLEAR = "Undo clearing"
NO_VIDEO = "No video is selected; open one in the library."
MAX_FOLLOWERS = 8
"""Maximum number of requests that follow an answer at once, of each kind. Each renders the conversation whenever an answer ends;
further questions wait in the queue, because one is answered at a time."""
ANSWER_POLL_S = 0.1
"""Interval at which a page looks whether an answer has come further, in seconds."""
MAX_ID_CHARACTERS = 200
"""Maximum length of what may be sent as the id of a video, in characters."""
NAMED_VIDEO = "(id, text) => [id || new URLSearchParams(location.search).get('video') || '', text]"
"""Script that takes the video of the address while Gradio's field for it is empty, which the load event of the page fills."""


def place(part: str) -> str:
    """Return the element into which a part of the page moves that is drawn before Gradio has loaded: `assets/watch/place.js`."""
    return f'<longview-place data-part="{part}"></longview-place>'


def watch_page(app: Longview, workers: Workers, page: gr.Blocks) -> None:
    """Build the page inside of a route of Gradio's blocks, `page`."""
    # Scripts of the page click the buttons.
    selected_video = gr.Textbox(visible="hidden", elem_id="longview-video", label="Video", max_length=MAX_ID_CHARACTERS)
    video_changed = gr.Button(visible="hidden", elem_id="longview-video-changed")
    conversation_changed = gr.Button(visible="hidden", elem_id="longview-conversation-changed")
    with gr.Row(elem_id="longview-workplace"):
        with gr.Column(scale=3, elem_id="longview-main"):
            gr.HTML(place("watch"), elem_id="longview-watch")
            offer = gr.HTML()
            caption_again = gr.Button("Caption again", visible=False, size="sm", elem_classes="caption-again")
        with gr.Column(scale=2, elem_id="longview-side", elem_classes="needs-video"):
            gr.HTML(place("panels"), elem_id="longview-panels")
            with gr.Column(elem_id="longview-chat"):
                chat = gr.Chatbot(
                    label="Questions",
                    show_label=False,
                    height="100%",
                    min_height=120,
                    feedback_options=None,
                    buttons=[],
                    allow_tags=False,
                    placeholder=f"{PLACEHOLDER}.",
                )
                undo_button = gr.Button(UNDO_CLEAR, visible=False, size="sm")
                examples = gr.Dataset(label="Examples", components=["textbox"], samples=[], visible=False)
            question = gr.Textbox(
                label="Question",
                show_label=False,
                placeholder=PLACEHOLDER,
                submit_btn=True,
                max_length=MAX_QUESTION_CHARACTERS,
                elem_id="longview-question",
            )
            gr.HTML("<longview-ask-library></longview-ask-library>", elem_id="longview-ask-library")
    view = [offer, caption_again, question, examples, undo_button, chat]
    parts = view[:4]

    def or_failure(render_updates: Callable[[], list[Any]], count: int) -> list[Any]:
        """Return the updates; if the library cannot be read, the error in place of the offer."""
        try:
            return render_updates()
        except LibraryUnusable as error:
            return [render.failure(str(error)), *[gr.skip()] * (count - 1)]

    @reports_errors
    def on_load(request: gr.Request) -> list[Any]:
        # The address names a video, unless the library has none.
        wanted_id = request.query_params.get("video") or ""
        entry: VideoEntry | None = None

        def render_updates() -> list[Any]:
            nonlocal entry
            entry = find_entry(app, wanted_id) if wanted_id else None
            return video_view(app, workers, entry)

        updates = or_failure(render_updates, len(view))
        return [entry.video_id if entry else wanted_id, *updates]

    @reports_errors
    def on_select(video_id: str | None) -> list[Any]:
        entry = known_entry(app, video_id)
        if entry is None:
            raise toast(NO_VIDEO)
        return video_view(app, workers, entry)

    @reports_errors
    def on_video_changed(video_id: str | None) -> list[Any]:
        def render_updates() -> list[Any]:
            entry = find_entry(app, video_id)
            return [gr.skip()] * len(parts) if entry is None else _parts_view(app, workers, entry)

        return or_failure(render_updates, len(parts))

    @reports_errors
    async def on_ask(video_id: str | None, text: str) -> AsyncIterator[tuple[Any, Any, Any]]:
        entry = await run_in_threadpool(known_entry, app, video_id)
        if entry is None:
            show_warning(NO_VIDEO)
            yield gr.skip(), gr.skip(), gr.skip()
            return
        asked = workers.answers.ask(entry, text)
        yield gr.update(value="", **ANSWERING), gr.skip(), gr.skip()
        async for update in conversation_updates(entry, asked.answer_id):
            yield update

    @reports_errors
    async def on_conversation_changed(video_id: str | None) -> AsyncIterator[tuple[Any, Any, Any]]:
        entry = await run_in_threadpool(find_entry, app, video_id)
        if entry is None:
            yield gr.skip(), gr.skip(), gr.skip()
            return
        async for update in conversation_updates(entry):
            yield update

    async def conversation_updates(entry: VideoEntry, asked_id: str = "") -> AsyncIterator[tuple[Any, Any, Any]]:
        """Render the conversation until no answer about a video waits or runs: the answers continue without this page.

        `asked_id`: id of the answer that this page has asked for, which is shown also if it is in no conversation.
        """

        def conversation() -> tuple[list[Any], Any]:
            return markdown.history(app.conversations.answers(entry)), _undo_update(app, entry)

        shown: list[Any] | None = None
        known_ids: set[str] | None = None
        while True:
            revision = workers.answers.revision
            # The states come first: an answer that ends between both is in the conversation.
            states = workers.answers.unfinished(entry.video_id)
            asked = workers.answers.state(asked_id) if asked_id else workers.answers.latest_ended(entry.video_id)
            ids = {state.answer_id for state in states}
            if ids != known_ids or not states:
                stored, undo_update = await run_in_threadpool(conversation)
                known_ids = ids
            messages = [*stored, *(message for state in states for message in markdown.unfinished_answer(state))]
            if asked is not None and asked.status in ("failed", "stopped") and not asked.is_discarded:
                messages += markdown.ended_answer(asked)
            if messages != shown:
                shown = messages
                yield gr.update(**(ANSWERING if states else IDLE)), messages, undo_update
            # What was asked while the conversation was read is shown, too: this may be the last update that the page gets.
            if not states and revision == workers.answers.revision:
                return
            await asyncio.sleep(ANSWER_POLL_S)

    def on_stop(video_id: str | None) -> dict[str, Any]:
        if video_id and is_id(video_id):
            workers.answers.stop(video_id)
        return gr.update(**IDLE)

    @reports_errors
    async def on_clear(video_id: str | None) -> tuple[Any, list[Any], Any]:
        if not video_id or not is_id(video_id):
            return clear(None)
        with workers.answers.clearing(video_id):
            return await run_in_threadpool(clear, video_id)

    def clear(video_id: str | None) -> tuple[Any, list[Any], Any]:
        entry = find_entry(app, video_id)
        if entry is None:
            return gr.update(**IDLE), [], gr.update(visible=False)
        app.conversations.clear(entry)
        return gr.update(**IDLE), markdown.history(app.conversations.answers(entry)), _undo_update(app, entry)

    @reports_errors
    async def on_undo_clear(video_id: str | None) -> tuple[Any, list[Any], Any]:
        if not video_id or not is_id(video_id):
            raise toast(NO_VIDEO)
        with workers.answers.clearing(video_id):
            return await run_in_threadpool(undo_clear, video_id)

    def undo_clear(video_id: str | None) -> tuple[Any, list[Any], Any]:
        entry = known_entry(app, video_id)
        if entry is None:
            raise toast(NO_VIDEO)
        # Another page may have brought it back already, and shows what this one then shows, too.
        with suppress(NothingCleared):
            app.conversations.undo_clearing(entry)
        return gr.update(**IDLE), markdown.history(app.conversations.answers(entry)), _undo_update(app, entry)

    @reports_errors
    def on_caption_again(video_id: str | None) -> list[Any]:
        # The video is identified by its id only, and its file is the one of the library.
        entry = known_entry(app, video_id)
        if entry is None:
            show_warning(NO_VIDEO)
            return [gr.skip(), gr.skip()]
        workers.caption_again(entry)
        return _offer_updates(app, workers, entry)

    def on_load_question(request: gr.Request) -> Any:
        # A link with a question fills the box, and asks nothing by itself.
        return (request.query_params.get("question") or "")[:MAX_QUESTION_CHARACTERS] or gr.skip()

    def on_example(event: gr.SelectData) -> str:
        return str(event.value[0])

    page.load(on_load, None, [selected_video, *view], api_visibility="private", queue=False).then(
        None, None, None, js="() => longviewTell('opened')"
    )
    page.load(on_load_question, None, question, api_visibility="private", queue=False)
    # For clients of the API: the page itself is loaded with another address.
    selected_video.input(on_select, selected_video, view, api_name="open", queue=False)
    private: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    video_changed.click(on_video_changed, selected_video, parts, queue=False, **private)
    caption_again.click(on_caption_again, selected_video, [offer, caption_again], api_name="caption_again", queue=False)
    examples.select(on_example, None, question, api_visibility="private", queue=False)
    chat_components = [question, chat, undo_button]
    question.submit(None, None, None, js="() => longviewTell('asking')")
    # An answer runs in a thread of the server, so that following it takes no place in a queue.
    following: dict[str, Any] = {"concurrency_limit": MAX_FOLLOWERS}
    asking = question.submit(
        on_ask,
        [selected_video, question],
        chat_components,
        js=NAMED_VIDEO,
        api_name="ask",
        trigger_mode="multiple",
        **following,
    )
    attaching = conversation_changed.click(
        on_conversation_changed,
        selected_video,
        chat_components,
        trigger_mode="once",
        show_progress="hidden",
        api_visibility="private",
        **following,
    )
    for event in (asking, attaching):
        event.then(None, None, None, js="() => longviewTell('followed')")
    # The answer ends at its next chunk or token, and frees the model.
    question.stop(on_stop, selected_video, question, api_visibility="private", queue=False)
    # Gradio's own `cancels` ends what runs when the handler is done, so also a question that was asked in the meantime.
    chat.clear(on_clear, selected_video, chat_components, api_name="clear", queue=False)
    undo_button.click(on_undo_clear, selected_video, chat_components, api_name="undo_clear", queue=False)


def known_entry(app: Longview, video_id: str | None) -> VideoEntry | None:
    """Return the video with that id; None if none is named.

    Raises:
        LibraryUnusable: the library cannot be read. gr.Error: there is no such video.
    """
    entry = find_entry(app, video_id)
    if entry is None and video_id:
        raise toast(f"There is no video {video_id} in the library; reload the page.")
    return entry


def find_entry(app: Longview, video_id: str | None) -> VideoEntry | None:
    """Return the video with that id; None if there is none.

    Raises:
        LibraryUnusable: the library cannot be read, which does not mean that the video is not there.
    """
    try:
        return app.video_with_id(video_id) if video_id and is_id(video_id) else None
    except LibraryUnusable:
        raise
    except EXPECTED_ERRORS:
        return None


def video_view(app: Longview, workers: Workers, entry: VideoEntry | None) -> list[Any]:
    """Render what Gradio shows of a video: the offer to caption it again, its questions and its conversation."""
    if entry is None:
        return ["", gr.update(visible=False), *_example_updates(()), gr.update(visible=False), []]
    return [
        *_parts_view(app, workers, entry),
        _undo_update(app, entry),
        markdown.history(app.conversations.answers(entry)),
    ]


def _parts_view(app: Longview, workers: Workers, entry: VideoEntry) -> list[Any]:
    """Render what changes with the tracks of a video: the offer to caption it again, and questions that fit."""
    return [*_offer_updates(app, workers, entry), *_example_updates(video_examples(app, entry).questions)]


def _offer_updates(app: Longview, workers: Workers, entry: VideoEntry) -> list[Any]:
    """Return the updates of the offer to caption a video again, and of its button. A job that does so ends the offer."""
    offer = None if workers.captioning_job(entry) else app.caption_offer(entry)
    return [render.caption_offer(offer), gr.update(visible=offer is not None)]


def _undo_update(app: Longview, entry: VideoEntry) -> Any:
    """Return the update of the button that brings a cleared conversation back."""
    count = app.conversations.cleared_count(entry)
    return gr.update(visible=count > 0, value=f"{UNDO_CLEAR} ({count_text(count, 'question')})")


def _example_updates(questions: Sequence[str]) -> list[Any]:
    """Return the updates of the question box, whose text stays, and of the examples."""
    placeholder = questions[0] if questions else PLACEHOLDER
    return [gr.update(placeholder=placeholder), gr.update(samples=[[text] for text in questions], visible=bool(questions))]
