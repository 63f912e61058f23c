"""Decoding steps with fixed shapes and addresses, so that a GPU can replay them as one CUDA graph.

A step is a few hundred small kernels. Launching them one by one from Python takes longer than running them. The video's part
of the cache is the same for every step of a session, and is always read in the same splits. Behind it, the positions of question
and reply are read up to a fixed end; a position in device memory masks what is not yet written. The end lies a little behind the
tokens: a session may reserve 40,000 positions for the words of a video, and to read these would take as long as to read the
video. When a reply reaches the end, it is moved, and the graph is captured again.
"""

import contextlib
import functools
import logging
import math
import threading
from collections.abc import Iterator
from typing import Any

import torch

from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.linear_state import LinearState

log = logging.getLogger(__name__)

MIN_EAGER_STEPS = 8
"""Number of eager steps before the capture. The capture takes as long as several steps, which is too long for short replies."""
READ_STEP_TOKENS = 256
"""Number of tokens to whose multiple the end of what a step reads is rounded up."""
LOGITS_TOLERANCE = 0.05
"""Maximum difference between replayed and eager logits, in standard deviations of the logits. bfloat16 sums depend on order."""
_CAPTURE_LOCK = threading.Lock()
"""The right to capture: at most one capture may be in progress in a process (torch/cuda/graphs.py, `graph.__init__`)."""


class CudaGraphDecoder:
    """A decoder that appends one token at a time to one cache, and replays a CUDA graph where it can."""

    def __init__(self, model: Any, cache: PreallocatedCache, *, prefix: int, rope_delta: int) -> None:
        """`prefix`: number of tokens up to the end of the video, which never change in the cache."""
        self._model, self._cache, self._prefix, self._rope_delta = model, cache, prefix, rope_delta
        self._ids = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        self._positions = torch.zeros((3, 1, 1), dtype=torch.long, device=model.device)
        self._write_slot = torch.zeros(1, dtype=torch.long, device=model.device)
        self._graph: Any = None
        self._logits: torch.Tensor | None = None
        self._steps = 0
        self._can_capture = model.device.type == "cuda"
        self._read_end = cache.get_seq_length()

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Append a token (1, 1) and return the logits (vocabulary,) of the next one. They are valid until the next step.

        Raises:
            ContextOverflow: the cache is full.
        """
        index = self._cache.get_seq_length()
        self._cache.advance()
        if index >= self._read_end:
            self._move_read_end(index)
        self._ids.copy_(ids)
        self._positions.fill_(index + self._rope_delta)
        self._write_slot.fill_(index)
        self._steps += 1
        if self._graph is not None:
            self._graph.replay()
            assert self._logits is not None
            return self._logits
        if not self._can_capture or self._steps <= MIN_EAGER_STEPS:
            return self._forward()
        states = self._cache.linear_states()
        logits = self._forward()
        self._capture(logits, states)
        if self._graph is None:
            # A wrong graph has written to the cache. The step is the same again from the states before it.
            self._cache.rewind_step(states)
            logits = self._forward()
        return logits

    def _move_read_end(self, index: int) -> None:
        """Let the steps read at least up to `index`, and twice as many tokens of question and reply as before.

        So a long reply moves the end a few times, each of which takes a capture.
        """
        tokens = max(index + 1 - self._prefix, 2 * (self._read_end - self._prefix) if self._graph else 0)
        steps = math.ceil(tokens / READ_STEP_TOKENS)
        end = min(self._cache.capacity, self._prefix + steps * READ_STEP_TOKENS)
        self._cache.zero_unwritten(index, end)
        self._read_end, self._graph = end, None

    def _forward(self) -> torch.Tensor:
        self._cache.set_write_slot(self._write_slot, self._read_end)
        try:
            out = self._model.model.language_model(
                input_ids=self._ids,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                prefix=self._prefix,
                write_slot=self._write_slot,
            )
            logits: torch.Tensor = self._model.lm_head(out.last_hidden_state[0, -1])
            return logits
        finally:
            self._cache.set_write_slot(None)

    def _capture(self, expected: torch.Tensor, states: list[LinearState]) -> None:
        """Capture the step as a graph, and use it if its replay agrees with the eager step.

        `expected`: logits of the eager step. `states`: those of the linear layers before it. The replay writes the same keys and
        values again, but a state would take the token in twice.
        """
        self._can_capture = False
        try:
            graph = torch.cuda.CUDAGraph()
            with _capturing(graph, self._ids.device):
                logits = self._forward()
            self._cache.rewind_step(states)
            graph.replay()
            difference = float((logits.float() - expected.float()).abs().max() / expected.float().std())
        except RuntimeError as error:
            # Some layers cannot be captured, such as experts that the host selects.
            log.warning("decoding remains eager, because no graph can be captured: %s", error)
            return
        # Not `>`, because the difference is NaN if a logit is NaN.
        if not difference <= LOGITS_TOLERANCE:
            log.warning(
                "decoding remains eager: the captured graph differs by %.3f standard deviations of the logits", difference
            )
            return
        self._can_capture, self._graph, self._logits = True, graph, logits


@functools.cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Create the stream on which graphs are captured. It is kept, because cuBLAS keeps a workspace for each stream."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _capturing(graph: torch.cuda.CUDAGraph, device: torch.device) -> Iterator[None]:
    """Capture the work of this thread in `graph`. In the end, also after an error, the thread is back on its former stream.

    Raises:
        RuntimeError: the work cannot be captured.
    """
    # `torch.cuda.graph` does not restore the stream if the capture fails, so an outer context does it.
    with _CAPTURE_LOCK, torch.cuda.stream(stream := _capture_stream(device)):
        pool = torch.cuda.graph_pool_handle()
        try:
            # Other threads allocate at the same time; only the work of this thread is captured.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                yield
        except RuntimeError:
            # Before torch 2.13, the allocator remains in the state of a capture if that fails, and no longer frees memory
            # (pytorch/pytorch#180395). Where torch has ended that state, this call is an error.
            with contextlib.suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            raise
