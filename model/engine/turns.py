"""Turns of engines whose weights do not fit on one device together: those of one are there, the others' are on the host."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch

from longview.model.engine.checkpoints import Checkpoint
from longview.model.engine.devices import memory_errors
from longview.model.errors import OutOfMemory
from longview.video.progress import CANCEL_POLL_S, NO_PROGRESS, Progress

log = logging.getLogger(__name__)

MAX_WAIT_S = 600.0
"""Maximum time that an engine waits for its turn, in seconds. Another may prefill a long video."""
TURN_STAGE = "Waiting for the other checkpoint"
"""The stage of an operation that waits for its turn."""


SHARED_TOKENS = 65_536
"""Context of each of two checkpoints that must fit beside the weights of both, in tokens."""
USABLE_SHARE = 0.85
"""Share of the device for weights and these contexts; the rest is for activations, and for what other programs use."""


def needs_turns(checkpoints: Iterable[Checkpoint], device_type: str, device_bytes: Sequence[int]) -> bool:
    """Whether checkpoints do not fit on a device together, but can take turns there.

    Only an accelerator has a host to which weights can be moved. The layers of a checkpoint on several devices stay there.
    """
    needed = sum(checkpoint.bytes_with(min(SHARED_TOKENS, checkpoint.max_context_tokens)) for checkpoint in checkpoints)
    return device_type in ("cuda", "xpu") and len(device_bytes) == 1 and needed > USABLE_SHARE * device_bytes[0]


class Movable(Protocol):
    """An engine whose weights and sessions can leave the device."""

    def leave_device(self) -> None:
        """Move all that is on the device to the host's memory, or free it."""

    def enter_device(self) -> None:
        """Move the weights to the device. Sessions follow when they are used."""


EngineT = TypeVar("EngineT", bound=Movable)


class _Nobody:
    """The owner of a device on which an engine is being loaded."""

    def leave_device(self) -> None:
        pass

    def enter_device(self) -> None:
        pass


class DeviceTurns:
    """The right of several engines to one device. Only one has its weights there; several threads may use that one.

    A thread that waits for another engine goes before new users of the present one. So no task may use one engine while it
    iterates over a reply of another.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: Movable | None = None
        self._users = 0
        self._waiting: list[Movable] = []
        self._depth = threading.local()

    @contextmanager
    def turn(self, engine: Movable, progress: Progress) -> Iterator[None]:
        """Hold the device for an engine; move the weights of another one away first.

        Raises:
            Cancelled: the operation was cancelled before the turn came.
            OutOfMemory: the other engine did not become free in time, or a device has no memory for the weights.
        """
        with self._changed:
            self._wait(engine, progress)
            if self._owner is not engine:
                self._hand_over(engine)
            self._users += 1
            self._depth.value = self._own_depth + 1
        try:
            yield
        finally:
            with self._changed:
                self._depth.value = self._own_depth - 1
                self._users -= 1
                self._changed.notify_all()

    def load(self, make: Callable[[], EngineT], progress: Progress = NO_PROGRESS) -> EngineT:
        """Make an engine while no other has its weights on the device. See `turn` for errors."""
        with self.turn(_Nobody(), progress):
            engine = make()
            with self._changed:
                self._owner = engine
        return engine

    @property
    def _own_depth(self) -> int:
        """Number of turns that this thread holds, one within another."""
        return int(getattr(self._depth, "value", 0))

    def _wait(self, engine: Movable, progress: Progress) -> None:
        """Wait until the device is this engine's or free, and no other engine waits for it."""
        if not self._is_blocked(engine):
            return
        self._waiting.append(engine)
        deadline_s = time.monotonic() + MAX_WAIT_S
        try:
            with progress.stage(TURN_STAGE):
                while self._is_blocked(engine):
                    progress.raise_if_cancelled()
                    if time.monotonic() > deadline_s:
                        raise OutOfMemory("The other checkpoint is using the device; ask again when its answers are complete.")
                    self._changed.wait(CANCEL_POLL_S)
        finally:
            self._waiting.remove(engine)
            self._changed.notify_all()

    def _is_blocked(self, engine: Movable) -> bool:
        if self._owner is not engine:
            return self._users > 0
        # A thread that holds a turn already must not wait for one that waits for its end.
        return self._own_depth == 0 and any(other is not engine for other in self._waiting)

    def _hand_over(self, engine: Movable) -> None:
        start_s = time.monotonic()
        if self._owner is not None:
            self._owner.leave_device()
        # Without an owner the device is free, should the move fail.
        self._owner = None
        engine.enter_device()
        self._owner = engine
        log.info("another checkpoint took the device in %.1f s", time.monotonic() - start_s)


class MovableWeights:
    """The weights of a model on a device, with a copy in the host's memory from the first move on.

    Weights do not change, so that a move away only frees the device.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device: torch.device = model.device
        self._host: dict[torch.Tensor, torch.Tensor] = {}
        self._is_away = False

    def leave(self) -> None:
        """Free the device.

        Raises:
            OutOfMemory: the host has no memory for the weights.
        """
        if self._is_away:
            return
        with memory_errors("the weights of the other checkpoint", "choose a smaller checkpoint"):
            for tensor in self._tensors():
                if tensor not in self._host:
                    self._host[tensor] = tensor.data.to("cpu", copy=True)
        for tensor in self._tensors():
            tensor.data = self._host[tensor]
        self._is_away = True
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def enter(self) -> None:
        """Copy the weights to the device.

        Raises:
            OutOfMemory: the device has no memory for them.
        """
        if not self._is_away:
            return
        try:
            with memory_errors("the weights of this checkpoint", "choose a smaller one"):
                for tensor in self._tensors():
                    tensor.data = self._host[tensor].to(self._device, copy=True)
        except OutOfMemory:
            for tensor in self._tensors():
                tensor.data = self._host[tensor]
            raise
        self._is_away = False

    def _tensors(self) -> list[torch.Tensor]:
        return [*self._model.parameters(), *self._model.buffers()]
