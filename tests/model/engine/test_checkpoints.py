"""What a checkpoint is and can do is known before any of its weights is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from longview.model.engine.checkpoints import DEMO, QWEN3_VL, find_checkpoint
from longview.model.errors import CheckpointNotFound, InvalidCheckpoint

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
Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder that looks like a checkpoint, with the given files instead."""

    def made(config: object = CONFIG, weights: str = "model.safetensors", stated: object = None) -> Path:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        (tmp_path / weights).write_bytes(b"\1" * 1000)
        if stated is not None:
            (tmp_path / "trained_range.json").write_text(stated if isinstance(stated, str) else json.dumps(stated))
        return tmp_path

    return made


def test_the_bundled_checkpoint_says_what_it_was_trained_on_and_warns() -> None:
    demo = find_checkpoint("demo")
    stated = json.loads((DEMO / "trained_range.json").read_text(encoding="utf-8"))
    assert demo.trained_range.max_frames == stated["max_frames"]
    assert demo.trained_range.max_timestamp_s == stated["max_timestamp_s"]
    assert demo.notice == stated["notice"]
    assert demo.question_templates == tuple(stated["question_templates"])
    assert demo.no_event_replies == ("Nothing happens at that time.",)
    assert demo.identity == f"demo@{demo.fingerprint}"
    assert demo.weight_bytes == (DEMO / "model.safetensors").stat().st_size


def test_a_folder_without_a_stated_range_is_of_the_qwen_family_and_answers_anything(folder: Folder) -> None:
    checkpoint = find_checkpoint(str(folder()))
    assert checkpoint.trained_range == QWEN3_VL
    assert checkpoint.notice is None
    assert checkpoint.question_templates == checkpoint.no_event_replies == ()
    assert checkpoint.max_context_tokens == 4096
    # Keys and values, two bytes each, 3 layers, 2 heads of 16.
    assert checkpoint.kv_bytes_per_token == 2 * 2 * 3 * 2 * 16
    assert checkpoint.weight_bytes == 1000


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"config": "{"}, "no readable config.json"),
        ({"weights": "pytorch_model.bin"}, "no safetensors"),
        ({"config": {"text_config": {}}}, "not a video language model"),
        ({"stated": {"max_frames": 10}}, "whole trained range"),
        ({"stated": "{"}, "whole trained range"),
        ({"config": "[]"}, "config.json"),
        ({"stated": "[]"}, "whole trained range"),
    ],
)
def test_an_incomplete_or_unsafe_folder_is_refused_with_the_reason(folder: Folder, faults: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidCheckpoint, match=says):
        find_checkpoint(str(folder(**faults)))


@pytest.mark.parametrize(
    "name", ["no-such-name", "../../etc/passwd", "/no/such/folder", "a/b/c", "https://example.org/x", "", " "]
)
def test_a_name_that_cannot_be_a_checkpoint_is_never_looked_up_online(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def online(*_: object, **__: object) -> str:
        raise AssertionError("looked up online")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", online)
    with pytest.raises((CheckpointNotFound, InvalidCheckpoint)):
        find_checkpoint(name)


def test_an_unknown_repository_without_a_connection_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CheckpointNotFound, match="Qwen/Qwen3-VL-8B-Instruct"):
        find_checkpoint("Qwen/Qwen3-VL-8B-Instruct")


def test_the_fingerprint_changes_with_weights_and_configuration_but_not_with_the_place(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    original = folder()
    fingerprint = find_checkpoint(str(original)).fingerprint
    moved = tmp_path_factory.mktemp("moved") / "copy"
    shutil.copytree(original, moved)
    assert find_checkpoint(str(moved)).fingerprint == fingerprint
    (moved / "model.safetensors").write_bytes(b"\2" * 1000)
    changed = find_checkpoint(str(moved)).fingerprint
    (moved / "config.json").write_text(json.dumps({**CONFIG, "hidden_act": "gelu"}))
    assert len({fingerprint, changed, find_checkpoint(str(moved)).fingerprint}) == 3


def test_the_bundled_checkpoint_is_never_stretched() -> None:
    assert find_checkpoint("demo", context_tokens=1_000_000) == find_checkpoint("demo")
