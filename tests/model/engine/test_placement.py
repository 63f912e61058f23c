"""Weights are placed on the devices that have room for them, or refused before any of them is read."""

from collections import Counter
from typing import Any

import pytest
import torch

from benchmarks.shapes import shape_model
from longview.model.engine import placement
from longview.model.engine.costs.machine import CACHE_RESERVE_BYTES
from longview.model.engine.placement import place_weights
from longview.model.errors import OutOfMemory

GB = 10**9
GIB = 1 << 30
PARTS = {"model.visual.a": 1, "model.language_model.embed_tokens.weight": 1, "lm_head.weight": 2} | {
    f"model.language_model.layers.{index}.mlp.weight": 2 for index in range(8)
}
"""Tensors of a model with eight layers, with their sizes; all of it is 20."""


def use_memory(monkeypatch: pytest.MonkeyPatch, *free_bytes: int, device_type: str = "cuda") -> list[torch.device]:
    """Make up devices with free memory, in bytes; a tenth of their memory is taken."""
    devices = [torch.device(device_type, index) for index in range(len(free_bytes))]
    memory = {device: (free, round(free / 0.9)) for device, free in zip(devices, free_bytes, strict=True)}
    monkeypatch.setattr(placement, "memory_bytes", memory.__getitem__)
    return devices


def sizes(unit_bytes: int) -> dict[str, int]:
    return {name: size * unit_bytes for name, size in PARTS.items()}


def test_weights_go_to_one_device_where_it_has_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = use_memory(monkeypatch, 20 * GIB, 23 * GIB)
    assert place_weights("m", sizes(GIB * 4 // 5), 8, gpus) == {"device_map": {"": gpus[1]}}
    assert place_weights("m", sizes(GIB * 4 // 5), 8, gpus[:1]) == {"device_map": {"": gpus[0]}}
    with pytest.raises(OutOfMemory, match="take 43 GB, and 38 GB are free for weights on the 2 GPUs.*end other programs there"):
        place_weights("m", sizes(2 * GIB), 8, gpus)
    with pytest.raises(OutOfMemory, match="The weights of m take 64 GB, and the memory of the 2 GPUs is 51 GB"):
        place_weights("m", sizes(3 * GIB), 8, gpus)
    host = use_memory(monkeypatch, 9 * GIB, device_type="cpu")
    assert place_weights("m", sizes(GIB // 10), 8, host) == {}
    with pytest.raises(OutOfMemory, match="memory of this machine is 11 GB; choose a smaller"):
        place_weights("m", sizes(3 * GIB), 8, host)


def test_a_head_that_is_the_embedding_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = use_memory(monkeypatch, 16 * GIB, 16 * GIB)
    for is_tied in (False, True):
        device_map = place_weights("m", sizes(GIB), 8, gpus, is_tied=is_tied)["device_map"]
        assert (device_map["lm_head"] == device_map["model.language_model.embed_tokens"]) is is_tied


@pytest.mark.parametrize(
    ("shape", "free_gb"),
    [
        ("Qwen3-VL-8B", (15.5, 11.5)),
        ("Qwen3-VL-8B", (15.5, 15.5)),
        ("Qwen3.5-27B", (47, 23.5)),
        ("Qwen3.5-27B", (23.5, 47)),
        ("Qwen3.5-27B", (31, 23.5, 23.5)),
        ("Qwen3.5-27B", (47, 15.5)),
        ("Qwen3-VL-30B-A3B", (47, 23.5)),
        ("Qwen3-VL-235B-A22B", (84.5,) * 8),
        ("Qwen3-VL-235B-A22B", (84.5,) * 6),
        ("Qwen3-VL-235B-A22B", (84.5, 84.5, 12, 84.5, 84.5, 84.5, 84.5)),
    ],
)
def test_published_shapes_are_divided_over_cards_without_a_rest_or_refused(
    monkeypatch: pytest.MonkeyPatch, shape: str, free_gb: tuple[float, ...]
) -> None:
    model = shape_model(shape, "meta", torch.bfloat16)
    tensors = {name: parameter.nbytes for name, parameter in model.named_parameters()}
    gpus = use_memory(monkeypatch, *(int(free * GB) for free in free_gb))
    layer_count = model.config.get_text_config().num_hidden_layers

    def place() -> Any:
        return place_weights(shape, tensors, layer_count, gpus, is_tied=model.config.tie_word_embeddings)["device_map"]

    room = {gpu: free * GB - CACHE_RESERVE_BYTES for gpu, free in zip(gpus, free_gb, strict=True)}
    if sum(tensors.values()) > 0.999 * sum(free * GB - CACHE_RESERVE_BYTES for free in free_gb):
        with pytest.raises(OutOfMemory, match="cannot be divided"):
            place()
        return
    device_map = place()
    used: Counter[torch.device] = Counter()
    for name, size in tensors.items():
        (device,) = [device for module, device in device_map.items() if name.startswith(f"{module}.")]
        used[device] += size
    assert all(used[gpu] <= room[gpu] for gpu in used)
    # Each card fills about the same share of its room, so that none is short of room for keys and values.
    largest = max(size for size in (*layer_sizes(tensors, layer_count), tensors["model.language_model.embed_tokens.weight"]))
    even = sum(used.values()) / sum(room.values())
    assert max(used[gpu] / room[gpu] for gpu in gpus) <= even + 2 * largest / min(room.values())


def layer_sizes(tensors: dict[str, int], layer_count: int) -> list[int]:
    return [
        sum(size for name, size in tensors.items() if f".layers.{index}." in name and "visual" not in name)
        for index in range(layer_count)
    ]
