"""A measurement of the tensors that a computation holds, in bytes, which also works on tensors without data."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorMemory(TorchDispatchMode):
    """A recorder of the storages that operations create: `peak_bytes` is the peak of their size together."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = self._live_bytes = 0
        self._references: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor, inputs)
        return result

    def _count(self, tensor: torch.Tensor, inputs: set[int]) -> None:
        storage, size_bytes = _storage(tensor), tensor.untyped_storage().nbytes()
        if storage in inputs and not self._references[storage]:
            return  # It was created before the measurement.
        if not self._references[storage]:
            self._live_bytes += size_bytes
            self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        self._references[storage] += 1
        weakref.finalize(tensor, self._release, storage, size_bytes)

    def _release(self, storage: int, size_bytes: int) -> None:
        self._references[storage] -= 1
        if not self._references[storage]:
            self._live_bytes -= size_bytes


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
