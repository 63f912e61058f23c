"""The state of one linear-attention layer (Gated DeltaNet; Yang et al. 2024), with copies to return to.

A linear layer keeps the last inputs of its convolution, and one recurrent matrix per head that sums up all tokens. Both have a
fixed size. No token can be removed from them, so a crop restores a copy that was made at that length.
"""

import torch

from longview.model.engine.transformers_names import LinearAttentionLayer

LinearState = tuple[torch.Tensor, torch.Tensor]
"""Inputs of the convolution (1, channels, kernel size), and the recurrent matrices (1, heads, key size, value size), float32."""


class LinearStateLayer(LinearAttentionLayer):
    """A state with snapshots by length. transformers updates it in place, so that a CUDA graph can be replayed on it."""

    def __init__(self) -> None:
        super().__init__()
        self.device: torch.device | None = None
        self._snapshots: dict[int, LinearState] = {}

    @property
    def size_bytes(self) -> int:
        """Size of the state and of its snapshots."""
        pairs = [(self.conv_states[0], self.recurrent_states[0]), *self._snapshots.values()]
        return sum(state.nbytes for pair in pairs for state in pair if state is not None)

    def recent_inputs(self, inputs: torch.Tensor, size: int) -> torch.Tensor:
        """Return the last inputs of the convolution (channels, size), to be updated in place; zeros before the first token.

        `inputs`: (n, channels), which give number, dtype and device of the channels.
        """
        if not self.is_conv_states_initialized[0]:
            self.lazy_initialization(conv_states=inputs.new_zeros(1, inputs.shape[1], size))
            self.has_previous_state[0] = True
        convolution = self.conv_states[0]
        assert convolution is not None
        return convolution[0]

    def recurrent(self, heads: int, key_size: int, value_size: int, device: torch.device) -> torch.Tensor:
        """Return the recurrent matrices (heads, key size, value size), to be updated in place; zeros before the first token."""
        if not self.is_recurrent_states_initialized[0]:
            self.lazy_initialization(recurrent_states=torch.zeros(1, heads, key_size, value_size, device=device))
        recurrent = self.recurrent_states[0]
        assert recurrent is not None
        return recurrent[0]

    def copy_state(self) -> LinearState:
        """Return a copy of the state."""
        convolution, recurrent = self.conv_states[0], self.recurrent_states[0]
        assert convolution is not None and recurrent is not None
        return convolution.clone(), recurrent.clone()

    def restore(self, state: LinearState) -> None:
        """Set the state to a copy, in place."""
        # The tensors were made in this mode, and cannot be changed outside of it.
        with torch.inference_mode():
            self.conv_states[0].copy_(state[0])
            self.recurrent_states[0].copy_(state[1])

    def snapshot(self, length: int) -> None:
        """Copy the state at `length` tokens."""
        self._snapshots[length] = self.copy_state()

    def crop_to(self, length: int) -> None:
        """Return to the snapshot at `length` tokens, and drop those of later tokens, which are no longer in the cache."""
        self._snapshots = {end: state for end, state in self._snapshots.items() if end <= length}
        self.restore(self._snapshots[length])

    def move_to(self, device: torch.device, length: int) -> None:
        """Move the snapshots to another device, and make the state anew from the one at `length` tokens."""
        if self.device in (None, device):
            return
        self._snapshots = {end: (conv.to(device), state.to(device)) for end, (conv, state) in self._snapshots.items()}
        self.conv_states[0], self.recurrent_states[0] = (tensor.clone() for tensor in self._snapshots[length])
        self.device = device
