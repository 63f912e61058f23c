"""The speed of a model that is not loaded, from that of products of matrices on its device."""

from longview.model.engine.costs.model_shape import ModelShape, Speed

PREFILL_OVERHEAD = {"cpu": 1.7}
"""Time of a prefill, as a multiple of the time of its products of matrices alone, by device type; for others
`ACCELERATOR_OVERHEAD`. (1.4 to 1.8 for Qwen3.5-0.8B and -2B in bfloat16 on one and two x86-64 cores with AMX.)"""
STEP_OVERHEAD = {"cpu": 1.4}
"""Time of a decoding step, as a multiple of the time that one product needs to read its weights, by device type; for others
`ACCELERATOR_OVERHEAD`. (1.3 to 1.5, as above.)"""
ACCELERATOR_OVERHEAD = 2.5
"""The same on accelerators: 2.4 to 2.9 for prefills of 33K to 262K tokens of Qwen3-VL-2B and -8B on an H100, by a simple
implementation (docs/performance.md). Decoding steps were not measured."""


def expected_speed(shape: ModelShape, device_type: str, flops_per_s: float, bytes_per_s: float) -> Speed:
    """Estimate the speed of a model that is not loaded, from that of products of matrices in its format.

    `flops_per_s`: operations per second of a product with many rows; `bytes_per_s`: weights that one with a single row reads.
    """
    flops_per_s /= PREFILL_OVERHEAD.get(device_type, ACCELERATOR_OVERHEAD)
    bytes_per_s /= STEP_OVERHEAD.get(device_type, ACCELERATOR_OVERHEAD)
    return Speed(flops_per_s, flops_per_s, shape.active_bytes / bytes_per_s, shape.kv_bytes_per_token / bytes_per_s)
