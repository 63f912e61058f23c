"""The KV cache of one session in three parts: the video, a context that questions share, and one question with its reply.

The video is never prefilled again. The context (the transcript) stays until a question has another one. A question and
its reply are cropped when the reply has ended.
"""

from typing import Any

import torch

from longview.core.progress import Progress
from longview.model.engine.devices import inference, memory_errors
from longview.model.engine.execution.cuda_graph import CudaGraphDecoder
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import append_tokens, next_logits


class SessionCache:
    """The KV cache of a session, and the CUDA graph that decodes from it. Only one reply may use it at a time."""

    def __init__(self, model: Any, cache: PreallocatedCache, *, rope_delta: int) -> None:
        """`cache`: filled up to the end of the video. `rope_delta`: see `longview.model.engine.execution.prefill.Prefill`."""
        self.cache = cache
        self.decoder: CudaGraphDecoder | None = None
        """The captured decoding steps; None until the second token of a reply on a GPU."""
        self.fixed_tokens = cache.get_seq_length()
        """Length of the video and the context, which stay when a reply ends."""
        self._model, self._rope_delta = model, rope_delta
        self._video_tokens = self.fixed_tokens
        self._context_ids: list[int] = []
        cache.snapshot()

    @property
    def free_tokens(self) -> int:
        """Tokens that fit after the video and the context."""
        return self.cache.capacity - self.fixed_tokens

    def use_context(self, ids: torch.Tensor, progress: Progress) -> None:
        """Put a context (1, n) after the video, unless it is already there; with n = 0, remove the one that is there.

        If the prefill fails or is cancelled, `crop` leaves the video alone in the cache.

        Raises:
            OutOfMemory: the device does not have enough memory. ContextOverflow: the context does not fit.
            Cancelled: the operation was cancelled; this is raised before the next chunk.
        """
        context_ids = ids[0].tolist()
        if context_ids == self._context_ids:
            return
        self._context_ids, self.fixed_tokens = [], self._video_tokens
        # Its steps were captured for another length of the part that stays.
        self.decoder = None
        self.crop()
        with inference("the transcript of the video"):
            for chunk in ids.split(CHUNK_TOKENS[self._model.device.type], dim=1) if context_ids else ():
                progress.raise_if_cancelled()
                append_tokens(self._model, chunk, self.cache, self._rope_delta)
            self.cache.snapshot()
        self._context_ids, self.fixed_tokens = context_ids, self.cache.get_seq_length()

    def next_logits(self, ids: torch.Tensor, *, uses_cuda_graph: bool) -> torch.Tensor:
        """Append token ids (1, n) to the cache; return the logits (vocabulary,) of the next token."""
        with inference("the reply"):
            if not (uses_cuda_graph and ids.shape[1] == 1):
                return next_logits(self._model, ids, self.cache, self._rope_delta)
            if self.decoder is None:
                self.decoder = CudaGraphDecoder(self._model, self.cache, prefix=self.fixed_tokens, rope_delta=self._rope_delta)
            return self.decoder(ids)

    def crop(self) -> None:
        """Remove all that follows the video and the context."""
        self.cache.crop_to(self.fixed_tokens)

    def offload(self) -> None:
        """Move the cache to the host's memory."""
        # A captured CUDA graph holds the addresses of the cache.
        self.decoder = None
        with memory_errors("the move of a session to the host"):
            self.cache.offload(length=self.fixed_tokens)

    def restore(self) -> None:
        """Move the cache back to its devices, also if it was offloaded just before this reply."""
        with memory_errors(f"{self.fixed_tokens} tokens"):
            self.cache.restore(length=self.fixed_tokens)
