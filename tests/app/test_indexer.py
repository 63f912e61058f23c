"""Indexing in process, with the bundled checkpoint."""

from pathlib import Path

import pytest

from longview.app.progress import Progress
from longview.app.service import Longview
from longview.indexing.library import VideoEntry
from longview.video.errors import ImpossiblePlan, NotAVideo, VideoNotFound

STAGES = [
    "Probing",
    "Loading the checkpoint",
    "Captioning",
    "Summarizing",
    "Writing to the library",
    "Embedding the captions",
]


def test_index_reports_its_stages_and_stores_captions(app: Longview, short_path: Path) -> None:
    reports: list[Progress] = []
    result = app.index(short_path, on_progress=reports.append)
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert list(dict.fromkeys(report.stage for report in reports)) == STAGES
    assert [item.event.text for item in app.captions(result.entry)] == ["A cyan ring moves up."]
    assert result.entry.provenance.checkpoint == app.checkpoint.identity
    assert result.entry.provenance.plan["frames"] == 10
    app.remove(app.video(result.entry.video_id))


def test_failed_index_leaves_the_library_unchanged(app: Longview, twice: VideoEntry, twice_path: Path, tmp_path: Path) -> None:
    entries = app.videos()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(twice_path.read_bytes()[:3000])
    with pytest.raises(NotAVideo):
        app.index(damaged)
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, start_s=31.0)
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, start_s=5.0, end_s=2.0)
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, context_tokens=100)
    with pytest.raises(VideoNotFound):
        app.index(tmp_path / "missing.mp4")
    assert app.videos() == entries
