"""A checkpoint that was refused is not read again for each question, but as soon as its files are others."""

from pathlib import Path
from typing import Any

import pytest

from longview.app.runtime.engine_loader import EngineLoader
from longview.app.settings import Settings
from longview.model.engine import local_access
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.errors import InvalidCheckpoint
from tests.support.random_checkpoints import save_random_checkpoint


def test_refused_files_are_read_again_when_they_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint"
    save_random_checkpoint(folder, "dense")
    reads, load_engine = [], local_access.load_engine

    def count(*arguments: Any, **options: Any) -> Any:
        reads.append(1)
        return load_engine(*arguments, **options)

    monkeypatch.setattr(local_access, "load_engine", count)
    loader = EngineLoader(Settings(library=tmp_path / "library", device="cpu", canary=True))
    for _ in range(3):
        with pytest.raises(InvalidCheckpoint, match="plain English text has a loss of"):
            loader.load(find_checkpoint(str(folder)), None)
    assert len(reads) == 1
    (folder / "model.safetensors").write_bytes(b"an interrupted copy")
    with pytest.raises(InvalidCheckpoint, match="model.safetensors"):
        loader.load(find_checkpoint(str(folder)), None)
