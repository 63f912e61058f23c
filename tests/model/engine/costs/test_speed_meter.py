"""Tests of the speed meter: replies and measurements wait for each other, and no measurement is lost or starved."""

import threading
from contextlib import AbstractContextManager

import pytest

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.costs import speed_meter
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.speed_meter import REPLIES_STAGE, RunningReplies, SpeedMeter
from tests.support.cancelling import cancel_during

SPEED = Speed(flops_per_s=1e9, attention_flops_per_s=5e8, step_s=0.01, step_s_per_token=1e-6)


def enter(block: AbstractContextManager[None]) -> None:
    with block:
        pass


def test_waiting_measurement_comes_before_new_replies() -> None:
    replies = RunningReplies()
    measurements: list[Speed] = []

    def measure(_: Progress) -> Speed:
        measurements.append(SPEED)
        return SPEED

    meter = SpeedMeter("m", measure, replies, threading.Lock())
    progress = Progress()
    progress.child(0.0, 1.0, "Captioning")
    measuring = threading.Thread(target=meter.speed, args=(None, "key", None, progress))
    with replies.running_reply(NO_PROGRESS):
        measuring.start()
        while progress.report.stage != REPLIES_STAGE:
            assert measuring.is_alive()
        cancel_during(lambda reply: enter(replies.running_reply(reply)), after_s=0.1)
        assert not measurements
    measuring.join(30)
    assert measurements == [SPEED]
    assert progress.report.stage == "Captioning"
    enter(replies.running_reply(NO_PROGRESS))


def test_cancelled_measurement_no_longer_holds_off_replies() -> None:
    replies = RunningReplies()
    meter = SpeedMeter("m", lambda _: SPEED, replies, threading.Lock())
    with replies.running_reply(NO_PROGRESS):
        cancel_during(lambda progress: meter.speed(None, "key", None, progress), after_s=0.1)
        enter(replies.running_reply(NO_PROGRESS))
    assert meter.speed(None, "key", None) == SPEED


def test_speed_that_another_thread_measures_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements: list[Speed] = []

    def measure(_: Progress) -> Speed:
        measurements.append(SPEED)
        return SPEED

    meter = SpeedMeter("m", measure, RunningReplies(), threading.Lock())

    def load_before_a_measurement(*_: object) -> None:
        """Find no speed, and return only when another thread has measured it."""
        monkeypatch.setattr(speed_meter, "load_speed", lambda *_: None)
        other = threading.Thread(target=meter.speed, args=(None, "key", None))
        other.start()
        other.join(30)
        assert measurements

    monkeypatch.setattr(speed_meter, "load_speed", load_before_a_measurement)
    assert meter.speed(None, "key", None) == SPEED
    assert measurements == [SPEED]
