"""The choices of `--precision`, and the sizes that `auto` follows, without what computes with them."""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Number format of the weights on a CPU; `int8`: linear layers in 8 bits (`longview.model.engine.kernels.precision`)."""
FLOAT32_SHARE = 0.6
"""Maximum share of the host's free memory for weights in float32. Above it they are kept in bfloat16."""
MIN_LARGE_BYTES = 200 << 20
"""Minimum size of the weights of a large checkpoint, in bytes. On a CPU a smaller one runs on one thread, in float32 unless asked
otherwise, and its plans save no tokens: one step is too little work to share, and fast enough."""
