"""The verb `models` lists what is in the Hugging Face cache, and downloads nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.shell import Shell

CONFIG = {
    "model_type": "qwen3_vl",
    "vision_config": {},
    "text_config": {
        "max_position_embeddings": 131_072,
        "num_hidden_layers": 10,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 128,
    },
}
KV_BYTES = 2 * 2 * 10 * 2 * 128
"""Keys and values of a token in ten layers with two heads of 128 numbers of two bytes."""


def cache_repository(home: Path, repo_id: str, weight_bytes: int, config: dict[str, Any] = CONFIG) -> None:
    """Put a repository into a cache as the hub's own client does."""
    folder = home / "hub" / f"models--{repo_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(snapshot.name)
    (snapshot / "config.json").write_text(json.dumps(config))
    with (snapshot / "model.safetensors").open("wb") as file:
        # A hole takes no space on the disk.
        file.truncate(weight_bytes)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    cache_repository(home, "Qwen/Qwen3-VL-2B-Instruct", 4_000_000_000)
    cache_repository(home, "TencentARC/TimeLens-8B", 1 << 43)
    cache_repository(home, "openai/whisper-tiny", 1000, {"model_type": "whisper"})
    return home


def list_models(tmp_path: Path, home: Path, *options: str) -> dict[str, dict[str, Any]]:
    printed = Shell(tmp_path / "library").run("models", "--json", *options, HF_HOME=str(home)).stdout
    return {model["name"]: model for model in json.loads(printed)["models"]}


def test_checkpoints_are_listed_with_what_they_need_and_what_they_are_for(tmp_path: Path, home: Path) -> None:
    models = list_models(tmp_path, home, "--model", "Qwen/Qwen3-VL-2B-Instruct")
    assert [*models] == ["demo", "Qwen/Qwen3-VL-2B-Instruct", "TencentARC/TimeLens-8B"]
    general, grounding = models["Qwen/Qwen3-VL-2B-Instruct"], models["TencentARC/TimeLens-8B"]
    assert general["tasks"] == ["captions", "answers", "locates all"] and grounding["tasks"] == ["locates one"]
    assert general["memory_bytes"]["65536"] == 4_000_000_000 + 65_536 * KV_BYTES
    # It takes no context of 256K.
    assert [*general["memory_bytes"]] == ["16384", "65536"]
    # No machine has eight terabytes of memory.
    assert not any(grounding["fits"].values())
    assert [name for name, model in models.items() if model["chosen"]] == ["Qwen/Qwen3-VL-2B-Instruct"]


def test_checkpoint_that_is_not_here_is_not_downloaded(tmp_path: Path, home: Path) -> None:
    models = list_models(tmp_path, home, "--model", "Qwen/Qwen3-VL-4B-Instruct")
    assert not any(model["chosen"] for model in models.values()) and "Qwen/Qwen3-VL-4B-Instruct" not in models
