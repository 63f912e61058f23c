"""The options of captions that their provenance keeps: those that have an effect."""

from pathlib import Path
from typing import Any

import pytest
import torch

from longview.app.runtime.provenance import caption_options_fields
from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.indexing.sqlite.library import Library
from longview.model.engine import local_access
from tests.support.random_checkpoints import save_random_checkpoint


@pytest.mark.parametrize(
    ("settings", "accelerator", "is_int8"),
    [
        ({"precision": "int8"}, None, True),
        ({"precision": "int8", "device": "cpu"}, "cuda", True),
        ({"precision": "int8"}, "cuda", False),
        ({"precision": "int8", "server": "http://127.0.0.1:9/v1", "model": "m"}, None, False),
        ({"precision": "bfloat16"}, None, False),
    ],
    ids=["cpu", "cpu beside a GPU", "GPU", "server", "other format"],
)
def test_eight_bits_count_only_where_they_have_an_effect(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    accelerator: str | None,
    is_int8: bool,
) -> None:
    save_random_checkpoint(tmp_path / "checkpoint", "dense")
    monkeypatch.setattr(local_access, "may_have_accelerator", lambda: accelerator is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: accelerator and torch.device(accelerator))
    chosen = Settings(library=tmp_path / "library", **{"model": str(tmp_path / "checkpoint")} | settings)
    runtime = Runtime(chosen, Library(chosen.library))
    assert caption_options_fields(runtime)["int8"] is is_int8
