"""Progress: children share the range of their parent, fractions never go back, and a cancellation ends every wait."""

import threading
import time

import ffmpeg
import pytest

from longview.core import progress as progress_module
from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Cancelled, Progress
from longview.core.timeline import Span
from longview.video.decoding.decoder import Decoder
from longview.video.ffmpeg import run
from longview.video.probing.content_hash import content_hash
from longview.video.probing.probe import VideoInfo
from longview.video.shots import shot_starts
from longview.video.synthetic import ShapesEvent, render
from tests.support.cancelling import MAX_CANCEL_S, cancel_during
from tests.support.fakes import RecordedProgress


def fraction(progress: Progress) -> float:
    return progress.report.fraction


def test_children_share_the_range_of_their_parent() -> None:
    progress = Progress()
    progress.update(0.1)
    part = progress.child(0.2, 0.6)
    assert fraction(progress) == pytest.approx(0.2)
    part.update(0.5)
    assert fraction(progress) == fraction(part) == pytest.approx(0.4)
    inner = part.child(0.5, 1.0)
    inner.update(0.5)
    assert fraction(progress) == pytest.approx(0.5)
    part.update(1.0)
    assert fraction(progress) == pytest.approx(0.6)


def test_steps_divide_a_progress_equally() -> None:
    progress = RecordedProgress()
    for step in progress.steps(4):
        step.update(0.5)
    assert progress.fractions[1:] == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875])
    assert list(progress.steps(0)) == []


def test_fraction_never_moves_back_or_leaves_its_range() -> None:
    progress = Progress()
    first, second = progress.child(0.0, 0.5), progress.child(0.5, 1.0)
    second.update(0.2)
    first.update(0.3)
    second.update(0.1)
    assert fraction(progress) == pytest.approx(0.6)
    second.update(-3.0)
    assert fraction(progress) == pytest.approx(0.6)
    second.update(7.0)
    assert fraction(progress) == 1.0


def test_empty_child_only_hands_on_the_cancellation() -> None:
    progress = Progress()
    part = progress.child(0.0, 0.0)
    for step in part.steps(3):
        step.update(1.0)
    assert fraction(progress) == 0.0
    progress.cancel()
    with pytest.raises(Cancelled):
        part.update(0.5)


def test_stage_is_that_of_the_last_named_child() -> None:
    progress = Progress()
    assert progress.report.stage == ""
    part = progress.child(0.0, 0.5, "Probing")
    part.child(0.0, 1.0).update(0.5)
    assert part.report.stage == progress.report.stage == "Probing"
    part.child(0.5, 1.0, "Decoding")
    assert progress.report.stage == "Decoding"


def test_stage_of_a_block_ends_with_it() -> None:
    progress = Progress()
    part = progress.child(0.0, 0.5, "Captioning")
    with part.stage("Waiting"):
        assert progress.report.stage == "Waiting"
    assert progress.report.stage == "Captioning"
    with NO_PROGRESS.stage("Waiting"):
        assert NO_PROGRESS.report.stage == ""


def test_remaining_time_is_estimated_from_the_elapsed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now_s[0])
    progress = Progress()
    now_s[0] = 103.0
    progress.update(0.01)
    assert progress.report.seconds_left is None
    progress.update(0.25)
    assert progress.report.seconds_left == pytest.approx(9.0)
    now_s[0] = 108.0
    progress.update(1.0)
    assert progress.report.seconds_left == 0.0


def test_skipped_part_does_not_shorten_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now_s[0])
    progress = Progress()
    progress.child(0.0, 0.6).skip(1.0)
    assert progress.report.fraction == 0.6 and progress.report.seconds_left is None
    now_s[0] = 110.0
    progress.child(0.6, 1.0).update(0.25)
    assert progress.report.fraction == pytest.approx(0.7)
    assert progress.report.seconds_left == pytest.approx(30.0)


def test_cancel_ends_all_parts_of_the_operation_and_no_other() -> None:
    progress, other = Progress(), Progress()
    part = progress.child(0.2, 0.6).child(0.5, 1.0)
    assert not part.is_cancelled
    part.cancel()
    assert progress.is_cancelled
    for call in (progress.raise_if_cancelled, lambda: part.update(0.5), lambda: progress.child(0.6, 1.0)):
        with pytest.raises(Cancelled):
            call()
    with pytest.raises(Cancelled):
        next(progress.steps(2))
    assert fraction(progress) == pytest.approx(0.4)
    other.update(0.5)


def test_default_progress_has_no_state() -> None:
    part = NO_PROGRESS.child(0.2, 0.6, "Probing")
    part.update(0.5)
    assert [step.report.fraction for step in NO_PROGRESS.steps(2)] == [0.0, 0.0]
    assert (NO_PROGRESS.report.stage, NO_PROGRESS.report.fraction) == ("", 0.0)
    with pytest.raises(AssertionError):
        part.cancel()
    NO_PROGRESS.raise_if_cancelled()


def test_lock_is_released_after_an_error_in_the_block() -> None:
    lock = threading.Lock()

    def fail() -> None:
        with Progress().holding(lock):
            assert lock.locked()
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert not lock.locked()


def test_lock_is_waited_for_until_it_is_free() -> None:
    lock = threading.Lock()
    lock.acquire()
    timer = threading.Timer(2 * CANCEL_POLL_S, lock.release)
    timer.start()
    with Progress().holding(lock):
        assert lock.locked()
    assert not lock.locked()


def test_cancel_ends_the_wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()

    def wait(progress: Progress) -> None:
        with progress.holding(lock):
            pytest.fail("The lock is not free.")

    cancel_during(wait)
    # The waiting thread did not release what it did not hold.
    assert lock.locked()


def test_cancel_ends_decoding_and_the_decoder_decodes_again(decoder: Decoder, shapes_video: VideoInfo) -> None:
    times_s = [index / 25 for index in range(500)]

    def decode(progress: Progress) -> None:
        while True:
            for _ in decoder.frames_played_at(shapes_video, times_s, 96, 160, progress=progress):
                pass

    cancel_during(decode)
    chunks = list(decoder.frames_played_at(shapes_video, times_s, 96, 160))
    assert sum(map(len, chunks)) == 500


def test_cancel_ends_the_wait_for_a_silent_decoding_process(
    decoder: Decoder, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Decoder()
    # A process that gets no request sends no frame.
    monkeypatch.setattr("longview.video.decoding.worker_client.DecodingProcess._write", lambda *_: None)
    cancel_during(lambda progress: silent.probe(shapes_video.path, progress=progress))
    cancel_during(lambda progress: list(silent.frames_played_at(shapes_video, [1.0], 96, 160, progress=progress)))
    monkeypatch.undo()
    assert [len(chunk) for chunk in silent.frames_played_at(shapes_video, [1.0], 96, 160)] == [1]
    silent.close()


def test_cancelled_operation_starts_nothing_more(decoder: Decoder, shapes_video: VideoInfo) -> None:
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        content_hash(shapes_video.path, progress)
    with pytest.raises(Cancelled):
        decoder.probe(shapes_video.path, progress=progress)
    with pytest.raises(Cancelled):
        shot_starts(decoder, shapes_video, [Span(0, 4)], progress)


def test_shot_detection_reports_its_progress(decoder: Decoder, shapes_video: VideoInfo) -> None:
    progress = RecordedProgress()
    shot_starts(decoder, shapes_video, [Span(0, 4), Span(10, 14)], progress)
    progress.check_complete()


def test_cancel_ends_rendering_and_leaves_no_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cancelled")
    event = ShapesEvent(1.0, 500.0, "red", "circle", "grows")
    cancel_during(lambda progress: render(folder / "long.mp4", [event], 3600.0, width=640, height=384, progress=progress))
    assert list(folder.iterdir()) == []


def test_cancel_ends_ffmpeg() -> None:
    endless = ffmpeg.input("testsrc=size=64x64:rate=1000", f="lavfi", re=None).output("-", f="null")
    start_s = time.monotonic()
    cancel_during(lambda progress: run(endless, timeout_s=60, progress=progress))
    assert time.monotonic() - start_s < 2 * MAX_CANCEL_S


def test_restarted_clock_leaves_out_the_time_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock_s)
    progress = Progress()
    clock_s = 400.0
    progress.restart_clock()
    clock_s = 410.0
    progress.update(0.5)
    assert progress.report.seconds_left == pytest.approx(10.0)
