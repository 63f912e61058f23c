"""Search and verification over one library, with the bundled checkpoint and the real encoder."""

from pathlib import Path

import pytest

from longview.app.errors import BadRequest
from longview.app.service import Longview
from longview.app.streams import Done
from longview.core.timeline import Event, Span
from longview.indexing.records.video import VideoEntry
from longview.model.demo.verification import TemplateVerifier
from longview.model.tasks.events import PartialResult
from longview.video.decoding.decoder import Decoder
from longview.video.synthetic import ShapesEvent, render
from tests.support.app_samples import TWICE
from tests.support.library_samples import put_captions

CIRCLE = ShapesEvent(6.0, 12.0, "red", "circle", "moves up")


def test_search_works_in_several_languages(app: Longview, twice: VideoEntry) -> None:
    for query in ("blue star", "파란 별이 커진다", "una estrella azul crece"):
        assert app.search(query).result().moments[0].span.iou(TWICE[2].event.span) > 0.7


def test_search_of_one_video_returns_only_its_moments(app: Longview, twice: VideoEntry, short_path: Path) -> None:
    other = app.index(short_path).result().entry
    moments = app.search("cyan ring", video=other.video_id).result().moments
    assert {moment.video_id for moment in moments} == {other.video_id}
    moments = app.search("cyan ring", video=twice.video_id).result().moments
    assert "cyan ring" not in " ".join(moment.text for moment in moments)
    app.remove(other)


def test_empty_query_is_refused(app: Longview) -> None:
    with pytest.raises(BadRequest, match="empty"):
        app.search("  ").result()


def test_verification_rejects_captions_without_an_event(app: Longview, tmp_path: Path) -> None:
    path = render(tmp_path / "third.mp4", (CIRCLE,), 20.0, fps=10)
    entry = app.index(path).result().entry
    invention = Event(Span(14.0, 18.0), "A red circle moves up.")
    put_captions(app.parts.library, entry, [CIRCLE.event, invention])
    try:
        results = app.search("red circle moves up", video=entry.video_id).result()
        assert {moment.span: moment.verified for moment in results.moments} == {CIRCLE.event.span: True, invention.span: False}
        assert [moment.span for moment in results.accepted] == [CIRCLE.event.span] and [
            moment.span for moment in results.rejected
        ] == [invention.span]
        path.unlink()
        results = app.search("red circle moves up", video=entry.video_id).result()
        assert [moment.verified for moment in results.moments] == [None, None] and results.unverified_count == 2
    finally:
        app.remove(entry)


def test_results_come_before_their_verification(app: Longview, twice: VideoEntry) -> None:
    events = list(app.search("red circle moves to the right", video=twice.video_id))
    partial = [event.value for event in events if isinstance(event, PartialResult)]
    assert partial[0].unverified_count == len(partial[0].moments) > 1
    assert [results.unverified_count for results in partial] == list(range(len(partial[0].moments), -1, -1))
    assert events[-1] == Done(partial[-1])


def test_search_without_verification_opens_no_session(app: Longview, twice: VideoEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "frames_played_at", lambda *_, **__: pytest.fail("frames were decoded"))
    results = app.search("red circle", video=twice.video_id, verify=False).result()
    assert results.moments and results.unverified_count == len(results.moments)


def test_search_verifies_by_default_only_what_is_quick(
    app: Longview, twice: VideoEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The bundled checkpoint, treated like any other one.
    verifiers = [TemplateVerifier(app.checkpoint.question_templates, app.checkpoint.no_event_replies) for _ in range(2)]
    for verifier in verifiers:
        verifier.needs_caption_checks = False
    for limit_s, unverified in ((0.0, 2), (600.0, 0)):
        other = Longview(app.settings.model_copy(update={"search_verify_s": limit_s}))
        monkeypatch.setattr(other.parts.runtime, "verifier", verifiers.pop())
        assert other.search("red circle moves to the right", limit=2).result().unverified_count == 2, "nothing is loaded yet"
        _ = other.parts.runtime.pool
        assert other.search("red circle moves to the right", limit=2).result().unverified_count == unverified
