"""Inference: checkpoints, sessions over a KV cache, generation, and remote models."""

import os

# How long a thread of GNU OpenMP, which PyTorch uses on Linux, waits actively for the others. It is read when PyTorch is loaded.
# By default a thread waits so long that one busy core of two made a prefill ten times as slow: 44 s instead of 4.2 s. With this
# value it took 12 s beside the busy core, and 4.6 s without it. (Qwen3.5-0.8B, 8 bits, 1,100 tokens.)
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
