"""The feed-forward layers of a mixture of experts, registered with transformers.

A prefill multiplies the tokens of each expert as one group. A decoding step has one token: there, gathering the weights of its
experts is faster, and needs no synchronisation with the host, so that it can be captured as a CUDA graph. transformers' own
`generate` switches between the same two functions, but for the whole model; a prefill in another thread would then gather the
weights of every token.
"""

import torch

from longview.model.engine.transformers_names import ExpertsInterface, batched_mm_experts_forward, grouped_mm_experts_forward

EXPERTS = "longview_experts"


def _experts_forward(
    self: torch.nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    forward = batched_mm_experts_forward if hidden_states.shape[0] == 1 else grouped_mm_experts_forward
    out: torch.Tensor = forward(self, hidden_states, top_k_index, top_k_weights)
    return out


ExpertsInterface.register(EXPERTS, _experts_forward)
