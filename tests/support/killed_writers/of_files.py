"""Writers of files that users name, and of what this machine keeps beside libraries."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from longview.app import settings as settings_module
from longview.app.evaluation import report
from longview.app.maintenance import housekeeping
from longview.app.models.defaults import set_default
from longview.app.runtime.machine_speeds import MachineSpeeds
from longview.core.timeline import Span
from longview.model.engine.costs.machine_cache import load_measurement, save_measurement
from longview.video.probing.probe import probe
from longview.video.synthetic import render
from longview.video.transcoding import cut_reencode
from tests.support.killed_writers.base import CLIP_SIZE, VIDEO_ID, Scene, captioned, digest, writer
from tests.support.shell import Shell


def prepare_export(scene: Scene) -> None:
    captioned(scene)
    (scene.folder / "captions.srt").write_text("the earlier export")


@writer(
    "app/cli/export.py", prepare=prepare_export, read=lambda scene: {"file": digest(scene.folder / "captions.srt")}, tidy=None
)
def export(scene: Scene) -> None:
    Shell(scene.library).call("export", VIDEO_ID, "--format", "srt", "-o", str(scene.folder / "captions.srt"))


def read_video(scene: Scene) -> dict[str, object]:
    return {"duration": round(probe(scene.folder / "new.mp4").duration_s, 1)}


def draw(scene: Scene, duration_s: float) -> None:
    render(scene.folder / "new.mp4", (), duration_s, **CLIP_SIZE)


@writer("video/transcoding.py", prepare=lambda scene: draw(scene, 0.8), read=read_video, tidy=None)
def cut(scene: Scene) -> None:
    cut_reencode(probe(scene.clip), Span(0.0, 0.4), scene.folder / "new.mp4", first_frame_s=0.0)


@writer("video/synthetic.py", prepare=lambda scene: draw(scene, 0.8), read=read_video, tidy=None)
def rendering(scene: Scene) -> None:
    draw(scene, 0.4)


def write_report(scene: Scene, share: float) -> None:
    scores = {"videos": 1, "minutes": 1, "events": {"recall": share}}
    document = {"suite": "shapes", "checkpoint": "demo", "device": "cpu", "scores": scores, "worst": []}
    report.write(scene.folder / "report", "shapes", document)


def read_report(scene: Scene) -> dict[str, object]:
    folder = scene.folder / "report"
    with Image.open(folder / "shapes.png") as chart:
        pixels = chart.tobytes()
    scores = json.loads((folder / "shapes.json").read_text())["scores"]
    return {"json": scores["events"], "text": (folder / "shapes.md").read_text(), "chart": pixels}


@writer("app/evaluation/report.py", prepare=lambda scene: write_report(scene, 0.25), read=read_report, tidy=None)
def evaluation(scene: Scene) -> None:
    write_report(scene, 0.75)


@contextmanager
def settings_file(scene: Scene) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_module, "CONFIG_FILE", scene.folder / "longview.toml")
        yield settings_module.CONFIG_FILE


def prepare_settings(scene: Scene) -> None:
    with settings_file(scene) as path:
        path.write_text('# mine\nmodel = "/models/one"\n')


def read_settings(scene: Scene) -> dict[str, object]:
    with settings_file(scene) as path:
        assert "# mine" in path.read_text()
        return {"settings": settings_module.read_config_file()}


@writer("app/models/defaults.py", prepare=prepare_settings, read=read_settings, tidy=None)
def default_model(scene: Scene) -> None:
    with settings_file(scene):
        set_default("demo")


def delete_cache_partials(scene: Scene) -> None:
    housekeeping.delete_partial(scene.folder / "cache")


def learn(scene: Scene, name: str) -> None:
    MachineSpeeds(scene.folder / "cache").learn_ratio(name, 2.0, 1.0)


@writer(
    "app/runtime/machine_speeds.py",
    prepare=lambda scene: learn(scene, "first"),
    read=lambda scene: {"known": [MachineSpeeds(scene.folder / "cache").knows(name) for name in ("first", "second")]},
    tidy=delete_cache_partials,
)
def speeds(scene: Scene) -> None:
    learn(scene, "second")


@writer(
    "model/engine/costs/machine_cache.py",
    prepare=lambda scene: save_measurement(scene.folder / "cache", "first", {"a": 1.0}),
    read=lambda scene: {"measured": [load_measurement(scene.folder / "cache", name) for name in ("first", "second")]},
    tidy=delete_cache_partials,
)
def measurement(scene: Scene) -> None:
    save_measurement(scene.folder / "cache", "second", {"b": 2.0})
