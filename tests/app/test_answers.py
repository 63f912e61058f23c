"""Questions to one video and to the library: what is looked at, what is confirmed, and what a stop leaves behind."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.answers import AnswerStream
from longview.app.progress import Progress
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.indexing.library import VideoEntry
from longview.model.errors import Cancelled
from longview.ui.streaming import stream_events
from longview.video.decoder import Decoder, TimedFrames
from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Event, Span

CIRCLE = ShapesEvent(6.0, 12.0, "red", "circle", "moves up")
STAR = ShapesEvent(30.0, 36.0, "yellow", "star", "grows")
RING = ShapesEvent(52.0, 58.0, "cyan", "ring", "moves down")
LONG_S = 80.0


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    home = tmp_path_factory.mktemp("home")
    return Longview(Settings(library=home, model="demo", device="cpu", cpu_threads=1))


@pytest.fixture(scope="module")
def first(app: Longview, tmp_path_factory: pytest.TempPathFactory) -> VideoEntry:
    path = render(tmp_path_factory.mktemp("videos") / "first.mp4", (CIRCLE, STAR), LONG_S, fps=10)
    return app.index(path).entry


@pytest.fixture(scope="module")
def second(app: Longview, tmp_path_factory: pytest.TempPathFactory) -> VideoEntry:
    path = render(tmp_path_factory.mktemp("videos") / "second.mp4", (RING,), LONG_S, fps=10)
    return app.index(path).entry


@pytest.mark.parametrize("question", ["When does the yellow star appear?", "What happens with the yellow star?"])
def test_the_library_is_asked_where_its_captions_fit(app: Longview, first: VideoEntry, second: VideoEntry, question: str) -> None:
    asking = app.ask([], question)
    told = "".join(asking)
    assert "first, " in told
    (star,) = [item for item in asking.answer.citations if item.span.iou(STAR.event.span) > 0.7]
    assert star.video_id == first.video_id
    # Only the moments were looked at again, not the videos.
    assert asking.answer.coverage.seconds < LONG_S


def test_what_no_caption_tells_is_not_in_the_library(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    asking = app.ask([], "When does the xylophone quartet perform?")
    assert "".join(asking) == "Nothing in the library is like that: 3 captions of 2 videos were searched."
    assert asking.answer.citations == ()


def test_moments_are_confirmed_by_a_second_look(app: Longview, second: VideoEntry, tmp_path: Path) -> None:
    path = render(tmp_path / "third.mp4", (CIRCLE,), 20.0, fps=10)
    third = app.index(path).entry
    made_up = Event(Span(14.0, 18.0), "A red circle moves up.")
    app.library.put(third, [CIRCLE.event, made_up])
    try:
        found = app.search("red circle moves up", video=third.video_id)
        seen = {moment.span: moment.verified for moment in app.verify_moments(found)}
        assert seen == {CIRCLE.event.span: True, made_up.span: False}
        path.unlink()
        assert [moment.verified for moment in app.verify_moments(found)] == [None, None]
    finally:
        app.remove(third.video_id)


def test_evidence_that_a_second_look_does_not_see_is_dropped_on_wish(app: Longview, first: VideoEntry) -> None:
    asking = app.ask([first], f"What happens at {STAR.start_s + 2} seconds?", verify=True)
    assert "".join(asking) == "A yellow star grows."
    assert [item.span.iou(STAR.event.span) > 0.7 for item in asking.answer.citations] == [True]


def test_a_stop_ends_the_reading_within_a_chunk(app: Longview, first: VideoEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    asking: list[AnswerStream] = []
    decode = Decoder.frames_played_at

    def stopping(self: Decoder, *args: object) -> Iterator[TimedFrames]:
        for chunk in decode(self, *args):  # type: ignore[arg-type]
            read.append(len(chunk))
            asking[0].cancel()
            yield chunk

    monkeypatch.setattr(Decoder, "read", stopping)
    # A range that nobody has asked about before, so that it must be read.
    question = "What happens between 3 and 77 seconds?"
    asking.append(app.ask([first], question))
    before = app.answers(first)
    with pytest.raises(Cancelled):
        list(asking[0])
    assert len(read) == 1
    assert app.answers(first) == before
    monkeypatch.undo()
    assert "A yellow star grows." in "".join(app.ask([first], question))


def test_a_stop_before_anything_is_there_to_be_stopped_counts(
    app: Longview, first: VideoEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    stopping.set()
    asking = app.ask([first], "What happens between 2 and 78 seconds?", cancel_event=stopping)
    monkeypatch.setattr(Decoder, "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(Cancelled):
        list(asking)


def test_a_video_that_cannot_be_read_does_not_silence_the_others(app: Longview, first: VideoEntry, tmp_path: Path) -> None:
    options: dict[str, object] = {"movflags": "+faststart", "g": 25}
    whole = render(tmp_path / "whole.mp4", (CIRCLE,), 20.0, fps=10, output_options=options)
    damaged = tmp_path / "damaged.mp4"
    data = whole.read_bytes()
    begin = data.index(b"mdat")
    damaged.write_bytes(data[: begin + 8])
    entry = replace(first, video_id="0" * 12, content_hash="0" * 40, path=damaged, title="damaged")
    app.library.put(entry, [])
    try:
        asking = app.ask([app.library.video("0" * 12), first], "When does the yellow star appear?")
        told = "".join(asking)
        assert told.startswith("damaged: ") and "first: From 3" in told
        assert [item.video_id for item in asking.answer.citations] == [first.video_id]
    finally:
        app.library.remove("0" * 12)


def test_the_looking_is_told_before_the_answer_and_only_goes_forward(app: Longview, first: VideoEntry) -> None:
    reports: list[Progress] = []
    # A range that nobody has asked about before, so that it must be read.
    asking = app.ask([first], "What happens between 4 and 76 seconds?", on_progress=reports.append)
    pieces = iter(asking)
    next(pieces)
    parts = [report.fraction for report in reports]
    assert len(set(parts)) > 3 and parts == sorted(parts) and parts[-1] <= 1.0
    assert {report.stage for report in reports} == {"looking at first"}
    list(pieces)


def test_what_an_answer_says_comes_out_as_it_went_in_and_so_does_its_failure(app: Longview, first: VideoEntry) -> None:
    question = f"What happens at {CIRCLE.start_s + 1} seconds?"
    assert "".join(stream_events(app.ask([first], question))) == "".join(app.ask([first], question))
    stopped = app.ask([first], question)
    stopped.cancel()
    with pytest.raises(Cancelled):
        list(stream_events(stopped))


def test_leaving_an_answer_stops_it(app: Longview, first: VideoEntry) -> None:
    before = app.answers(first)
    asking = app.ask([first], "What happens between 5 and 75 seconds?")
    leaving = stream_events(asking)
    next(leaving)
    leaving.close()
    for thread in threading.enumerate():
        if thread.name == "answer":
            thread.join(timeout=30)
            assert not thread.is_alive()
    assert app.answers(first) == before


def test_an_answer_that_is_stopped_while_its_last_words_are_shown_is_not_kept(app: Longview, first: VideoEntry) -> None:
    before = app.answers(first)
    asking = app.ask([first], f"What happens at {CIRCLE.start_s + 3} seconds?")
    pieces = iter(asking)
    while not next(pieces).endswith("."):
        pass
    asking.cancel()
    with pytest.raises(Cancelled):
        next(pieces)
    assert app.answers(first) == before


def test_of_several_videos_each_is_named_with_its_first_words(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    reports: list[Progress] = []
    asking = app.ask([first, second], "What happens between 6 and 77 seconds?", on_progress=reports.append)
    pieces = iter(asking)
    piece = next(pieces)
    assert reports and piece.startswith("first: ") and len(piece) > len("first: ")
    told = piece + "".join(pieces)
    assert "\nsecond: " in told and {"looking at first", "looking at second"} == {report.stage for report in reports}


def test_a_stop_ends_the_words(app: Longview, first: VideoEntry) -> None:
    asking = app.ask([first], f"What happens at {CIRCLE.start_s + 2} seconds?")
    pieces = iter(asking)
    next(pieces)
    asking.cancel()
    with pytest.raises(Cancelled):
        list(pieces)
    assert "".join(app.ask([first], "How many events are in the video?")) == "2."


def test_a_video_that_is_gone_keeps_the_library_from_nothing(app: Longview, first: VideoEntry, second: VideoEntry) -> None:
    gone = replace(second, path=second.path.with_name("moved.mp4"))
    second.path.rename(gone.path)
    try:
        told = "".join(app.ask([], "What happens with the cyan ring and the yellow star?"))
        assert "A yellow star grows." in told
        assert "second.mp4" in told
    finally:
        gone.path.rename(second.path)
