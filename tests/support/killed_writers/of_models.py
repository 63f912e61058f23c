"""Writers of models: pulls, and what training makes."""

import functools
import json
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from longview.model.engine.checkpoints.checkpoints import OOD_DETECTOR_FILE, OOD_DETECTOR_FOLDER
from longview.model.engine.execution.ood import OODDetector, load_ood_detector
from longview.model.hub.cache import find_snapshot, read_record
from longview.model.training import ablations
from longview.model.training.export import write_checkpoint
from longview.model.training.ood.clips import cut_clips
from longview.model.training.state import delete_partial_files, load_state, save_state
from longview.model.training.trainer import Trainer
from longview.video.probing.probe import probe
from tests.support.killed_writers.base import Scene, digest, nothing, writer
from tests.support.pull_samples import FILES, NAME, NEW_COMMIT, pull_now
from tests.support.toy_training import CONFIG, CPU

PULL_MODULES = ("model/hub/cache.py", "model/hub/pulls.py")


def prepare_pull(scene: Scene) -> None:
    """Pull a commit, and publish another one."""
    scene.hub.add(NAME, dict(FILES))
    pull_now()
    scene.hub.add(NAME, FILES | {"tokenizer.json": b'{"a": 2}'}, commit=NEW_COMMIT)


def read_pulled(_scene: Scene) -> dict[str, object]:
    record, snapshot = read_record(NAME), find_snapshot(NAME, ["*"])
    assert record is not None and snapshot is not None and snapshot.is_complete
    files = {path.name: path.read_bytes() for path in snapshot.folder.glob("[!.]*")}
    assert record.commit == snapshot.folder.name and files.keys() == FILES.keys()
    return {"snapshot": (record.commit, files)}


@writer(*PULL_MODULES, prepare=prepare_pull, read=read_pulled, tidy=nothing)
def pull_a_new_commit(_scene: Scene) -> None:
    pull_now(update=True)


@writer(*PULL_MODULES, prepare=prepare_pull, read=read_pulled, tidy=nothing)
def pull_without_links(_scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
        pull_now(update=True)


def delete_training_partials(scene: Scene) -> None:
    """Delete what the next start of a training run deletes."""
    delete_partial_files(scene.folder)


def detector(value: float) -> OODDetector:
    row, scalar = torch.full((4,), value), torch.tensor(value)
    return OODDetector(row, row.clone(), torch.full((4, 3), value), row[:3].clone(), row[:3].clone(), scalar)


def read_detector(scene: Scene) -> dict[str, object]:
    checkpoint: Any = SimpleNamespace(ood_detector_file=scene.folder / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE)
    loaded = load_ood_detector(checkpoint, "cpu")
    assert loaded is not None
    return {"detector": float(loaded.bias)}


@writer("model/engine/execution/ood.py", prepare=lambda scene: detector(1.0).save(scene.folder), read=read_detector, tidy=None)
def ood_detector(scene: Scene) -> None:
    detector(2.0).save(scene.folder)


@writer(
    "model/training/state.py",
    prepare=lambda scene: save_state(scene.folder, {"step": 1}),
    read=lambda scene: {"state": load_state(scene.folder)},
    tidy=delete_training_partials,
)
def training_state(scene: Scene) -> None:
    save_state(scene.folder, {"step": 2})


@functools.cache
def trainer(seed: int) -> Trainer:
    return Trainer(replace(CONFIG, seed=seed), CPU)


def prepare_checkpoint(scene: Scene) -> None:
    # The child processes find it ready.
    trainer(2)
    write_checkpoint(trainer(1), scene.folder, ())


@writer(
    "model/training/export.py",
    prepare=prepare_checkpoint,
    read=lambda scene: {path.name: digest(path) for path in scene.folder.glob("[!.]*")},
    tidy=delete_training_partials,
)
def checkpoint(scene: Scene) -> None:
    write_checkpoint(trainer(2), scene.folder, ())


def prepare_ablations(scene: Scene) -> None:
    """Keep the result of the only variant, so that nothing is trained."""
    loss, timestamps = ablations.VARIANTS[0]
    result = ablations.Result(replace(CONFIG, seed=0, loss=loss, timestamps=timestamps, steps=1), 1.0, 1, ())
    folder = scene.folder / f"{loss}-{timestamps}-0"
    folder.mkdir()
    (folder / ablations.RESULT).write_text(json.dumps(asdict(result)))
    for name in (ablations.TABLE, ablations.ALL_RESULTS):
        (scene.folder / name).write_text("[]")


@writer(
    "model/training/ablations.py",
    prepare=prepare_ablations,
    read=lambda scene: {name: digest(scene.folder / name) for name in (ablations.TABLE, ablations.ALL_RESULTS)},
    tidy=nothing,
)
def ablation_table(scene: Scene) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations, "VARIANTS", ablations.VARIANTS[:1])
        ablations.run_ablations(scene.folder, CONFIG.size, steps=1, seeds=1, device=CPU)


@writer(
    "model/training/ood/clips.py",
    prepare=nothing,
    read=lambda scene: {"clips": [probe(path).codec for path in scene.folder.glob("clip-*.mp4")]},
    tidy=None,
)
def training_clip(scene: Scene) -> None:
    next(cut_clips(scene.folder, scene.clip, 1.0))
