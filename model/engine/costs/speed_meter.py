"""Measure the speed of an engine when it is first needed, while no reply runs beside it, or load it from an earlier process."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.speed_cache import load_speed, save_speed
from longview.model.engine.devices import inference
from longview.model.errors import DeviceBusy, OutOfMemory

log = logging.getLogger(__name__)

MEASUREMENT_STAGE = "Waiting for the measurement of the speed"
"""The stage of an operation that waits for a measurement."""
REPLIES_STAGE = "Waiting for running replies"
"""The stage of an operation that waits to measure."""


class RunningReplies:
    """A count of the replies that an engine generates now.

    A measurement waits for their end, and a reply for the end of a measurement: each would slow the other down, and the measured
    speed is kept for all later processes. New replies also wait for a measurement that waits itself, because a busy server would
    never measure otherwise. So no task may begin a reply while it iterates over another one, nor ask for the speed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._waiting_measurements = 0
        self._is_measuring = False

    @contextmanager
    def running_reply(self, progress: Progress) -> Iterator[None]:
        """Count one reply as running.

        Raises:
            Cancelled: the operation was cancelled before the end of a measurement.
        """
        with self._changed:
            self._wait_while(lambda: self._is_measuring or self._waiting_measurements > 0, MEASUREMENT_STAGE, progress)
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    @contextmanager
    def without_replies(self, progress: Progress) -> Iterator[None]:
        """Hold off all replies.

        Raises:
            Cancelled: the operation was cancelled before the end of the running replies.
        """
        with self._changed:
            self._waiting_measurements += 1
            try:
                self._wait_while(lambda: self._is_measuring, MEASUREMENT_STAGE, progress)
                self._wait_while(lambda: self._is_measuring or self._count > 0, REPLIES_STAGE, progress)
            finally:
                self._waiting_measurements -= 1
                self._changed.notify_all()
            self._is_measuring = True
        try:
            yield
        finally:
            with self._changed:
                self._is_measuring = False
                self._changed.notify_all()

    def _wait_while(self, is_blocked: Callable[[], bool], stage: str, progress: Progress) -> None:
        if not is_blocked():
            return
        with progress.stage(stage):
            while is_blocked():
                progress.raise_if_cancelled()
                self._changed.wait(CANCEL_POLL_S)


class SpeedMeter:
    """A meter of the speed of one engine. Several threads can use it: they wait for one measurement."""

    def __init__(
        self,
        name: str,
        measure: Callable[[Progress], Speed],
        replies: RunningReplies,
        chunk_lock: threading.Lock,
        hold_device: Callable[[Progress], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """Make a meter that has not measured yet.

        `name`: the name of the checkpoint. `measure`: measures the speed. `chunk_lock`: the engine holds it while it prefills one
        chunk of frames. `hold_device`: holds the device for the engine (`longview.model.engine.weight_swapping`).
        """
        self._name, self._measure, self._replies, self._chunk_lock = name, measure, replies, chunk_lock
        self._hold_device = hold_device
        self._speed: Speed | None = None
        self._is_unknown = False

    def speed(
        self, cache: Path | None, key: str, expected_s: Callable[[], float] | None, progress: Progress = NO_PROGRESS
    ) -> Speed | None:
        """Return the speed; None if the device has no memory for the measurement now.

        `cache` and `key`: where the speed is kept (`longview.model.engine.costs.calibration`). `expected_s`: estimates the time
        of a slow measurement, in seconds; the meter states this time before it begins. None: the measurement is quick.

        Raises:
            Cancelled: the operation was cancelled before the next step of the measurement. Nothing is kept.
        """
        if self._speed is not None or self._is_unknown:
            return self._speed
        # Another thread may set the speed meanwhile, so nothing is assigned if the file does not have it yet.
        kept_speed = load_speed(cache, key)
        if kept_speed is not None:
            self._speed = kept_speed
            return kept_speed
        try:
            self._measure_once(cache, key, expected_s, progress)
        except (DeviceBusy, OutOfMemory) as error:
            # The device was not free in time. A later call may find it free.
            log.info("the speed of %s is not measured now: %s", self._name, error)
        return self._speed

    def _measure_once(self, cache: Path | None, key: str, expected_s: Callable[[], float] | None, progress: Progress) -> None:
        with self._hold_device(progress), self._replies.without_replies(progress), progress.holding(self._chunk_lock):
            # Another thread may have measured it meanwhile.
            if self._speed is None and not self._is_unknown:
                if expected_s is not None:
                    log.warning(
                        "the speed of %s on this machine is measured now, once, for estimates of time; this takes about %.0f s",
                        self._name,
                        expected_s(),
                    )
                try:
                    with inference("the measurement of the speed"):
                        self._speed = self._measure(progress)
                    save_speed(cache, key, self._speed)
                except OutOfMemory as error:
                    # Each further attempt in this process would take seconds, too.
                    self._is_unknown = True
                    log.warning("the speed of %s is not known: %s", self._name, error)
