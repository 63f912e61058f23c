"""The measures against values worked out by hand, the suites, and the verb on rendered and on labelled videos."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from longview.app.errors import BadRequest
from longview.app.evaluation import metrics
from longview.app.evaluation.datasets import FIRST_SEED, read_labels, render_needle, render_videos
from longview.video.probe import probe
from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Event, Span

A, B, C = Span(0, 10), Span(20, 30), Span(40, 50)


def test_each_true_span_is_matched_once_best_first() -> None:
    found = [Span(18, 30), Span(20, 29), Span(41, 50), Span(70, 80)]
    assert metrics.match_spans(found, [A, B, C]) == [None, 1, 2]
    assert metrics.overlap_ious(found, [A, B, C]) == pytest.approx([0.0, 0.9, 0.9])
    assert metrics.match_spans([], [A]) == [None]


def test_recall_looks_at_the_first_n() -> None:
    found = [Span(5, 15), Span(20, 30)]
    assert not metrics.is_recalled(found, [A, B], n=1, threshold=0.5)
    assert metrics.is_recalled(found, [A, B], n=1, threshold=0.3)
    assert metrics.is_recalled(found, [A, B], n=2, threshold=0.7)
    assert not metrics.is_recalled([], [A], n=5, threshold=0.3)


def event(start_s: float, end_s: float, text: str) -> Event:
    return Event(Span(start_s, end_s), text)


TRUTH = [event(0, 10, "a dog runs"), event(20, 30, "a cat sleeps")]


def test_soda_by_hand() -> None:
    assert metrics.soda(TRUTH, TRUTH) == 1.0
    assert metrics.soda([], []) == 1.0
    assert metrics.soda([], TRUTH) == metrics.soda(TRUTH, []) == 0.0
    # One of two in the right words with an IoU of a half: precision 0.5 / 1, recall 0.5 / 2.
    assert metrics.soda([event(0, 5, "a dog runs")], TRUTH) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    # In the wrong order only one of the two can be matched.
    assert metrics.soda([event(0, 10, "a cat sleeps"), event(20, 30, "a dog runs")], TRUTH) == pytest.approx(1 / 3)


def test_duplicates_inventions_and_what_was_told() -> None:
    found = [event(0, 4, "a dog runs"), event(4, 9, "a dog runs"), event(20, 30, "a cat sleeps"), event(40, 50, "rain falls")]
    assert metrics.duplicate_count(found, TRUTH) == 1
    assert metrics.hallucination_count(found, TRUTH) == 1
    assert metrics.recalled_events(found, TRUTH) == [True, True]
    assert metrics.recalled_events(found[:1], TRUTH) == [False, False]
    assert metrics.correct_captions(found, TRUTH) == [False, True, True, False]


def test_percentiles_are_values_that_were_seen() -> None:
    assert metrics.percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert metrics.percentile([float(value) for value in range(1, 11)], 0.9) == 9.0
    assert metrics.percentile([1.0], 0.9) == 1.0
    assert metrics.percentile([], 0.9) is None


def test_rendered_videos_are_the_same_for_the_same_seed_and_ask_only_what_is_decided(tmp_path: Path) -> None:
    first, again = (next(render_videos(tmp_path / name, minutes=0.5, videos=1, seed=3)) for name in made(tmp_path, "a", "b"))
    assert (first.events, first.queries, first.absent) == (again.events, again.queries, again.absent)
    assert probe(first.path).duration_s == pytest.approx(30.0, abs=0.1)
    texts = {told.text for told in first.events}
    assert set(first.queries) <= texts and not texts & set(first.absent)
    assert all(not any(absent in text.lower() for text in texts) for absent in first.absent)
    assert all(question.sentences or question.spans or "What happens" in question.text for question in first.questions)
    assert FIRST_SEED > 1_000_000


def made(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).mkdir()
    return list(names)


def test_a_needle_lies_as_deep_as_it_should(tmp_path: Path) -> None:
    for depth in (0.0, 1.0):
        (only,) = render_needle(tmp_path, minutes=0.5, depth=depth, seed=1).events
        assert only.span.start_s == pytest.approx(1.0 + depth * 22.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no videos"),
        ('{"a.mp4": {}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [[1, 2], [3, 4]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [[5, 2]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [["x", 2]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [], "sentences": []}}', "at least one moment"),
        ('{"a.mp4": {"timestamps": [[1, 2]], "sentences": [" "]}}', "at least one moment"),
    ],
)
def test_labels_that_are_wrong_are_refused_with_the_place(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(content)
    with pytest.raises(BadRequest, match=says):
        read_labels(file)
    with pytest.raises(BadRequest, match="cannot be read"):
        read_labels(tmp_path / "nowhere.json")


def evaluated(tmp_path: Path, *words: str, timeout_s: float = 280.0) -> Any:
    home = {"LONGVIEW_LIBRARY": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "app", "eval", *words, "-o", str(tmp_path / "out"), "--model", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=os.environ | home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_minutes_of_shapes_are_found_told_and_refused_as_well_as_is_claimed(tmp_path: Path) -> None:
    """The claims of docs/quality.md for one-minute videos, on two of them."""
    report = evaluated(tmp_path, "shapes", "--minutes", "1", "--videos", "2")
    grounding, captions = report["scores"]["grounding"], report["scores"]["captions"]
    assert grounding["truths"] == captions["events"] == 10
    assert grounding["mIoU"] >= 0.93
    assert grounding["R@any"] >= 0.95
    assert grounding["edge_median_s"] <= 0.25 and grounding["edge_p90_s"] <= 0.5
    assert grounding["edge_coverage"] >= 0.9
    assert grounding["absent_accuracy"] >= 0.975 and grounding["absent_queries"] == 40
    assert captions["recall"] >= 0.9 and captions["precision"] >= 0.9 and captions["duplicate_rate"] < 0.01
    assert report["scores"]["questions"]["at a moment"] >= 0.8
    written = {Path(path).suffix: Path(path) for path in report["paths"]}
    assert json.loads(written[".json"].read_text())["scores"] == report["scores"]
    assert f"| grounding: mIoU | {grounding['mIoU']:.3f} |" in written[".md"].read_text()
    with Image.open(written[".png"]) as picture:
        assert picture.width > 400 and picture.height > 200
    # Rendered videos leave nothing in the user's library.
    assert not list((tmp_path / "home").rglob("*.mp4"))


def test_a_users_own_labels_are_judged_and_what_is_missing_is_said(tmp_path: Path) -> None:
    circle = ShapesEvent(3.0, 9.0, "red", "circle", "moves up")
    star = ShapesEvent(14.0, 20.0, "yellow", "star", "grows")
    render(tmp_path / "mine.mp4", (circle, star), 24.0, fps=10)
    labels = {
        "mine.mp4": {"timestamps": [[3, 9], [14, 20]], "sentences": [circle.text, "A yellow star grows."]},
        "gone.mp4": {"timestamps": [[3, 9]], "sentences": ["x"]},
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    report = evaluated(tmp_path, str(tmp_path / "labels.json"))
    assert report["scores"]["videos"] == 1 and report["scores"]["grounding"]["truths"] == 2
    assert report["scores"]["grounding"]["mIoU"] > 0.9
    assert [one["video"] for one in report["missing"]] == ["gone.mp4"]
    assert report["scores"]["search"]["R@1"] == 1.0


def test_a_needle_is_found_wherever_it_lies(tmp_path: Path) -> None:
    report = evaluated(tmp_path, "needle", "--minutes", "0.5")
    grid = report["needle"]["overlaps"]
    assert len(grid) == 1 and len(grid[0]) == 5 and min(grid[0]) > 0.5
    assert "IoU of the one event" in Path(report["paths"][1]).read_text()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("minutes", "videos", "overlap", "refused"), [(10, 2, 0.93, 0.95), (60, 1, 0.90, 0.90)])
def test_longer_videos_are_as_right_as_is_claimed(
    tmp_path: Path, minutes: int, videos: int, overlap: float, refused: float
) -> None:
    report = evaluated(tmp_path, "shapes", "--minutes", str(minutes), "--videos", str(videos), timeout_s=7000)
    grounding, captions = report["scores"]["grounding"], report["scores"]["captions"]
    assert grounding["mIoU"] >= overlap
    assert grounding["R@any"] >= 0.95
    assert grounding["edge_median_s"] <= 0.25 and grounding["edge_p90_s"] <= 0.5
    assert grounding["edge_coverage"] >= 0.9
    assert grounding["absent_accuracy"] >= refused
    assert captions["recall"] >= 0.95 and captions["precision"] >= 0.95 and captions["duplicate_rate"] < 0.01


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_needles_are_found_in_videos_of_up_to_32k_tokens(tmp_path: Path) -> None:
    needle_report = evaluated(tmp_path, "needle", timeout_s=7000)["needle"]
    assert needle_report["tokens"][-1] >= 32_000
    assert min(min(column) for column in needle_report["overlaps"]) > 0.5
