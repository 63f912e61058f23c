"""Weight swapping: several engines on one device that cannot hold the weights of all; the others' weights are on the host."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.errors import DeviceBusy

log = logging.getLogger(__name__)

MAX_WAIT_S = 600.0
"""Maximum time that an engine waits for the device, in seconds. Another may prefill a long video."""
DEVICE_WAIT_STAGE = "Waiting for the other checkpoint"
"""The stage of an operation that waits for the device."""
SHARED_TOKENS = 32_768
"""Context of each of two checkpoints that must fit beside the weights of both, in tokens: a window of captions."""
CHUNK_BYTES = 4 << 30
"""Memory for the activations of one chunk, in bytes: 8,192 tokens of 550 kB (Qwen3.5-27B)."""
USABLE_DEVICE_SHARE = 0.9
"""Share of the device's memory for weights, contexts and a chunk. The driver and other programs take the rest."""


def fit_together(weight_bytes: Sequence[int], kv_bytes_per_token: Sequence[int], device_bytes: int) -> bool:
    """Whether the weights of checkpoints and a context of each fit on devices with this memory in all."""
    needed_bytes = sum(weight_bytes) + SHARED_TOKENS * sum(kv_bytes_per_token) + CHUNK_BYTES
    return needed_bytes <= USABLE_DEVICE_SHARE * device_bytes


def can_swap_weights(device_type: str, device_count: int) -> bool:
    """Whether weights can be moved to the host. Only accelerators have one, and layers on several devices stay there."""
    return device_type in ("cuda", "xpu") and device_count == 1


class Movable(Protocol):
    """An engine whose weights and sessions can leave the device."""

    def leave_device(self) -> None:
        """Move all that is on the device to the host's memory, or free it."""

    def enter_device(self) -> None:
        """Move the weights to the device. Sessions follow when they are used."""


EngineT = TypeVar("EngineT", bound=Movable)


class _Loading:
    """The owner of a device on which an engine is being loaded."""

    def leave_device(self) -> None:
        pass

    def enter_device(self) -> None:
        pass


class DeviceScheduler:
    """Gives one device to several engines. Only one has its weights there; several threads may use that one.

    A thread that waits for another engine goes before new users of the present one. So no task may use one engine while it
    iterates over a reply of another.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: Movable | None = None
        self._is_moving = False
        self._holders: list[int] = []
        """The threads that hold the device, once for each `hold`."""
        self._waiting: list[Movable] = []

    @contextmanager
    def hold(self, engine: Movable, progress: Progress) -> Iterator[None]:
        """Hold the device for an engine; move the weights of another one away first.

        Raises:
            Cancelled: the operation was cancelled before that. DeviceBusy: the other engine did not become free in time,
                or the host has no memory for its weights. OutOfMemory: the device has no memory for the weights.
        """
        thread = threading.get_ident()
        self._take(engine, thread, progress)
        try:
            yield
        finally:
            with self._changed:
                # A generator may be closed by another thread than the one that began it.
                self._holders.remove(thread)
                self._changed.notify_all()

    def load(self, make: Callable[[], EngineT], progress: Progress = NO_PROGRESS) -> EngineT:
        """Make an engine while no other has its weights on the device. See `hold` for errors."""
        with self.hold(_Loading(), progress):
            engine = make()
            with self._changed:
                self._owner = engine
        return engine

    def _take(self, engine: Movable, thread: int, progress: Progress) -> None:
        with self._changed:
            self._wait(engine, thread, progress)
            if self._owner is engine:
                self._holders.append(thread)
                return
            self._is_moving = True
        # Without the lock, so that whoever waits can be cancelled meanwhile.
        owner = None
        try:
            owner = self._hand_over(engine)
        finally:
            with self._changed:
                self._owner, self._is_moving = owner, False
                if owner is not None:
                    self._holders.append(thread)
                self._changed.notify_all()

    def _wait(self, engine: Movable, thread: int, progress: Progress) -> None:
        """Wait until the device is this engine's or free, and no other engine waits for it."""
        if not self._is_blocked(engine, thread):
            return
        self._waiting.append(engine)
        deadline_s = time.monotonic() + MAX_WAIT_S
        try:
            with progress.stage(DEVICE_WAIT_STAGE):
                while self._is_blocked(engine, thread):
                    progress.raise_if_cancelled()
                    if time.monotonic() > deadline_s:
                        raise DeviceBusy("The other checkpoint is using the device; ask again when its answers are complete.")
                    self._changed.wait(CANCEL_POLL_S)
        finally:
            self._waiting.remove(engine)
            self._changed.notify_all()

    def _is_blocked(self, engine: Movable, thread: int) -> bool:
        if self._is_moving:
            return True
        if self._owner is not engine:
            return bool(self._holders)
        # A thread that holds the device already must not wait for one that waits for its end.
        return thread not in self._holders and any(other is not engine for other in self._waiting)

    def _hand_over(self, engine: Movable) -> Movable:
        start_s = time.monotonic()
        if self._owner is not None:
            self._owner.leave_device()
        engine.enter_device()
        log.info("another checkpoint took the device in %.1f s", time.monotonic() - start_s)
        return engine
