"""One step of decoding whose shapes and addresses never change, so that a GPU can replay it as one graph.

A step is a few hundred small kernels, and launching them one by one from Python takes longer than they do. The video's
part of the cache is the same for every step of a session and is read in the same parts; what comes behind it, question and
reply, is read whole and masked by a position that lies in the device's memory.
"""

import logging
from typing import Any

import torch

from longview.model.engine.kv_cache import PreallocatedKVCache

log = logging.getLogger(__name__)

MIN_EAGER_STEPS = 8
"""Shorter replies are over before a graph has paid for itself: it takes some steps' time to record."""
LOGITS_TOLERANCE = 0.05
"""Of the logits' spread, how far a replayed graph may be from the step that it records; in bf16 orders of sums differ."""


class CudaGraphDecoder:
    """Decoding steps behind one cache."""

    def __init__(self, model: Any, cache: PreallocatedKVCache, *, prefix: int, rope_delta: int) -> None:
        """`prefix`: the tokens of the video, which the cache holds for good."""
        self._model, self._cache, self._prefix, self._rope_delta = model, cache, prefix, rope_delta
        self._ids = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        self._positions = torch.zeros((3, 1, 1), dtype=torch.long, device=model.device)
        self._write_slot = torch.zeros(1, dtype=torch.long, device=model.device)
        self._graph: Any = None
        self._logits: torch.Tensor | None = None
        self._steps = 0
        self._can_capture = model.device.type == "cuda"
        cache.zero_unwritten(cache.get_seq_length())

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Append a token (1, 1); returns the logits (vocabulary,) of the next one, good until the next step.

        Raises:
            ContextFull: there is no room for it.
        """
        at = self._cache.get_seq_length()
        self._cache.advance()
        self._ids.copy_(ids)
        self._positions.fill_(at + self._rope_delta)
        self._write_slot.fill_(at)
        self._steps += 1
        if self._graph is not None:
            self._graph.replay()
            assert self._logits is not None
            return self._logits
        logits = self._forward()
        if self._can_capture and self._steps > MIN_EAGER_STEPS:
            self._capture(logits)
        return logits

    def _forward(self) -> torch.Tensor:
        self._cache.set_write_slot(self._write_slot)
        try:
            out = self._model.model.language_model(
                input_ids=self._ids,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                prefix=self._prefix,
                slot=self._write_slot,
            )
            logits: torch.Tensor = self._model.lm_head(out.last_hidden_state[0, -1])
            return logits
        finally:
            self._cache.set_write_slot(None)

    def _capture(self, expected: torch.Tensor) -> None:
        """Record the step as a graph, and keep it if replaying it gives what the step gave."""
        self._can_capture = False
        try:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads go on allocating meanwhile: only this one's work is recorded.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                logits = self._forward()
            graph.replay()
            apart = float((logits.float() - expected.float()).abs().max() / expected.float().std())
        except RuntimeError as error:
            # Some layers, such as experts chosen on the host, cannot be recorded.
            log.warning("decoding goes on step by step, because no graph can be recorded: %s", error)
            return
        if apart > LOGITS_TOLERANCE:
            log.warning("decoding goes on step by step, because the recorded graph is off by %.3f of the logits' spread", apart)
            return
        self._graph, self._logits = graph, logits
