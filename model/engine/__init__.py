"""Inference: checkpoints, sessions over a KV cache, generation, and models that other programs serve."""
