"""A KV cache of fixed size. It is allocated once, filled in place, and cropped by moving its end."""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from longview.model.errors import ContextOverflow


class PreallocatedKVCacheLayer(CacheLayerMixin):
    """Keys and values of one layer, (1, KV heads, capacity, head size) each. The first `length` positions are filled."""

    is_croppable = True
    is_sliding = False

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0
        self.write_slot: torch.Tensor | None = None
        """Position of the next token in steps of fixed shape, int64 (1,) on the device. `length` is constant then."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the tensors. Heads, head size, dtype and device come from the first states."""
        batch, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        # Empty, not zeros: nothing beyond `length` is read, and untouched pages take no memory.
        self.keys = torch.empty((batch, heads, self.capacity, size), dtype=self.dtype, device=self.device)
        self.values = torch.empty((batch, heads, self.capacity, value_states.shape[-1]), dtype=self.dtype, device=self.device)
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,  # noqa: ARG002 (transformers passes what other caches need)
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states of shape (1, KV heads, n, head size), and return views of the filled positions.

        With a `write_slot`, write one token there and return the whole tensors.

        Raises:
            ContextOverflow: the states do not fit. The cache is unchanged.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if self.write_slot is not None:
            self.keys.index_copy_(2, self.write_slot, key_states)
            self.values.index_copy_(2, self.write_slot, value_states)
            return self.keys, self.values
        end = self.length + key_states.shape[-2]
        if end > self.capacity:
            raise ContextOverflow(f"The context of {self.capacity} tokens is full; ask a shorter question.")
        self.keys[:, :, self.length : end].copy_(key_states)
        self.values[:, :, self.length : end].copy_(value_states)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length and the offset of the keys that a mask has to cover."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of filled positions."""
        return self.length

    def get_max_length(self) -> int:
        """Return the capacity."""
        return self.capacity

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last tokens. As everywhere in transformers, their number is negative."""
        self.length = max(0, self.length - abs(tokens_to_remove))

    def move_to(self, device: torch.device, length: int) -> None:
        """See `PreallocatedKVCache.move_to`."""
        # "cuda" and "cuda:0" are the same device. A move within it would copy gigabytes.
        if not self.is_initialized or self.device.type == device.type:
            return
        assert self.keys is not None and self.values is not None
        for name in ("keys", "values"):
            old: torch.Tensor = getattr(self, name)
            new = torch.empty(old.shape, dtype=old.dtype, device=device)
            new[:, :, :length].copy_(old[:, :, :length])
            # One tensor at a time, so that at most one is on both devices.
            setattr(self, name, new)
        self.device = device


class PreallocatedKVCache(Cache):
    """A KV cache for a model with full attention in all layers."""

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers=[PreallocatedKVCacheLayer(capacity) for _ in range(layers)])
        self.capacity = capacity

    @property
    def size_bytes(self) -> int:
        """Size of the allocated tensors."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers if layer.is_initialized)

    def move_to(self, device: str, *, length: int) -> None:
        """Move the first `length` tokens to another device, and allocate the rest there."""
        for layer in self.layers:
            layer.move_to(torch.device(device), length)

    def zero_unwritten(self, length: int) -> None:
        """Zero all positions from `length` on. Attention reads them before it masks them, so they must not be NaN."""
        for layer in self.layers:
            layer.keys[:, :, length:] = 0
            layer.values[:, :, length:] = 0

    def set_write_slot(self, slot: torch.Tensor | None) -> None:
        """Write the following tokens to position `slot`, int64 (1,). None: append again."""
        for layer in self.layers:
            layer.write_slot = slot

    def advance(self) -> None:
        """Count one more filled position: the one that `write_slot` selects.

        Raises:
            ContextOverflow: the cache is full.
        """
        if self.get_seq_length() >= self.capacity:
            raise ContextOverflow(f"The context of {self.capacity} tokens is full; ask a shorter question.")
        for layer in self.layers:
            layer.length += 1

    def crop_to(self, length: int) -> None:
        """Keep only the first `length` tokens. After a failed step, some layers may hold more tokens than others."""
        for layer in self.layers:
            layer.crop(-max(0, layer.get_seq_length() - length))
