"""Placement of the weights of a checkpoint on devices, before any of them is read.

Over several devices, the layers are divided here instead of by accelerate: its "balanced" limits every device but the last to an
equal share, and puts what does not fit then on the disk, even if the devices have the room (transformers,
`integrations/accelerate.py:get_balanced_memory`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from longview.model.engine.costs.machine import CACHE_RESERVE_BYTES
from longview.model.engine.devices import memory_bytes
from longview.model.errors import OutOfMemory

WEIGHTS_ADVICE = "choose a smaller or a quantised checkpoint, --precision bfloat16 on a CPU, or a server (--server)"
"""What a user can do if the weights do not fit. A shorter context would not help."""
VISION, LANGUAGE, HEAD = "model.visual", "model.language_model", "lm_head"
EMBEDDING = f"{LANGUAGE}.embed_tokens"
SEARCH_STEPS = 40
"""Steps of the search for the most even division: each halves its error."""


def place_weights(
    name: str, sizes: Mapping[str, int], layer_count: int, devices: Sequence[torch.device], *, is_tied: bool = False
) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that place weights on one device or on several; {} for the CPU and Apple's.

    `sizes`: of each tensor in memory, in bytes, by name. `layer_count`: of the language model. `is_tied`: whether the head is the
    embedding.

    Raises:
        OutOfMemory: the devices are too small. Nothing was read yet.
    """
    size_bytes = sum(sizes.values())
    memory = {device: memory_bytes(device) for device in devices}
    total = sum(total for _, total in memory.values())
    if size_bytes > total:
        raise OutOfMemory(
            f"The weights of {name} take {size_bytes / 1e9:.0f} GB, and the memory of {_describe(devices)} is "
            f"{total / 1e9:.0f} GB; {WEIGHTS_ADVICE}."
        )
    if devices[0].type in ("cpu", "mps"):
        return {}
    roomiest = max(devices, key=lambda device: memory[device][0])
    if len(devices) == 1 or size_bytes + CACHE_RESERVE_BYTES <= memory[roomiest][0]:
        return {"device_map": {"": roomiest}}
    room = {device: max(0, free - CACHE_RESERVE_BYTES) for device, (free, _) in memory.items()}
    device_map = _divide(_modules(sizes, layer_count, is_tied=is_tied), room)
    if device_map is None:
        raise OutOfMemory(
            f"The weights of {name} take {size_bytes / 1e9:.0f} GB, and {sum(room.values()) / 1e9:.0f} GB are free for weights "
            f"on {_describe(devices)}, whose layers cannot be divided to fit; end other programs there, or {WEIGHTS_ADVICE}."
        )
    return {"device_map": device_map}


def _modules(sizes: Mapping[str, int], layer_count: int, *, is_tied: bool) -> list[tuple[tuple[str, ...], int]]:
    """Return the modules in the order in which they run, each with its size in bytes; those of one entry stay together."""
    layers = [f"{LANGUAGE}.layers.{index}" for index in range(layer_count)]
    ends = (f"{LANGUAGE}.norm", f"{LANGUAGE}.rotary_emb", HEAD)
    first = (VISION, EMBEDDING, HEAD) if is_tied else (VISION, EMBEDDING)
    groups = [first, *((layer,) for layer in layers), tuple(end for end in ends if end not in first)]
    prefixes = {f"{module}.": index for index, group in enumerate(groups) for module in group}
    totals = [0] * len(groups)
    for tensor, size in sizes.items():
        # What has another name is counted where the larger tables are.
        totals[next((index for prefix, index in prefixes.items() if tensor.startswith(prefix)), 0)] += size
    return list(zip(groups, totals, strict=True))


def _divide(modules: Sequence[tuple[tuple[str, ...], int]], room: Mapping[torch.device, int]) -> dict[str, torch.device] | None:
    """Divide modules over devices in their order, so that the fullest device is as empty as possible; None if they do not fit.

    The share of its room that a device fills is also its share of the keys and values. `room`: in bytes.
    """

    def fill(share: float) -> dict[str, torch.device] | None:
        """Fill each device up to a share of its room, one after the other; return None if something is left."""
        placed: dict[str, torch.device] = {}
        rest = list(modules)
        for device, room_bytes in room.items():
            free = math.floor(share * room_bytes)
            while rest and rest[0][1] <= free:
                group, size = rest.pop(0)
                placed |= dict.fromkeys(group, device)
                free -= size
        return None if rest else placed

    best, low, high = fill(1.0), 0.0, 1.0
    if best is None:
        return None
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        device_map = fill(middle)
        if device_map is None:
            low = middle
        else:
            best, high = device_map, middle
    return best


def _describe(devices: Sequence[torch.device]) -> str:
    if devices[0].type == "cpu":
        return "this machine"
    return "the GPU" if len(devices) == 1 else f"the {len(devices)} GPUs"
