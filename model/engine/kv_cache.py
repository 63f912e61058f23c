"""A KV cache of fixed size: allocated once, filled in place, cropped by moving its end."""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from longview.model.errors import ContextOverflow


class PreallocatedKVCacheLayer(CacheLayerMixin):
    """Keys and values of one layer, each of shape (1, KV heads, capacity, head size); the first `length` are filled."""

    is_croppable = True
    is_sliding = False

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0
        self.write_slot: torch.Tensor | None = None
        """While steps of fixed shape run: where the next token goes, int64 (1,) on the device. Then `length` is not touched."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate, once the first states tell heads, head size, type and device."""
        batch, heads, _, size = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        # Empty, not zeros: nothing beyond `length` is ever read, and untouched pages cost nothing yet.
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
        """Append states of shape (1, KV heads, n, head size); returns views of all that is filled.

        With a `slot` one token is put there, and everything is returned, filled or not.

        Raises:
            ContextFull: they do not fit; nothing was written.
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
            raise ContextOverflow(f"The context of {self.capacity} tokens is full.")
        self.keys[:, :, self.length : end].copy_(key_states)
        self.values[:, :, self.length : end].copy_(value_states)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask has to cover."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """How many tokens are filled."""
        return self.length

    def get_max_length(self) -> int:
        """How many tokens there is room for."""
        return self.capacity

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; as everywhere in transformers their number is given as a negative one."""
        self.length = max(0, self.length - abs(tokens_to_remove))

    def move_to(self, device: torch.device, length: int) -> None:
        """See `FixedCache.move_to`."""
        # "cuda" and "cuda:0" are one device, and moving to where it is already would copy gigabytes.
        if not self.is_initialized or self.device.type == device.type:
            return
        assert self.keys is not None and self.values is not None
        for name in ("keys", "values"):
            old: torch.Tensor = getattr(self, name)
            new = torch.empty(old.shape, dtype=old.dtype, device=device)
            new[:, :, :length].copy_(old[:, :, :length])
            # One after the other, so that no more than one tensor is on both devices at once.
            setattr(self, name, new)
        self.device = device


class PreallocatedKVCache(Cache):
    """One `FixedLayer` for each layer of a model with full attention everywhere."""

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers=[PreallocatedKVCacheLayer(capacity) for _ in range(layers)])
        self.capacity = capacity

    @property
    def size_bytes(self) -> int:
        """What is allocated."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers if layer.is_initialized)

    def move_to(self, device: str, *, length: int) -> None:
        """Move the first `length` tokens to another device; room for the rest is made there anew."""
        for layer in self.layers:
            layer.move_to(torch.device(device), length)

    def zero_unwritten(self, length: int) -> None:
        """Make what was never written harmless: attention that reads and then masks it must find no NaN there."""
        for layer in self.layers:
            layer.keys[:, :, length:] = 0
            layer.values[:, :, length:] = 0

    def set_write_slot(self, slot: torch.Tensor | None) -> None:
        """From now on one token goes to `slot`, int64 (1,); None: append again."""
        for layer in self.layers:
            layer.slot = slot

    def advance(self) -> None:
        """One token more is filled: the one that was put into a slot.

        Raises:
            ContextFull: there is no room for it.
        """
        if self.get_seq_length() >= self.capacity:
            raise ContextOverflow(f"The context of {self.capacity} tokens is full.")
        for layer in self.layers:
            layer.length += 1

    def crop_to(self, length: int) -> None:
        """Forget all but the first `length` tokens, also in layers that a failed step has filled further than others."""
        for layer in self.layers:
            layer.crop(-max(0, layer.get_seq_length() - length))
