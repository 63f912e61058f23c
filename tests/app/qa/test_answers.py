"""Answers about one video, several and the library: what they open, what they cite, and what a cancelled one leaves behind."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import VideoGone
from longview.app.files import watched_file
from longview.app.ingest.options import IndexOptions
from longview.app.qa.answers import Answer
from longview.app.qa.quotes import question_kinds, questions
from longview.app.service import Longview
from longview.app.streams import Done, Stream
from longview.core.progress import Cancelled, Progress, ProgressReport
from longview.indexing.records.video import VideoEntry
from longview.model.tasks import question as question_module
from longview.model.tasks.events import TextDelta
from longview.video.decoding import decoder as decoder_module
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing import content_hash as content_hash_module
from longview.video.probing.content_hash import content_hash
from longview.video.synthetic import ShapesEvent, render
from tests.support.app_samples import TWICE, cancel_after
from tests.support.shell import Shell
from tests.support.thinking_samples import THINKING_BY_DEFAULT, write_thinking_checkpoint

CIRCLE = ShapesEvent(6.0, 12.0, "red", "circle", "moves up")
STAR = ShapesEvent(22.0, 28.0, "yellow", "star", "grows")
RING = ShapesEvent(28.0, 34.0, "cyan", "ring", "moves down")
DURATION_S = 40.0


@pytest.fixture(scope="module")
def first(app: Longview, tmp_path_factory: pytest.TempPathFactory) -> VideoEntry:
    path = render(tmp_path_factory.mktemp("videos") / "first.mp4", (CIRCLE, STAR), DURATION_S, fps=10)
    return app.index(path).result().entry


@pytest.fixture(scope="module")
def second(app: Longview, tmp_path_factory: pytest.TempPathFactory) -> VideoEntry:
    path = render(tmp_path_factory.mktemp("videos") / "second.mp4", (RING,), DURATION_S, fps=10)
    return app.index(path).result().entry


def test_a_question_is_parsed_once_and_the_file_is_read_once(
    app: Longview, first: VideoEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*values: Any, **options: Any) -> Any:
            calls.append(name)
            return function(*values, **options)

        return count

    calls: list[str] = []
    copy = Path(shutil.copy(first.path, tmp_path / "copy.mp4"))
    monkeypatch.setattr(question_module, "find_times", counted("times", question_module.find_times))
    monkeypatch.setattr(question_module, "check_length", counted("length", question_module.check_length))
    monkeypatch.setattr(question_kinds, "topicless_kinds", counted("kind", question_kinds.topicless_kinds))
    monkeypatch.setattr(questions, "topicless_kinds", counted("kind", questions.topicless_kinds))
    for module in (content_hash_module, watched_file, decoder_module):
        monkeypatch.setattr(module, "content_hash", counted("hash", content_hash))
    # The path of a file that was not read before, and a question of which the checkpoint decodes a window.
    answer = Shell(app.parts.library.folder).call("ask", str(copy), "What happens between 20 and 30 seconds?", "--model", "demo")
    assert "yellow star" in answer["answer"]
    assert sorted(calls) == ["hash", "kind", "length", "times"]


@pytest.mark.parametrize("question", ["When does the yellow star appear?", "What happens with the yellow star?"])
def test_library_answer_opens_only_the_likely_moments(
    app: Longview, first: VideoEntry, second: VideoEntry, question: str
) -> None:
    answer = app.ask([], question).result()
    assert "first (" in answer.text
    (star,) = [item for item in answer.citations if item.span.iou(STAR.event.span) > 0.7]
    assert star.video_id == first.video_id
    assert answer.coverage.seconds < DURATION_S


def test_library_without_a_fitting_caption_says_so(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    answer = app.ask([], "When does the xylophone quartet perform?").result()
    assert answer.text == "Nothing in the library matches the question. Searched the captions of 2 videos."
    assert answer.citations == ()


def test_verified_answer_keeps_confirmed_citations(app: Longview, first: VideoEntry) -> None:
    verifying = Longview(app.settings.model_copy(update={"ask_verify": True}))
    answer = verifying.ask([first], f"What happens at {STAR.start_s + 2} seconds?").result()
    assert answer.text == "A yellow star grows."
    assert [item.span.iou(STAR.event.span) > 0.7 for item in answer.citations] == [True]


def test_thoughts_are_beside_the_answer_and_not_in_the_library(app: Longview, first: VideoEntry, tmp_path: Path) -> None:
    folder = write_thinking_checkpoint(tmp_path / "checkpoint", THINKING_BY_DEFAULT)
    question = f"What happens at {STAR.start_s + 2} seconds?"
    answers = {}
    for thinking in (False, True):
        settings = {"model": str(folder), "thinking": thinking, "thinking_tokens": 4}
        one = Longview(app.settings.model_copy(update=settings))
        answers[thinking] = one.ask([first], question).result()
        stored = one.conversations.answers(first)[-1]
        assert stored.answer == answers[thinking].text
    assert (answers[False].text.strip(), answers[False].thoughts) == ("A yellow star grows.", "")
    thoughts = answers[True].thoughts
    assert thoughts and thoughts not in answers[True].text
    app.parts.library.conversations.clear(first.video_id)


def test_cancel_ends_decoding_within_a_chunk(app: Longview, first: VideoEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk_lengths: list[int] = []
    streams: list[Stream[Answer]] = []
    decode = Decoder.frames_played_at

    def cancel_after_a_chunk(self: Decoder, *args: object, **options: object) -> Iterator[TimedFrames]:
        for chunk in decode(self, *args, **options):  # type: ignore[arg-type]
            chunk_lengths.append(len(chunk))
            streams[0].cancel()
            yield chunk

    monkeypatch.setattr(Decoder, "frames_played_at", cancel_after_a_chunk)
    # No other test asks about this range, so it must be decoded.
    question = "What happens between 3 and 37 seconds?"
    streams.append(app.ask([first], question))
    turns = app.conversations.answers(first)
    with pytest.raises(Cancelled):
        streams[0].result()
    assert len(chunk_lengths) == 1
    assert app.conversations.answers(first) == turns
    monkeypatch.undo()
    assert "A yellow star grows." in app.ask([first], question).result().text


def test_cancel_before_the_iteration_prevents_decoding(app: Longview, first: VideoEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress()
    progress.cancel()
    monkeypatch.setattr(Decoder, "frames_played_at", lambda *_, **__: pytest.fail("frames were decoded"))
    with pytest.raises(Cancelled):
        app.ask([first], "What happens between 2 and 38 seconds?", progress=progress).result()


def test_undecodable_video_does_not_prevent_other_answers(app: Longview, first: VideoEntry, tmp_path: Path) -> None:
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    intact = render(tmp_path / "intact.mp4", (CIRCLE,), 20.0, fps=10, output_options=options)
    damaged = tmp_path / "damaged.mp4"
    data = intact.read_bytes()
    damaged.write_bytes(data[: data.index(b"mdat") + 8])
    entry = replace(first, video_id="0" * 12, content_hash="0" * 40, path=damaged, title="damaged")
    app.parts.library.put(entry)
    try:
        answer = app.ask([app.parts.library.pending_video("0" * 12), first], "When does the yellow star appear?").result()
        assert answer.text.startswith("damaged: ") and "first: From 2" in answer.text
        assert [item.video_id for item in answer.citations] == [first.video_id]
    finally:
        app.parts.library.remove("0" * 12)


def test_progress_comes_before_the_text_and_only_increases(app: Longview, first: VideoEntry) -> None:
    # No other test asks about this range, so it must be decoded.
    events = list(app.ask([first], "What happens between 4 and 36 seconds?"))
    first_text = next(number for number, event in enumerate(events) if isinstance(event, TextDelta))
    reports = [event for event in events if isinstance(event, ProgressReport)]
    assert sum(isinstance(event, ProgressReport) for event in events[:first_text]) > 3
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] <= 1.0
    assert {report.stage for report in reports} == {"Reading first"}
    assert isinstance(events[-1], Done)


def test_answer_cancelled_at_its_last_words_is_not_stored(app: Longview, first: VideoEntry) -> None:
    turns = app.conversations.answers(first)
    stream = app.ask([first], f"What happens at {CIRCLE.start_s + 3} seconds?")
    with pytest.raises(Cancelled):
        cancel_after(stream, lambda event: isinstance(event, TextDelta) and event.text.endswith("."))
    assert app.conversations.answers(first) == turns


def test_first_words_about_each_video_come_with_its_title(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    events = list(app.ask([first, second], "What happens between 6 and 37 seconds?"))
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert pieces[0].startswith("first: ") and len(pieces[0]) > len("first: ")
    assert any(piece.startswith("\nsecond: ") for piece in pieces)
    stages = {event.stage for event in events if isinstance(event, ProgressReport)}
    assert stages == {"Reading first", "Reading second"}


def test_cancel_ends_the_text(app: Longview, first: VideoEntry) -> None:
    stream = app.ask([first], f"What happens at {CIRCLE.start_s + 2} seconds?")
    with pytest.raises(Cancelled):
        cancel_after(stream, lambda event: isinstance(event, TextDelta))
    assert app.ask([first], "How many events are in the video?").result().text == "2."


def test_missing_video_does_not_prevent_a_library_answer(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    moved_path = second.path.with_name("moved.mp4")
    second.path.rename(moved_path)
    try:
        text = app.ask([], "What happens with the cyan ring and the yellow star?").result().text
        assert "A yellow star grows." in text
        assert "second.mp4" in text
    finally:
        moved_path.rename(second.path)


def test_answer_cites_the_whole_caption_and_is_stored(app: Longview, twice: VideoEntry) -> None:
    answer = app.ask([twice], "What happens at 17 seconds?").result()
    assert answer.text == "A blue star grows."
    (citation,) = answer.citations
    assert (citation.source, citation.text) == ("captions", "A blue star grows.")
    assert citation.span.iou(TWICE[2].event.span) > 0.7
    turn = app.conversations.answers(twice)[-1]
    assert (turn.question, turn.answer) == ("What happens at 17 seconds?", "A blue star grows.")
    assert turn.citations == (citation.span,)
    assert turn.provenance.checkpoint == app.checkpoint.identity


def test_several_videos_are_answered_under_their_titles(app: Longview, twice: VideoEntry, short_path: Path) -> None:
    other = app.index(short_path, IndexOptions(title="the other")).result().entry
    answer = app.ask([twice, other], "What happens at 3 seconds?").result()
    assert answer.text == f"twice: {TWICE[0].text}\nthe other: A cyan ring moves up."
    assert [item.video_id for item in answer.citations] == [twice.video_id, other.video_id]
    # The time around the moment, as far as there is video.
    assert answer.coverage.seconds == pytest.approx(7.0 + 5.0, abs=0.3)
    app.remove(app.video(other.video_id))


def test_videos_with_the_same_title_are_labelled_with_their_ids(app: Longview, twice: VideoEntry, short_path: Path) -> None:
    other = app.index(short_path, IndexOptions(title=twice.title)).result().entry
    text = app.ask([twice, other], "What happens at 3 seconds?").result().text
    assert f"{twice.title} ({twice.video_id}): " in text
    assert f"{other.title} ({other.video_id}): " in text
    app.remove(app.video(other.video_id))


def test_answer_about_a_file_that_is_replaced_meanwhile_is_not_kept(
    app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = render(tmp_path / "original.mp4", (), 16.0, fps=5, seed=5)
    entry = app.index(Path(shutil.copy(original, tmp_path / "replaced.mp4"))).result().entry
    other = render(tmp_path / "other.mp4", (CIRCLE,), 16.0, fps=5)
    decode = Decoder.frames_played_at

    def replace_first(self: Decoder, *args: object, **options: object) -> Iterator[TimedFrames]:
        if other.exists():
            other.replace(entry.path)
        return decode(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "frames_played_at", replace_first)
    with pytest.raises(VideoGone, match="changed while it was being read"):
        app.ask([entry], "What happens between 5 and 15 seconds?").result()
    assert app.conversations.answers(entry) == ()
    monkeypatch.undo()
    # The sessions of the other video's frames are gone as well.
    shutil.copy(original, entry.path)
    assert "red circle" not in app.ask([entry], "What happens between 5 and 15 seconds?").result().text
