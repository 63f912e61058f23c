"""What a model costs, as a few numbers that do not depend on its weights: memory and operations by the number of tokens.

`longview.model.engine.costs.estimates` derives them from a loaded model; `longview.model.catalog` has those of published
checkpoints.
"""

from dataclasses import dataclass, replace

from longview.video.sampling_plan import SamplingPlan

MEMORY_SHARE = 0.8
"""Maximum share of the memory beside weights and one chunk for one KV cache."""


@dataclass(frozen=True)
class Speed:
    """The speed of one checkpoint on one machine."""

    flops_per_s: float
    """Operations per second of a prefill without attention to the past."""
    attention_flops_per_s: float
    """Operations per second of the attention to a long past."""
    step_s: float
    """Time of a decoding step at the beginning of a context, in seconds."""
    step_s_per_token: float
    """Time that each token of the context adds to a decoding step, in seconds."""


@dataclass(frozen=True)
class ModelShape:
    """The cost of a model in one number format."""

    weight_bytes: int
    active_bytes: int
    """Size of the weights that a decoding step reads: those of the active experts, and the head, without the vision tower."""
    kv_bytes_per_token: int
    """KV cache of a token over all full-attention layers."""
    state_bytes: int
    """States of all linear-attention layers of a session, with their snapshots. They do not depend on its length."""
    chunk_bytes_per_token: int
    """Activations of one token of a prefilled chunk."""
    text_flops: float
    """Operations of a token in the language model, without attention between tokens."""
    vision_flops: float
    """Operations of a visual token in the vision tower, without attention between its patches."""
    vision_attention_flops: float
    """Operations of the attention between the patches of two tokens of a frame."""
    attention_flops: float
    """Operations of the causal attention over n tokens, by n squared, in all layers of the language model."""

    def session_bytes(self, tokens: int) -> int:
        """Return the size of the cache of a session of `tokens` tokens."""
        return self.kv_bytes_per_token * tokens + self.state_bytes

    def session_tokens(self, size_bytes: float) -> int:
        """Return the length of the longest session whose cache has this size."""
        return max(0, int((size_bytes - self.state_bytes) / self.kv_bytes_per_token))

    def context_tokens(self, room_bytes: float) -> int:
        """Return the longest context for the memory beside the weights and the activations of a chunk."""
        return self.session_tokens(MEMORY_SHARE * room_bytes)

    def in_float32(self) -> "ModelShape":
        """Return the cost of a model in bfloat16 if it is loaded in float32. Recurrent states are in float32 already."""
        return replace(
            self,
            weight_bytes=2 * self.weight_bytes,
            active_bytes=2 * self.active_bytes,
            kv_bytes_per_token=2 * self.kv_bytes_per_token,
            chunk_bytes_per_token=2 * self.chunk_bytes_per_token,
        )

    def dequantized(self) -> "ModelShape":
        """Return the cost of a model in FP8 that is de-quantised to bfloat16 while it is loaded.

        Tables and the vision tower are in bfloat16 in the files, too; they are a hundredth of the weights.
        """
        return replace(self, weight_bytes=2 * self.weight_bytes, active_bytes=2 * self.active_bytes)

    def flops(self, tokens: int, visual: int, tokens_per_patch: int) -> tuple[float, float]:
        """Count the floating-point operations that prefill a prompt of `tokens` tokens, `visual` of them visual.

        Returns those of all layers without attention between tokens of the language model, and those of that attention.
        """
        vision = visual * (self.vision_flops + self.vision_attention_flops * tokens_per_patch)
        return self.text_flops * tokens + vision, self.attention_flops * tokens**2

    def seconds_for(self, plan: SamplingPlan, speed: Speed, *, reply_tokens: int, transcript_tokens: int = 0) -> float:
        """Estimate time from a speed; see `longview.model.engine.base.Engine.estimated_seconds`."""
        seconds = 0.0
        for window, timestamp_tokens in zip(plan.windows, plan.window_timestamp_tokens, strict=True):
            visual = round(window.temporal_patches * plan.kept_share) * plan.tokens_per_patch
            tokens = visual + round(timestamp_tokens * plan.kept_share) + transcript_tokens // len(plan.windows)
            dense, attention = self.flops(tokens, visual, plan.tokens_per_patch)
            seconds += dense / speed.flops_per_s + attention / speed.attention_flops_per_s
            seconds += reply_tokens * (speed.step_s + speed.step_s_per_token * tokens)
        return seconds
