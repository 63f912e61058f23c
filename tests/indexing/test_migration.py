"""Libraries of earlier versions open without loss."""

import shutil
from pathlib import Path

import pytest

from longview.app.service import Longview
from longview.app.settings import Settings
from longview.indexing.library import Library
from longview.video.timeline import Span

FIRST_LIBRARY = Path(__file__).parents[1] / "fixtures" / "library_9caf505"
"""A library of commit 9caf505: one video with three events, one question about it, and the vectors."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST_LIBRARY, tmp_path / "library"))


def test_first_version_keeps_all_data(folder: Path) -> None:
    library = Library(folder)
    (entry,) = library.videos()
    assert (entry.video_id, entry.title, entry.caption_count) == ("96e32afdbc9c", "shapes", 3)
    assert entry.summary == "3 events: An orange diamond stays still."
    assert [(chapter.span, chapter.text) for chapter in entry.chapters] == [(Span(0, 20), "An orange diamond stays still")]
    plan = entry.provenance.plan
    assert (plan["patch_period_s"], plan["timestamp_tokens"], plan["purpose"]) == (1.0, 170, "caption")
    assert "grain_s" not in plan and "stamp_tokens" not in plan
    captions = [(caption.event.span.start_s, caption.event.text) for caption in library.captions(entry.video_id)]
    assert captions == [(1, "An orange diamond stays still."), (7, "An orange triangle stays still."), (14, captions[0][1])]
    (turn,) = library.answers(entry.video_id)
    assert (turn.question, turn.answer) == ("What happens at 0:05?", "An orange diamond stays still.")
    assert turn.citations == (Span(1.0, 5.48),)
    assert turn.provenance.plan["timestamp_tokens"] == 64


def test_first_version_can_be_searched_and_written(folder: Path) -> None:
    app = Longview(Settings(library=folder, model="demo", device="cpu", cpu_threads=1))
    best = app.search("orange triangle", verify=False).result().moments[0]
    assert (best.video_id, best.span, best.text) == ("96e32afdbc9c", Span(7.0, 11.48), "An orange triangle stays still.")
    (entry,) = app.videos()
    assert not app.is_outdated(entry)
    before = app.library.revision()
    app.library.put(entry, [caption.event for caption in app.captions(entry)][:1])
    assert app.library.revision() > before
    results = app.search("orange triangle", verify=False).result()
    assert [moment.text for moment in results.moments] == ["An orange diamond stays still."]


def test_second_opening_of_a_first_version_changes_nothing(folder: Path) -> None:
    before = Library(folder).videos()
    assert Library(folder).videos() == before
