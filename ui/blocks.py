"""The page: layout and what happens on each button. State comes from the library, so a reload loses nothing."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from longview.app.errors import EXPECTED_ERRORS
from longview.app.jobs import Job, Jobs
from longview.app.progress import Progress
from longview.app.service import Longview, VideoEntry
from longview.ui import render
from longview.ui.notes import or_toast, toast
from longview.ui.search_tab import search_tab
from longview.ui.streaming import ANSWERING, IDLE, ActiveStreams, stream_events

ASSETS = Path(__file__).parent / "assets"
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
"""System fonts: the default theme would fetch its own from the internet."""
POLL_S = 1.0
MAX_WAITING_REQUESTS = 64
"""Maximum number of requests that wait for their turn; further ones are told that the server is busy."""
VIDEO_SUFFIXES = [
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".ts",
    ".m2ts",
    ".mpg",
    ".mpeg",
    ".flv",
    ".ogv",
    ".gif",
    ".wmv",
]
EXAMPLES = [
    "What happens at 0:42?",
    "When does the red circle appear?",
    "What happens between 2:00 and 2:40?",
    "How many events are in the video?",
]


def build(app: Longview, jobs: Jobs) -> gr.Blocks:
    """The page over one library."""
    answers = ActiveStreams()
    with gr.Blocks(title="Longview", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        gr.Markdown("### Longview · ask long videos questions, find moments, export timestamped captions")
        if app.checkpoint.notice:
            gr.HTML(render.notice(app.checkpoint.notice))
        status = gr.HTML()
        ended_jobs = gr.Number(0, visible="hidden")
        with gr.Tabs():
            with gr.Tab("Watch"):
                chosen = gr.Dropdown(label="Video", choices=[], interactive=True)
                with gr.Row():
                    with gr.Column(scale=3):
                        player = gr.HTML()
                        story = gr.HTML()
                        captions = gr.HTML(label="Captions")
                        exports = gr.HTML()
                    with gr.Column(scale=2):
                        chat = gr.Chatbot(
                            label="Questions",
                            height=420,
                            feedback_options=None,
                            buttons=[],
                            allow_tags=False,
                            placeholder="Ask about this video.",
                        )
                        question = gr.Textbox(label="Question", placeholder=EXAMPLES[0], submit_btn=True, max_length=2000)
                        gr.Examples(EXAMPLES, question, label="For instance")
            with gr.Tab("Search"):
                search_tab(app, answers)
            with gr.Tab("Library"):
                with gr.Row():
                    upload = gr.File(label="Upload a video", file_types=VIDEO_SUFFIXES, type="filepath")
                    with gr.Column():
                        path = gr.Textbox(label="Or a path on this machine", placeholder="/home/me/holiday.mp4")
                        add = gr.Button("Index", variant="primary")
                shelf = gr.HTML()
                with gr.Row():
                    doomed = gr.Dropdown(
                        label="Remove from the library (the file stays)", choices=[], value=None, interactive=True
                    )
                    remove = gr.Button("Remove", variant="stop")

        lists = [chosen, doomed, shelf]
        view = [player, story, captions, exports, chat]

        def on_load(request: gr.Request) -> list[Any]:
            wanted = request.query_params.get("video")
            entry = _entry(app, wanted) or next(reversed(app.videos()), None)
            return [
                *_lists(app, entry),
                *_view(app, jobs, entry, _start(request)),
                render.job(_current_job(jobs)),
                len(jobs.finished()),
            ]

        def on_tick(video_id: str | None, seen: int) -> list[Any]:
            ended = jobs.finished()
            shown = render.job(_current_job(jobs))
            if len(ended) == seen:
                return [shown, seen, *[gr.skip()] * (len(lists) + len(view))]
            entry = _entry(app, video_id) or next(reversed(app.videos()), None)
            # Only a video that a job was about is drawn again: another may be playing.
            touched = entry is not None and (
                entry.video_id != video_id or any(job.video_id == entry.video_id for job in ended[int(seen or 0) :])
            )
            redrawn = _view(app, jobs, entry) if touched else [gr.skip()] * len(view)
            return [shown, len(ended), *_lists(app, entry), *redrawn]

        def on_choose(video_id: str | None) -> list[Any]:
            return _view(app, jobs, _entry(app, video_id))

        def on_ask(video_id: str | None, asked: str, request: gr.Request) -> Iterator[tuple[Any, list[Any]]]:
            entry = _entry(app, video_id)
            if entry is None:
                raise toast("Choose a video first.")
            # From the library, not from the page: the page may have sent this question before the last answer was there.
            before = app.chat_history(entry)
            messages = [
                *render.history(before, app.checkpoint.notice),
                {"role": "user", "content": render.escaped_markdown(asked)},
                {"role": "assistant", "content": "…"},
            ]
            yield gr.update(value="", **ANSWERING), messages
            try:
                with answers.cancellable(request) as stopping:
                    latest: deque[Progress] = deque(maxlen=1)
                    turns = render.turns(before)
                    asking = app.ask([entry], asked, history=turns, cancel_event=stopping, on_progress=latest.append)
                    text = ""
                    for piece in stream_events(asking):
                        text += piece
                        messages[-1]["content"] = render.answer(text) + ("" if piece else render.answer_progress(latest))
                        yield gr.skip(), messages
                    done = asking.answer
                spans = [item.span for item in done.citations]
                messages[-1]["content"] = render.answer(done.text, spans, app.checkpoint.notice)
            except EXPECTED_ERRORS as error:
                messages[-1]["content"] = render.escaped_markdown(str(error))
            yield gr.update(**IDLE), messages

        def on_clear(video_id: str | None, request: gr.Request) -> tuple[Any, list[Any]]:
            # The answer that is being made is a part of what is cleared.
            answers.cancel_all(request)
            entry = _entry(app, video_id)
            if entry is not None:
                or_toast(lambda: app.clear_chat(entry))
            return gr.update(**IDLE), []

        def on_add(text: str) -> Iterator[str]:
            if not text.strip():
                raise toast("Type the path of a video on this machine.")
            yield from _follow_job(jobs, jobs.index(Path(text.strip()).expanduser()))

        def on_upload(file: str | None) -> Iterator[str]:
            if file:
                yield from _follow_job(jobs, jobs.index(Path(file), upload_name=Path(file).name))

        def on_remove(video_id: str | None, current: str | None) -> list[Any]:
            if not video_id:
                raise toast("Choose the video that should be removed.")
            or_toast(lambda: app.remove(video_id))
            entry = _entry(app, current) or next(reversed(app.videos()), None)
            return [*_lists(app, entry), *_view(app, jobs, entry)]

        # Gradio would check a chosen video against the list that this page last got, but the library changes under it:
        # other pages and the command line add and remove videos.
        unchecked: Any = {"preprocess": False}
        page.load(on_load, None, [*lists, *view, status, ended_jobs], api_visibility="private")
        gr.Timer(POLL_S).tick(
            on_tick,
            [chosen, ended_jobs],
            [status, ended_jobs, *lists, *view],
            show_progress="hidden",
            api_visibility="private",
            **unchecked,
        )
        chosen.input(on_choose, chosen, view, api_name="open", **unchecked)
        chosen.input(None, chosen, None, js="id => { history.replaceState(null, '', `?video=${encodeURIComponent(id)}`); }")
        asking = question.submit(
            on_ask, [chosen, question], [question, chat], api_name="ask", trigger_mode="multiple", **unchecked
        )
        # Leaving the answer frees the model for the next question at once.
        question.stop(answers.stop, None, question, cancels=[asking], api_visibility="private")
        chat.clear(on_clear, chosen, [question, chat], cancels=[asking], api_name="clear", **unchecked)
        page.unload(answers.cancel_all)
        gr.on([add.click, path.submit], on_add, path, status, api_name="index", trigger_mode="multiple", concurrency_limit=8)
        upload.upload(on_upload, upload, status, api_name="upload", concurrency_limit=8)
        remove.click(on_remove, [doomed, chosen], [*lists, *view], api_name="remove", **unchecked)
    # Without `api_open=False` clients could bypass the queue and its limit.
    page.queue(max_size=MAX_WAITING_REQUESTS, api_open=False)
    return page


def _entry(app: Longview, video_id: str | None) -> VideoEntry | None:
    try:
        return app.library.video(video_id) if video_id else None
    except EXPECTED_ERRORS:
        return None


def _start(request: gr.Request) -> float:
    try:
        return max(0.0, float(request.query_params.get("t", 0)))
    except ValueError:
        return 0.0


def _lists(app: Longview, chosen: VideoEntry | None) -> list[Any]:
    entries = app.videos()
    choices = [(f"{entry.title} ({entry.video_id})", entry.video_id) for entry in entries]
    stale = frozenset(entry.video_id for entry in entries if app.is_stale(entry))
    return [
        gr.update(choices=choices, value=chosen.video_id if chosen else None),
        gr.update(choices=choices, value=None),
        render.library_table(entries, stale),
    ]


def _view(app: Longview, jobs: Jobs, entry: VideoEntry | None, start_s: float = 0.0) -> list[Any]:
    """Player, story, captions, exports and earlier questions of a video."""
    if entry is None:
        return [render.player(None, ready=False), "", "", "", []]
    try:
        ready = app.media.browser_copy(entry) is not None
        shown = render.player(entry, ready=ready, start_s=start_s)
        if not ready:
            jobs.prepare_for_browser(entry)
    except EXPECTED_ERRORS as error:
        shown = render.failure(str(error))
    return [
        shown,
        render.summary(entry),
        render.captions(app.captions(entry), stale=app.is_stale(entry), incomplete=entry.incomplete),
        render.exports(entry),
        render.history(app.chat_history(entry), app.checkpoint.notice),
    ]


def _follow_job(jobs: Jobs, job: Job) -> Iterator[str]:
    """What runs until a job has ended; leaving the page does not stop it."""
    while not job.finished.wait(0.5):
        yield render.job(_current_job(jobs))
    if job.error:
        raise toast(job.error)
    yield render.job(job)


def _current_job(jobs: Jobs) -> Job | None:
    running = jobs.running()
    return running[0] if running else jobs.latest()
