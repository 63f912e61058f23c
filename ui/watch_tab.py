"""The tab that plays one video, with its tracks, chapters, exports and questions."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi.concurrency import run_in_threadpool

from longview.app.errors import EXPECTED_ERRORS
from longview.app.qa.example_questions import examples_for
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.app.streams import Done
from longview.app.text.counts import count_text
from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.core.timeline import Segment
from longview.indexing.errors import LibraryUnusable, NothingCleared
from longview.indexing.records.track import VIDEO_ID
from longview.indexing.records.video import VideoEntry
from longview.model.tasks.events import TextDelta
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui import markdown, render
from longview.ui.streaming import ANSWERING, IDLE, STOPPED_REPLY, ActiveStreams
from longview.ui.toasts import reports_errors, show_warning, toast

PLACEHOLDER = "Ask about this video"
UNDO_CLEAR = "Undo clearing"
NO_VIDEO = "No video is selected; choose one under “Video”."
UNCHECKED: dict[str, Any] = {"preprocess": False}
"""Option that disables Gradio's check of a selected video against the list that the page last received. Meanwhile, other pages
and the command line add and remove videos."""


@dataclass(frozen=True)
class WatchTab:
    """The components of the tab that other parts of the page update."""

    selected_video: gr.Dropdown
    view: list[Any]
    """Player, summary, tracks, exports, what made them, the offer to caption again with its button, question, examples, the
    button that brings a cleared conversation back, and chat; see `video_view`."""


def watch_tab(app: Longview, workers: Workers, streams: ActiveStreams) -> WatchTab:
    """Build the tab inside the current Gradio blocks."""
    selected_video = gr.Dropdown(label="Video", choices=[], interactive=True)
    with gr.Row():
        with gr.Column(scale=3):
            player = gr.HTML()
            offer = gr.HTML()
            caption_again = gr.Button("Caption again", visible=False, size="sm", elem_classes="caption-again")
            summary = gr.HTML()
            tracks = gr.HTML(label="Captions, speech and subtitles")
            exports = gr.HTML()
            provenance = gr.HTML()
        with gr.Column(scale=2):
            chat = gr.Chatbot(
                label="Questions",
                height=420,
                feedback_options=None,
                buttons=[],
                allow_tags=False,
                placeholder=f"{PLACEHOLDER}.",
            )
            question = gr.Textbox(label="Question", placeholder=PLACEHOLDER, submit_btn=True, max_length=MAX_QUESTION_CHARACTERS)
            undo_button = gr.Button(UNDO_CLEAR, visible=False, size="sm")
            examples = gr.Dataset(label="Examples", components=["textbox"], samples=[], visible=False)
    view = [player, summary, tracks, exports, provenance, offer, caption_again, question, examples, undo_button, chat]

    @reports_errors
    def on_select(video_id: str | None) -> list[Any]:
        entry = known_entry(app, video_id)
        if entry is None:
            raise toast(NO_VIDEO)
        return video_view(app, workers, entry)

    @reports_errors
    def on_ask(video_id: str | None, text: str, request: gr.Request) -> Iterator[tuple[Any, list[Any]]]:
        entry = known_entry(app, video_id)
        if entry is None:
            show_warning(NO_VIDEO)
            yield gr.skip(), gr.skip()
            return
        with streams.cancellable(request) as stream:
            for update in answer_updates(entry, text, stream.progress):
                if stream.is_discarded:
                    # What was cleared meanwhile must not come back. Without a last event Gradio would clear the outputs.
                    yield gr.skip(), gr.skip()
                    return
                yield update

    def answer_updates(entry: VideoEntry, text: str, progress: Progress) -> Iterator[tuple[Any, list[Any]]]:
        # The history comes from the library: the page may have sent this question before it had the last answer.
        earlier = app.answers(entry)
        messages = [
            *markdown.history(earlier),
            {"role": "user", "content": markdown.escaped_markdown(text)},
            {"role": "assistant", "content": "…"},
        ]
        yield gr.update(value="", **ANSWERING), messages
        try:
            partial = ""
            for event in app.ask([entry], text, history=markdown.turns(earlier), progress=progress):
                match event:
                    case ProgressReport():
                        messages[-1]["content"] = markdown.answer(partial) + markdown.answer_progress(event)
                    case TextDelta(piece):
                        partial += piece
                        messages[-1]["content"] = markdown.answer(partial)
                    case Done(result):
                        spans = [citation.span for citation in result.citations]
                        content = markdown.quotes(result.text) if result.quoted else markdown.answer(result.text, spans)
                        messages[-1]["content"] = markdown.thoughts(result.thoughts) + content
                yield gr.skip(), messages
        except Cancelled:
            messages[-1]["content"] = STOPPED_REPLY
        except EXPECTED_ERRORS as error:
            messages[-1]["content"] = markdown.escaped_markdown(str(error))
        yield gr.update(**IDLE), messages

    @reports_errors
    async def on_clear(video_id: str | None, request: gr.Request) -> tuple[Any, Any, list[Any]]:
        with streams.replacement(request):
            return await run_in_threadpool(clear, video_id)

    def clear(video_id: str | None) -> tuple[Any, Any, list[Any]]:
        entry = find_entry(app, video_id)
        if entry is None:
            return gr.update(**IDLE), gr.update(visible=False), []
        app.clear_conversation(entry)
        return gr.update(**IDLE), _undo_update(app, entry), markdown.history(app.answers(entry))

    @reports_errors
    async def on_undo_clear(video_id: str | None, request: gr.Request) -> tuple[Any, Any, list[Any]]:
        with streams.replacement(request):
            return await run_in_threadpool(undo_clear, video_id)

    def undo_clear(video_id: str | None) -> tuple[Any, Any, list[Any]]:
        entry = known_entry(app, video_id)
        if entry is None:
            raise toast(NO_VIDEO)
        # Another page may have brought it back already, and shows what this one then shows, too.
        with suppress(NothingCleared):
            app.undo_clearing(entry)
        return gr.update(**IDLE), _undo_update(app, entry), markdown.history(app.answers(entry))

    @reports_errors
    def on_caption_again(video_id: str | None) -> list[Any]:
        # The video is identified by its id only, and its file is the one of the library.
        entry = known_entry(app, video_id)
        if entry is None:
            show_warning(NO_VIDEO)
            return [gr.skip(), gr.skip()]
        workers.caption_again(entry)
        return _offer_updates(app, workers, entry)

    def on_example(event: gr.SelectData) -> str:
        return str(event.value[0])

    selected_video.input(on_select, selected_video, view, api_name="open", queue=False, **UNCHECKED)
    remember = "id => { history.replaceState(null, '', `?video=${encodeURIComponent(id)}`); }"
    selected_video.input(None, selected_video, None, js=remember)
    caption_again.click(
        on_caption_again, selected_video, [offer, caption_again], api_name="caption_again", queue=False, **UNCHECKED
    )
    examples.select(on_example, None, question, api_visibility="private", queue=False)
    question.submit(on_ask, [selected_video, question], [question, chat], api_name="ask", trigger_mode="multiple", **UNCHECKED)
    # The stream of the answer ends at its next chunk or token, and frees the model.
    question.stop(streams.stop, None, question, api_visibility="private", queue=False)
    cleared_components = [question, undo_button, chat]
    # Gradio's own `cancels` ends what runs when the handler is done, so also a question that was asked in the meantime.
    chat.clear(on_clear, selected_video, cleared_components, api_name="clear", queue=False, **UNCHECKED)
    undo_button.click(on_undo_clear, selected_video, cleared_components, api_name="undo_clear", queue=False, **UNCHECKED)
    return WatchTab(selected_video, view)


def is_id(text: str) -> bool:
    """Whether a text may be the whole id of a video. The page and its routes accept no beginnings of ids."""
    return bool(VIDEO_ID.fullmatch(text))


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


def video_view(app: Longview, workers: Workers, entry: VideoEntry | None, start_s: float = 0.0) -> list[Any]:
    """Render a video as the components of `WatchTab.view` show it."""
    if entry is None:
        return [
            render.player(None, ready=False),
            *[""] * 5,
            gr.update(visible=False),
            *_example_updates(()),
            gr.update(visible=False),
            [],
        ]
    try:
        is_ready = app.browser_copy(entry) is not None
        player = render.player(entry, ready=is_ready, start_s=start_s)
        if not is_ready:
            workers.prepare_for_browser(entry)
    except EXPECTED_ERRORS as error:
        player = render.failure(str(error))
    return [player, *_view_without_player(app, workers, entry), _undo_update(app, entry), markdown.history(app.answers(entry))]


def indexed_view(app: Longview, workers: Workers, entry: VideoEntry, rendered_player: str | None) -> list[Any]:
    """Render a video whose job has ended. A player that has the video stays, because it may be playing, and so does the chat."""
    if not render.has_video(rendered_player, entry):
        return video_view(app, workers, entry)
    return [gr.skip(), *_view_without_player(app, workers, entry), gr.skip(), gr.skip()]


def tracks_view(app: Longview, workers: Workers, entry: VideoEntry) -> list[Any]:
    """Render tracks and exports of a video, and leave the rest of `video_view` as it is, because the video may be playing."""
    html = _tracks_and_exports(app, workers, entry, _segments(app, entry))
    return [gr.skip(), gr.skip(), *html, *_offer_updates(app, workers, entry), *[gr.skip()] * 4]


def _view_without_player(app: Longview, workers: Workers, entry: VideoEntry) -> list[Any]:
    """Render summary, tracks, exports, the offer to caption again and example questions of a video."""
    segments = _segments(app, entry)
    return [
        render.summary(entry, app.chapters(entry)),
        *_tracks_and_exports(app, workers, entry, segments),
        *_offer_updates(app, workers, entry),
        *_example_updates(examples_for(entry.duration_s, segments).questions),
    ]


def _segments(app: Longview, entry: VideoEntry) -> dict[str, Sequence[Segment]]:
    return {track.source: app.segments(entry, track.source) for track in entry.tracks}


def _tracks_and_exports(app: Longview, workers: Workers, entry: VideoEntry, segments: dict[str, Sequence[Segment]]) -> list[str]:
    is_running = workers.is_indexing(entry.video_id)
    tracks = render.tracks(entry, segments, is_running=is_running)
    return [tracks, render.exports(entry), render.provenance(app.versions(entry))]


def _offer_updates(app: Longview, workers: Workers, entry: VideoEntry) -> list[Any]:
    """Return the updates of the offer to caption a video again, and of its button. A job that does so ends the offer."""
    offer = None if workers.captioning_job(entry) else app.caption_offer(entry)
    return [render.caption_offer(offer), gr.update(visible=offer is not None)]


def _undo_update(app: Longview, entry: VideoEntry) -> Any:
    """Return the update of the button that brings a cleared conversation back."""
    count = app.cleared_count(entry)
    return gr.update(visible=count > 0, value=f"{UNDO_CLEAR} ({count_text(count, 'question')})")


def _example_updates(questions: Sequence[str]) -> list[Any]:
    """Return the updates of the question box, whose text stays, and of the examples."""
    placeholder = questions[0] if questions else PLACEHOLDER
    return [gr.update(placeholder=placeholder), gr.update(samples=[[text] for text in questions], visible=bool(questions))]
