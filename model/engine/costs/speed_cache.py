"""The measured speeds of checkpoints on this machine, and what they depend on, in the cache of the machine."""

from dataclasses import asdict, fields
from pathlib import Path

from longview.model.engine.costs.machine_cache import load_measurement, save_measurement
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.torch_packages import torch_version

ENGINE_SPEED_VERSION = 2
"""Version of the engine's speed, which grows when a change makes earlier measurements wrong."""


def load_speed(cache: Path | None, key: str) -> Speed | None:
    """Return the speed that was measured before; None without one, or if the file cannot be used."""
    numbers = load_measurement(cache, key)
    if numbers is None or set(numbers) != {field.name for field in fields(Speed)}:
        return None
    speed = Speed(**numbers)
    is_valid = min(speed.flops_per_s, speed.attention_flops_per_s, speed.step_s) > 0 and speed.step_s_per_token >= 0
    return speed if is_valid else None


def save_speed(cache: Path | None, key: str, speed: Speed) -> None:
    """Keep a speed for later processes; see `longview.model.engine.costs.machine_cache.save_measurement`."""
    save_measurement(cache, key, asdict(speed))


def speed_key(checkpoint: str, device_name: str, precision: str, threads: int) -> str:
    """Return what the speed of a checkpoint depends on, as the key of its measurement.

    `checkpoint`: its identity. `precision`: the number format of its weights, as PyTorch names it. `threads`: those of PyTorch.
    """
    return " | ".join([checkpoint, device_name, precision, *software(threads)])


def software(threads: int) -> list[str]:
    """Return what a speed depends on beside the device. `threads`: those of PyTorch."""
    return [f"{threads} threads", f"torch {torch_version()}", f"engine {ENGINE_SPEED_VERSION}"]
