"""Search and verification over one library, with the bundled checkpoint and the real encoder."""

from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.service import Longview
from longview.indexing.library import VideoEntry
from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Event, Span
from tests.app.samples import TWICE

CIRCLE = ShapesEvent(6.0, 12.0, "red", "circle", "moves up")


def test_search_works_in_several_languages(app: Longview, twice: VideoEntry) -> None:
    for query in ("blue star", "파란 별이 커진다", "una estrella azul crece"):
        assert app.search(query)[0].span.iou(TWICE[2].event.span) > 0.7


def test_search_of_one_video_returns_only_its_moments(app: Longview, twice: VideoEntry, short_path: Path) -> None:
    other = app.index(short_path).entry
    moments = app.search("cyan ring", video=other.video_id)
    assert {moment.video_id for moment in moments} == {other.video_id}
    assert "cyan ring" not in " ".join(moment.text for moment in app.search("cyan ring", video=twice.video_id))
    app.remove(other)


def test_empty_query_is_refused(app: Longview) -> None:
    with pytest.raises(BadRequest, match="empty"):
        app.search("  ")


def test_verification_rejects_captions_without_an_event(app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "third.mp4", (CIRCLE,), 20.0, fps=10)
    entry = app.index(path).entry
    invention = Event(Span(14.0, 18.0), "A red circle moves up.")
    app.library.put(entry, [CIRCLE.event, invention])
    try:
        moments = app.search("red circle moves up", video=entry.video_id)
        verified = {moment.span: moment.verified for moment in app.verify_moments(moments)}
        assert verified == {CIRCLE.event.span: True, invention.span: False}
        path.unlink()
        assert [moment.verified for moment in app.verify_moments(moments)] == [None, None]
    finally:
        app.remove(entry)


def test_verification_reports_a_fraction_for_each_moment(app: Longview, twice: VideoEntry) -> None:
    moments = app.search("red circle moves to the right", video=twice.video_id)
    fractions: list[float] = []
    list(app.verify_moments(moments, on_part=fractions.append))
    assert fractions == pytest.approx([(number + 1) / len(moments) for number in range(len(moments))])
