"""The weights of a model that leave their device while another checkpoint uses it; see `weight_swapping`."""

from typing import Any

import psutil
import torch

from longview.model.engine.devices import memory_errors
from longview.model.errors import DeviceBusy, OutOfMemory

MAX_HOST_COPY_SHARE = 0.9
"""Maximum share of the host's free memory for the copies of weights."""


class MovableWeights:
    """The weights of a model on a device, with a copy in the host's memory from the first move on.

    Weights do not change, so that a later move away only frees the device.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device: torch.device = model.device
        self._host: dict[torch.Tensor, torch.Tensor] = {}
        self._is_away = False

    def leave(self) -> None:
        """Free the device.

        Raises:
            DeviceBusy: the host has no memory for the weights. They stay on the device.
        """
        if self._is_away:
            return
        missing = [tensor for tensor in self._tensors() if tensor not in self._host]
        self._check_host(sum(tensor.numel() * tensor.element_size() for tensor in missing))
        with memory_errors("the weights of the other checkpoint", "choose a smaller --grounding-model"):
            self._host |= {tensor: tensor.data.to("cpu", copy=True) for tensor in missing}
        for tensor in self._tensors():
            tensor.data = self._host[tensor]
        self._is_away = True
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _check_host(self, size_bytes: int) -> None:
        """Linux gives memory that does not exist, and ends the process when it is used."""
        free_bytes = psutil.virtual_memory().available
        if size_bytes > MAX_HOST_COPY_SHARE * free_bytes:
            raise DeviceBusy(
                f"The two checkpoints take turns on the device, and {size_bytes / 1e9:.1f} GB of weights do not fit into the "
                f"{free_bytes / 1e9:.1f} GB of memory that are free; choose a smaller --grounding-model, or serve it elsewhere "
                "(--grounding-server)."
            )

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
