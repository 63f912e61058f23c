"""The choices of `--precision`, without what computes with them."""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16", "int8"]
"""Number format of the weights on a CPU; `int8`: linear layers in 8 bits (`longview.model.engine.kernels.precision`)."""
