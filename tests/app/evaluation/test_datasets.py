"""Rendered videos with their queries, and labels of users."""

from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.evaluation.datasets import FIRST_SEED, LabelledVideo, read_labels, render_needle, render_video
from longview.video.probing.probe import probe


def render_one(folder: Path) -> LabelledVideo:
    folder.mkdir()
    return render_video(folder, minutes=0.5, number=0, seed=3)


def test_rendered_videos_follow_from_the_seed(tmp_path: Path) -> None:
    labels, repetition = render_one(tmp_path / "a"), render_one(tmp_path / "b")
    assert (labels.events, labels.queries, labels.absent) == (repetition.events, repetition.queries, repetition.absent)
    assert probe(labels.path).duration_s == pytest.approx(30.0, abs=0.1)
    assert FIRST_SEED > 1_000_000


def test_queries_and_questions_have_a_certain_answer(tmp_path: Path) -> None:
    labels = render_one(tmp_path / "a")
    texts = {event.text for event in labels.events}
    assert set(labels.queries) <= texts and not texts & set(labels.absent)
    assert all(not any(absent in text.lower() for text in texts) for absent in labels.absent)
    assert all(question.sentences or question.spans or "What happens" in question.text for question in labels.questions)


def test_needle_is_at_the_requested_depth(tmp_path: Path) -> None:
    for depth in (0.0, 1.0):
        (needle,) = render_needle(tmp_path, minutes=0.5, depth=depth, seed=1).events
        assert needle.span.start_s == pytest.approx(1.0 + depth * 22.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "has no videos"),
        ('{"a.mp4": {}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [[1, 2], [3, 4]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [[5, 2]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [["x", 2]], "sentences": ["one"]}}', "labels of a.mp4 are wrong"),
        ('{"a.mp4": {"timestamps": [], "sentences": []}}', "at least one timestamp"),
        ('{"a.mp4": {"timestamps": [[1, 2]], "sentences": [" "]}}', "at least one timestamp"),
    ],
)
def test_wrong_labels_are_refused_with_their_place(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(content)
    with pytest.raises(BadRequest, match=message):
        read_labels(file)


def test_missing_label_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        read_labels(tmp_path / "missing.json")
