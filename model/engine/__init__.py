"""Inference: checkpoints, sessions over a KV cache, generation, and remote models."""
