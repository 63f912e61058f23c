"""Tests of checkpoint lookup, without loading weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, constants

from longview.model.engine import devices
from longview.model.engine.checkpoints import checkpoints
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.engine.local import LocalEngine
from longview.model.errors import CheckpointNotFound, DeviceNotFound, InvalidCheckpoint

CONFIG = {
    "vision_config": {},
    "text_config": {
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
    },
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A function that writes a minimal checkpoint folder, with the given files in place of valid ones."""

    def write(config: object = CONFIG, weights: str = "model.safetensors", trained_range: object = None) -> Path:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        (tmp_path / weights).write_bytes(b"\1" * 1000)
        if trained_range is not None:
            (tmp_path / "trained_range.json").write_text(
                trained_range if isinstance(trained_range, str) else json.dumps(trained_range)
            )
        return tmp_path

    return write


def test_revision_is_the_commit_of_a_snapshot(tmp_path: Path) -> None:
    commit = "1a2b3c4d" * 5
    for name, revision in ((f"snapshots/{commit}", commit), ("snapshots/main", None), (commit, None)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "model.safetensors").write_bytes(b"\1" * 1000)
        assert find_checkpoint(str(folder)).revision == revision
    assert find_checkpoint("demo").revision is None


def test_bundled_checkpoint_has_a_trained_range_and_a_notice() -> None:
    demo = find_checkpoint("demo")
    range_config = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
    assert demo.trained_range.max_frames == range_config["max_frames"]
    assert demo.trained_range.max_timestamp_s == range_config["max_timestamp_s"]
    assert demo.notice is not None and "`longview models`" in demo.notice
    assert demo.question_templates == tuple(range_config["question_templates"])
    assert demo.no_event_replies == ("Nothing happens at that time.",)
    assert demo.identity == f"demo@{demo.fingerprint}"
    assert demo.weight_bytes == (DEMO / "model.safetensors").stat().st_size


def test_only_weights_are_beside_the_weights_of_the_bundled_checkpoint() -> None:
    # vLLM loads every safetensors file of the folder as weights.
    assert [path.name for path in DEMO.glob("*.safetensors")] == ["model.safetensors"]


def test_folder_without_a_range_gets_the_qwen3_vl_range(folder: Folder) -> None:
    checkpoint = find_checkpoint(str(folder()))
    assert checkpoint.trained_range == find_profile("qwen3_vl").trained_range
    assert checkpoint.notice is None
    assert checkpoint.question_templates == checkpoint.no_event_replies == ()
    assert checkpoint.max_context_tokens == 4096
    # Keys and values, two bytes per number, 3 layers, 2 heads of size 16.
    assert checkpoint.kv_bytes_per_token == 2 * 2 * 3 * 2 * 16
    assert checkpoint.weight_bytes == 1000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config": "{"}, "no readable config.json"),
        ({"weights": "pytorch_model.bin"}, "no safetensors"),
        ({"config": {"text_config": {}}}, "not a video language model"),
        ({"trained_range": {"max_frames": 10}}, "complete trained range"),
        ({"trained_range": "{"}, "complete trained range"),
        ({"config": "[]"}, "config.json"),
        ({"trained_range": "[]"}, "complete trained range"),
    ],
)
def test_invalid_folder_is_rejected_with_the_reason(folder: Folder, files: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=message):
        find_checkpoint(str(folder(**files)))


def test_checkpoint_without_one_of_its_weight_files_is_rejected(folder: Folder) -> None:
    path = folder(weights="model-00001-of-00002.safetensors")
    names = {f"layer {number}": f"model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InvalidCheckpoint, match=r"is not complete, because it has no model-00002-of-00002\.safetensors; copy it"):
        find_checkpoint(str(path))
    (path / "model-00002-of-00002.safetensors").write_bytes(b"\1" * 1000)
    assert find_checkpoint(str(path)).weight_bytes == 2000


@pytest.mark.parametrize(
    "name", ["no-such-name", "../../etc/passwd", "/no/such/folder", "a/b/c", "https://example.org/x", "", " "]
)
def test_impossible_names_are_not_looked_up_online(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def online(*_: object, **__: object) -> str:
        raise AssertionError("looked up online")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HfApi, "model_info", online)
    with pytest.raises((CheckpointNotFound, InvalidCheckpoint)):
        find_checkpoint(name)


def test_uncached_repository_is_not_found_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointNotFound, match="`longview models pull Qwen/Qwen3-VL-8B-Instruct` downloads it"):
        find_checkpoint("Qwen/Qwen3-VL-8B-Instruct")


def test_fingerprint_depends_on_the_content_not_on_the_path(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    original = folder()
    fingerprint = find_checkpoint(str(original)).fingerprint
    moved = tmp_path_factory.mktemp("moved") / "copy"
    shutil.copytree(original, moved)
    assert find_checkpoint(str(moved)).fingerprint == fingerprint
    (moved / "model.safetensors").write_bytes(b"\2" * 1000)
    changed = find_checkpoint(str(moved)).fingerprint
    (moved / "config.json").write_text(json.dumps({**CONFIG, "hidden_act": "gelu"}))
    assert len({fingerprint, changed, find_checkpoint(str(moved)).fingerprint}) == 3


def test_bundled_checkpoint_is_not_extended_by_yarn() -> None:
    assert find_checkpoint("demo", context_tokens=1_000_000) == find_checkpoint("demo")


def test_auto_takes_the_largest_cached_checkpoint_that_fits(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    sizes = {
        "Qwen/Qwen3-VL-2B-Instruct": 1_000,
        "Qwen/Qwen3.5-4B": 2_000,
        "Qwen/Qwen3.5-35B-A3B": 9_000,
        "other/Qwen3.5-4B": 3_000,
    }
    for repo_id, size in sizes.items():
        snapshot = cache / f"models--{repo_id.replace('/', '--')}" / "snapshots" / COMMIT
        shutil.copytree(folder(), snapshot)
        (snapshot / "model.safetensors").write_bytes(b"\0" * size)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(checkpoints, "may_have_accelerator", lambda: True)
    kv_bytes = checkpoints.AUTO_KV_TOKENS * find_checkpoint("Qwen/Qwen3.5-4B").kv_bytes_per_token
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(devices, "devices_of", lambda _: [None])
    monkeypatch.setattr(devices, "memory_bytes", lambda _: (kv_bytes + 5_000, kv_bytes + 5_000))
    assert find_checkpoint("auto").name == find_checkpoint("auto", device="cuda").name == "Qwen/Qwen3.5-4B"
    # The device of the settings counts, not the one that the machine has.
    assert find_checkpoint("auto", device="cpu").name == "demo"
    # The library can be read without the requested device; the engine refuses it.
    assert find_checkpoint("auto", device="xpu").name == "demo"
    with pytest.raises(DeviceNotFound):
        LocalEngine(find_checkpoint("auto", device="xpu"), device="xpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    assert find_checkpoint("auto").name == "demo"
