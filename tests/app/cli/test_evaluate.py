"""`eval` on rendered videos and on labels of a user, with the accuracy that docs/quality.md states."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from longview.app.evaluation import suites
from longview.video.synthetic import ShapesEvent, render
from tests.support.shell import Shell


def evaluate(tmp_path: Path, *words: str, timeout_s: float = 280.0) -> Any:
    """Run `eval` with the bundled checkpoint, and return its document."""
    shell = Shell(tmp_path / "library")
    return shell.json("eval", *words, "-o", str(tmp_path / "out"), "--model", "demo", timeout_s=timeout_s)


@pytest.mark.parametrize("videos", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_minute_videos_have_the_documented_accuracy(tmp_path: Path, videos: int) -> None:
    report = evaluate(tmp_path, "shapes", "--minutes", "1", "--videos", str(videos))
    grounding, captions = report["scores"]["grounding"], report["scores"]["captions"]
    assert grounding["truths"] == captions["events"] == 5 * videos
    assert grounding["mIoU"] >= 0.93
    assert grounding["R@any"] >= 0.95
    assert grounding["edge_median_s"] <= 0.25 and grounding["edge_p90_s"] <= 0.5
    assert grounding["edge_coverage"] >= 0.9
    assert grounding["absent_accuracy"] >= 0.975 and grounding["absent_queries"] == 20 * videos
    assert captions["recall"] >= 0.9 and captions["precision"] >= 0.9 and captions["duplicate_rate"] < 0.01
    assert report["scores"]["questions"]["at a moment"] >= 0.8
    paths = {Path(path).suffix: Path(path) for path in report["paths"]}
    assert json.loads(paths[".json"].read_text())["scores"] == report["scores"]
    assert f"| grounding: mIoU | {grounding['mIoU']:.3f} |" in paths[".md"].read_text()
    with Image.open(paths[".png"]) as image:
        assert image.width > 400 and image.height > 200
    # Rendered videos leave nothing in the user's library.
    assert not list((tmp_path / "library").rglob("*.mp4"))


def test_own_labels_are_scored_and_missing_videos_listed(tmp_path: Path) -> None:
    circle = ShapesEvent(3.0, 9.0, "red", "circle", "moves up")
    star = ShapesEvent(14.0, 20.0, "yellow", "star", "grows")
    render(tmp_path / "mine.mp4", (circle, star), 24.0, fps=10)
    labels = {
        "mine.mp4": {"timestamps": [[3, 9], [14, 20]], "sentences": [circle.text, "A yellow star grows."]},
        "gone.mp4": {"timestamps": [[3, 9]], "sentences": ["x"]},
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    report = evaluate(tmp_path, str(tmp_path / "labels.json"))
    assert report["scores"]["videos"] == 1 and report["scores"]["grounding"]["truths"] == 2
    assert report["scores"]["grounding"]["mIoU"] > 0.9
    assert [item["video"] for item in report["missing"]] == ["gone.mp4"]
    assert report["scores"]["search"]["R@1"] == 1.0


def test_needle_is_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The slow test has all depths.
    monkeypatch.setattr(suites, "NEEDLE_DEPTHS", (0.5, 1.0))
    report = Shell(tmp_path / "library").call("eval", "needle", "--minutes", "0.5", "-o", str(tmp_path), "--model", "demo")
    grid = report["needle"]["overlaps"]
    assert len(grid) == 1 and len(grid[0]) == 2 and min(grid[0]) > 0.5
    assert "IoU of the single event" in Path(report["paths"][1]).read_text()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("minutes", "videos", "miou", "absent_accuracy"), [(10, 2, 0.93, 0.95), (60, 1, 0.90, 0.90)])
def test_longer_videos_have_the_documented_accuracy(
    tmp_path: Path, minutes: int, videos: int, miou: float, absent_accuracy: float
) -> None:
    report = evaluate(tmp_path, "shapes", "--minutes", str(minutes), "--videos", str(videos), timeout_s=7000)
    grounding, captions = report["scores"]["grounding"], report["scores"]["captions"]
    assert grounding["mIoU"] >= miou
    assert grounding["R@any"] >= 0.95
    assert grounding["edge_median_s"] <= 0.25 and grounding["edge_p90_s"] <= 0.5
    assert grounding["edge_coverage"] >= 0.9
    assert grounding["absent_accuracy"] >= absent_accuracy
    assert captions["recall"] >= 0.95 and captions["precision"] >= 0.95 and captions["duplicate_rate"] < 0.01


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_needles_are_located_in_up_to_32k_tokens(tmp_path: Path) -> None:
    needle = evaluate(tmp_path, "needle", timeout_s=7000)["needle"]
    assert needle["tokens"][-1] >= 32_000 and len(needle["depths"]) == 5
    assert min(min(column) for column in needle["overlaps"]) > 0.5
