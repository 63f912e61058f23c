"""Cost estimates: a sampling plan -> memory and time on this device, from shapes and a measured speed, before any decoding."""

import functools

from longview.model.engine.checkpoints.layer_types import FULL_ATTENTION, LINEAR_ATTENTION, read_layer_types
from longview.model.engine.costs.model_shape import ModelShape, Speed
from longview.model.engine.costs.model_sizes import ModelSizes
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS
from longview.video.sampling_plan import SamplingPlan

FLOAT32_BYTES = 4
"""Size of a number in float32, in bytes."""
VISION_TENSORS = 18
"""Number of tensors (patches, width of the vision tower) that a layer of it holds at once: rotary positions are in float32."""
HIDDEN_TENSORS = 9
"""Number of tensors (tokens, hidden size) that a layer of the language model holds at once."""
QUERY_TENSORS = 19
"""Number of tensors (tokens, heads x head size) that its attention holds at once: keys and values are repeated for all heads, and
the parts of a split past are merged in float32."""
LINEAR_TENSORS = 12
"""Number of float32 tensors (tokens, value heads, head size) that a linear-attention layer holds at once in torch operations:
192 KiB per token for Qwen3.5-9B, of which 180 to 196 KB were measured."""
SNAPSHOTS = 2
"""Number of copies of the state of a linear layer: at the end of the video, and at the end of its transcript."""
LINEAR_CHUNK = 64
"""Tokens that the gated delta rule handles at once (transformers `torch_chunk_gated_delta_rule`)."""


class Estimates:
    """An estimator of time and memory for one model, by its sizes alone."""

    def __init__(self, sizes: ModelSizes, device_type: str) -> None:
        """`device_type`: of the device that the estimates are for."""
        self._sizes, self._text, self._vision = sizes, sizes.text, sizes.vision
        self._device_type = device_type
        layer_types = read_layer_types(self._text, "this checkpoint")
        self._full_layers, self._linear_layers = layer_types.count(FULL_ATTENTION), layer_types.count(LINEAR_ATTENTION)

    @property
    def kv_bytes_per_token(self) -> int:
        """KV cache size per token over all full-attention layers, in the dtype of the model."""
        heads = int(getattr(self._text, "num_key_value_heads", None) or self._text.num_attention_heads)
        return 2 * self._full_layers * heads * self._head_size * self._element_bytes

    @property
    def state_bytes(self) -> int:
        """Size of the states of all linear-attention layers with their snapshots. It does not depend on the length."""
        if not self._linear_layers:
            return 0
        text = self._text
        keys = text.linear_num_key_heads * text.linear_key_head_dim
        values = text.linear_num_value_heads * text.linear_value_head_dim
        convolution = (2 * keys + values) * text.linear_conv_kernel_dim * self._element_bytes
        recurrent = values * text.linear_key_head_dim * FLOAT32_BYTES
        return self._linear_layers * (convolution + recurrent) * (1 + SNAPSHOTS)

    @property
    def _element_bytes(self) -> int:
        return self._sizes.element_bytes

    @property
    def _head_size(self) -> int:
        return int(getattr(self._text, "head_dim", None) or self._text.hidden_size // self._text.num_attention_heads)

    @property
    def _merged_patches(self) -> int:
        """Number of vision patches that are merged into one token."""
        return int(self._vision.spatial_merge_size) ** 2

    @property
    def _feed_forward_width(self) -> int:
        """Width of the feed-forward layer that one token passes through."""
        experts = int(getattr(self._text, "num_experts_per_tok", None) or 0) * int(
            getattr(self._text, "moe_intermediate_size", None) or 0
        )
        shared_size = int(getattr(self._text, "shared_expert_intermediate_size", None) or 0)
        return experts + shared_size or int(self._text.intermediate_size)

    @property
    def chunk_bytes(self) -> int:
        """Peak size of the activations of one chunk. It does not depend on the length of the video."""
        return self._chunk_bytes_per_token * CHUNK_TOKENS[self._device_type]

    @property
    def _chunk_bytes_per_token(self) -> int:
        # Pixels, vision tower and language model run one after the other; the largest of them counts. The numbers of tensors that
        # each holds at once were counted on tensors without data (tests/model/engine/costs/test_chunk_memory.py).
        patch_values = self._merged_patches * 3 * self._vision.temporal_patch_size * self._vision.patch_size**2
        pixels = patch_values * (1 + 2 * FLOAT32_BYTES + self._element_bytes)
        width = self._vision.intermediate_size + VISION_TENSORS * self._vision.hidden_size
        deepstack = len(getattr(self._vision, "deepstack_visual_indexes", None) or ()) * self._text.hidden_size
        vision = (self._merged_patches * width + deepstack) * self._element_bytes + patch_values * FLOAT32_BYTES
        hidden, queries = self._text.hidden_size, self._text.num_attention_heads * self._head_size
        # Each expert of a token gets a copy of its hidden state, and returns one.
        copies = 2 * int(getattr(self._text, "num_experts_per_tok", None) or 0) * hidden
        feed_forward = 3 * self._feed_forward_width + HIDDEN_TENSORS * hidden + copies
        text = max(feed_forward, QUERY_TENSORS * queries + HIDDEN_TENSORS * hidden) * self._element_bytes
        if self._linear_layers:
            head_size = max(self._text.linear_key_head_dim, self._text.linear_value_head_dim)
            text += LINEAR_TENSORS * self._text.linear_num_value_heads * head_size * FLOAT32_BYTES
        return int(max(pixels, vision, text))

    @property
    def weight_bytes(self) -> int:
        """Size of the weights in memory."""
        return self._sizes.weight_bytes

    def session_bytes(self, tokens: int) -> int:
        """Return the size of the cache of a session of `tokens` tokens."""
        return self.shape.session_bytes(tokens)

    def bytes_for(self, plan: SamplingPlan) -> int:
        """Estimate memory; see `longview.model.engine.base.Engine.estimated_bytes`."""
        return self.weight_bytes + self.session_bytes(max(plan.window_tokens)) + self.chunk_bytes

    def seconds_for(self, plan: SamplingPlan, speed: Speed, *, reply_tokens: int, transcript_tokens: int = 0) -> float:
        """Estimate time from a measured speed; see `longview.model.engine.base.Engine.estimated_seconds`."""
        return self.shape.seconds_for(plan, speed, reply_tokens=reply_tokens, transcript_tokens=transcript_tokens)

    def flops(self, tokens: int, visual: int, tokens_per_patch: int) -> tuple[float, float]:
        """Count the operations of a prefill; see `ModelShape.flops`."""
        return self.shape.flops(tokens, visual, tokens_per_patch)

    def attention_flops(self, tokens: int) -> float:
        """Count the operations of causal attention over `tokens` tokens, in all layers of the language model."""
        return self.shape.attention_flops * tokens**2

    @functools.cached_property
    def shape(self) -> ModelShape:
        """The cost of the model as numbers."""
        text_weights, vision_weights = self._sizes.text_weights, self._sizes.vision_weights
        text_flops = 2.0 * text_weights
        if self._linear_layers:
            size = self._text.linear_key_head_dim * self._text.linear_value_head_dim
            within = 2 * LINEAR_CHUNK * (self._text.linear_key_head_dim + self._text.linear_value_head_dim)
            text_flops += self._linear_layers * self._text.linear_num_value_heads * (6.0 * size + within)
        head_weights = int(self._text.vocab_size) * int(self._text.hidden_size)
        return ModelShape(
            weight_bytes=self.weight_bytes,
            active_bytes=int((text_weights + head_weights) * self._element_bytes),
            kv_bytes_per_token=self.kv_bytes_per_token,
            state_bytes=self.state_bytes,
            chunk_bytes_per_token=self._chunk_bytes_per_token,
            text_flops=text_flops,
            vision_flops=2.0 * vision_weights * self._merged_patches,
            vision_attention_flops=4.0 * self._vision.depth * self._vision.hidden_size * self._merged_patches**2,
            attention_flops=2.0 * self._full_layers * self._text.num_attention_heads * self._head_size,
        )
