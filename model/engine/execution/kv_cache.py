"""The cache of one session: keys and values of the full-attention layers, and states of the linear-attention layers.

Keys and values are allocated once, filled in place, and cropped by moving their end. The state of a linear layer is a sum over
all tokens, from which none can be removed. It is therefore copied where the cache will be cropped to (`snapshot`).
"""

from collections.abc import Sequence
from typing import Any

import torch

from longview.model.engine.checkpoints.layer_types import FULL_ATTENTION
from longview.model.engine.execution.linear_state import LinearState, LinearStateLayer
from longview.model.engine.transformers_names import Cache, CacheLayerMixin
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
        self.read_end = capacity
        """Number of positions that such a step reads."""

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

        With a `write_slot`, write one token there and return views of the first `read_end` positions.

        Raises:
            ContextOverflow: the states do not fit. The cache is unchanged.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if self.write_slot is not None:
            self.keys.index_copy_(2, self.write_slot, key_states)
            self.values.index_copy_(2, self.write_slot, value_states)
            return self.keys[:, :, : self.read_end], self.values[:, :, : self.read_end]
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
        """Move the first `length` positions to another device, and allocate the rest there."""
        if not self.is_initialized or self.device == device:
            return
        assert self.keys is not None and self.values is not None
        for name in ("keys", "values"):
            old: torch.Tensor = getattr(self, name)
            new = torch.empty(old.shape, dtype=old.dtype, device=device)
            for head in range(old.shape[1]):
                # The positions of one head are contiguous. Copies of all heads at once go through contiguous temporaries on
                # both devices, just when memory is short.
                new[:, head, :length].copy_(old[:, head, :length])
            # One tensor at a time, so that at most one is on both devices.
            setattr(self, name, new)
        self.device = device


class PreallocatedCache(Cache):
    """The cache of a model with full attention, or with full and linear attention, in its layers.

    Each layer is allocated on the device of its first states, which is that of the layer's weights.
    """

    def __init__(self, layer_types: Sequence[str], capacity: int) -> None:
        """`layer_types`: see `longview.model.engine.checkpoints.layer_types.read_layer_types`. `capacity`: in tokens."""
        layers = [PreallocatedKVCacheLayer(capacity) if kind == FULL_ATTENTION else LinearStateLayer() for kind in layer_types]
        super().__init__(layers=layers)
        self.capacity = capacity
        self._attention = [layer for layer in layers if isinstance(layer, PreallocatedKVCacheLayer)]
        self._linear = [layer for layer in layers if isinstance(layer, LinearStateLayer)]
        self._homes: list[torch.device] = []
        """Devices of the layers before they were offloaded."""

    @property
    def size_bytes(self) -> int:
        """Size of the allocated tensors, with the snapshots of states."""
        keys = [layer.keys.nbytes + layer.values.nbytes for layer in self._attention if layer.is_initialized]
        return sum(keys) + sum(layer.size_bytes for layer in self._linear)

    def snapshot(self) -> None:
        """Copy the states of linear layers, so that `crop_to` can return to the current length."""
        for layer in self._linear:
            layer.snapshot(self.get_seq_length())

    def rewind_step(self, states: Sequence[LinearState]) -> None:
        """Restore the states that `linear_states` returned. Keys and values of a step need no copy: it writes them again."""
        for layer, state in zip(self._linear, states, strict=True):
            layer.restore(state)

    def linear_states(self) -> list[LinearState]:
        """Return copies of the states of all linear layers."""
        return [layer.copy_state() for layer in self._linear]

    def offload(self, *, length: int) -> None:
        """Move the first `length` tokens to the host's memory. `length` is one that `crop_to` can return to."""
        self._homes = self._homes or [layer.device for layer in self.layers]
        for layer in self.layers:
            layer.move_to(torch.device("cpu"), length)

    def restore(self, *, length: int) -> None:
        """Move what `offload` moved back to its devices."""
        # There are no homes unless the cache was offloaded.
        for layer, home in zip(self.layers, self._homes, strict=False):
            layer.move_to(home, length)
        self._homes = []

    def zero_unwritten(self, length: int, end: int | None = None) -> None:
        """Zero the positions from `length` to `end`. Attention reads them before it masks them, so they must not be NaN."""
        for layer in self._attention:
            layer.keys[:, :, length:end] = 0
            layer.values[:, :, length:end] = 0

    def set_write_slot(self, slot: torch.Tensor | None, read_end: int | None = None) -> None:
        """Write the following tokens to position `slot`, int64 (1,), and read the first `read_end` positions, by default all.

        None: append again.
        """
        for layer in self._attention:
            layer.write_slot, layer.read_end = slot, read_end or self.capacity

    def advance(self) -> None:
        """Count one more filled position: the one that `write_slot` selects.

        Raises:
            ContextOverflow: the cache is full.
        """
        if self.get_seq_length() >= self.capacity:
            raise ContextOverflow(f"The context of {self.capacity} tokens is full; ask a shorter question.")
        for layer in self._attention:
            layer.length += 1

    def skip_to(self, length: int) -> None:
        """Count positions up to `length` as filled with zeros, to measure the speed after a long past."""
        self.zero_unwritten(self.get_seq_length())
        for layer in self._attention:
            layer.length = length

    def crop_to(self, length: int) -> None:
        """Keep only the first `length` tokens. After a failed step, some layers may hold more tokens than others.

        A model with linear layers can be cropped only to a length at which `snapshot` was called.
        """
        for layer in self._attention:
            layer.crop(-max(0, layer.get_seq_length() - length))
        for state in self._linear:
            state.crop_to(length)
