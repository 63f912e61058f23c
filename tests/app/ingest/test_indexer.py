"""Indexing in process, with the bundled checkpoint."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.errors import BadRequest, VideoGone
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.sources import captions
from longview.app.service import Longview
from longview.app.streams import Done
from longview.app.text.contents import contents_text
from longview.core.progress import Cancelled, ProgressReport
from longview.core.timeline import Span
from longview.indexing.records.video import VideoEntry
from longview.model.tasks.events import PartialResult
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.errors import ImpossiblePlan, NotAVideo, UnreadableVideo, VideoNotFound
from longview.video.synthetic import ShapesEvent, render
from tests.support.app_samples import RING, cancel_after

RING_TEXT = "A cyan ring moves up."
STAGES = [
    "Probing",
    "Looking at the video",
    "Reading subtitles",
    "Recognising speech",
    "Reading text on screen",
    "Captioning",
    "Loading the checkpoint",
    "Summarizing",
    "Preparing the search",
]


def test_index_reports_its_stages_and_stores_captions(app: Longview, short_path: Path) -> None:
    events = list(app.index(short_path))
    reports = [event for event in events if isinstance(event, ProgressReport)]
    done = events[-1]
    assert isinstance(done, Done)
    result = done.result
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    # Progress is looked at ten times per second, so a quick stage may not be seen.
    stages = list(dict.fromkeys(report.stage for report in reports))
    assert "Captioning" in stages and stages == [stage for stage in STAGES if stage in stages]
    *_, window = [event.value for event in events if isinstance(event, PartialResult)]
    assert [event.text for event in window.events] == ["A cyan ring moves up."]
    assert [(item.text, item.source) for item in app.segments(result.entry)] == [("A cyan ring moves up.", "captions")]
    assert [(report.source, report.status, report.segments) for report in result.reports] == [
        ("subtitles", "declined", 0),
        ("speech", "declined", 0),
        ("screen_text", "indexed", 0),
        ("captions", "indexed", 1),
    ]
    track = result.entry.track("captions")
    assert track is not None
    assert (track.status, track.span, track.done_s) == ("complete", Span(0.0, 5.0), 5.0)
    assert track.provenance.checkpoint == app.checkpoint.identity
    assert track.provenance.plan["frames"] == 10
    app.remove(app.video(result.entry.video_id))


def test_failed_index_leaves_the_library_unchanged(
    app: Longview, twice: VideoEntry, twice_path: Path, short_path: Path, tmp_path: Path
) -> None:
    entries = app.videos()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(twice_path.read_bytes()[:3000])
    with pytest.raises(NotAVideo):
        app.index(damaged).result()
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, IndexOptions(start_s=31.0)).result()
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, IndexOptions(start_s=5.0, end_s=2.0)).result()
    with pytest.raises(ImpossiblePlan):
        app.index(twice_path, IndexOptions(end_s=20.0, context_tokens=100)).result()
    with pytest.raises(ImpossiblePlan):
        app.index(short_path, IndexOptions(context_tokens=100)).result()
    with pytest.raises(BadRequest, match="no source 'smell'; the sources are subtitles, speech, screen_text, captions"):
        app.index(short_path, IndexOptions(sources=("smell",))).result()
    with pytest.raises(VideoNotFound):
        app.index(tmp_path / "missing.mp4").result()
    assert app.videos() == entries


def test_video_that_is_up_to_date_is_not_decoded_again(
    app: Longview, twice: VideoEntry, twice_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "frames_played_at", lambda *_, **__: pytest.fail("frames were decoded"))
    result = app.index(twice_path).result()
    report = result.report("captions")
    assert report is not None and (report.status, report.segments) == ("up_to_date", 4)
    assert result.entry == twice


def test_start_beyond_the_end_keeps_all_tracks(app: Longview, short_path: Path) -> None:
    short_path.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nA line.\n")
    entry = app.index(short_path).result().entry
    assert [track.source for track in entry.tracks] == ["captions", "screen_text", "subtitles"]
    with pytest.raises(ImpossiblePlan, match="outside the video"):
        app.index(short_path, IndexOptions(start_s=5.0)).result()
    assert app.video(entry.video_id) == entry
    app.remove(entry)


def test_failed_source_does_not_prevent_the_others(app: Longview, tmp_path: Path) -> None:
    intact = render(tmp_path / "intact.mp4", [RING], 10.0, fps=5, output_options={"movflags": "+faststart", "g": 5})
    data = intact.read_bytes()
    path = tmp_path / "damaged.mp4"
    middle = (data.index(b"mdat") + len(data)) // 2
    path.write_bytes(data[:middle] + bytes(len(data) - middle))
    options = IndexOptions(start_s=7.0)
    entries = app.videos()
    with pytest.raises(UnreadableVideo, match="decoded"):
        app.index(path, options).result()
    assert app.videos() == entries
    path.with_suffix(".srt").write_text("1\n00:00:08,000 --> 00:00:09,000\nA line about ducks.\n")
    result = app.index(path, options).result()
    assert [(report.source, report.status) for report in result.reports] == [
        ("subtitles", "indexed"),
        ("speech", "declined"),
        ("screen_text", "failed"),
        ("captions", "failed"),
    ]
    *_, failure = result.failures
    track = result.entry.track("captions")
    assert track is not None and (track.status, track.note) == ("failed", failure.reason) and failure.reason
    assert app.search("duck", video=result.entry.video_id).result().moments[0].source == "subtitles"
    app.remove(result.entry)


@pytest.mark.parametrize("is_rewritten", [False, True], ids=["replaced", "rewritten"])
def test_file_that_is_changed_meanwhile_is_not_indexed(
    app: Longview, short_path: Path, tmp_path: Path, is_rewritten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = app.videos()
    # No other test has a session of this content.
    render(short_path, [RING], 5.0, fps=5, seed=int(is_rewritten) + 10)
    other = render(tmp_path / "other.mp4", [ShapesEvent(1, 4, "red", "star", "grows")], 5.0, fps=5)
    content = other.read_bytes()
    decode = Decoder.frames_played_at

    def change_first(self: Decoder, *args: object, **options: object) -> Iterator[TimedFrames]:
        # Both before the first frame is decoded and after the content was hashed.
        if is_rewritten:
            short_path.write_bytes(content)
        elif other.exists():
            other.replace(short_path)
        return decode(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "frames_played_at", change_first)
    with pytest.raises(VideoGone, match="changed while it was being read"):
        app.index(short_path).result()
    assert app.videos() == entries
    monkeypatch.undo()
    assert [item.text for item in app.segments(app.index(short_path).result().entry)] == ["A red star grows."]


def test_cancelled_index_keeps_the_captions_of_finished_windows(app: Longview, tmp_path: Path) -> None:
    # One in each of two windows, of which the first ends long before the second.
    rings = [replace(RING, start_s=start_s, end_s=start_s + 4.0) for start_s in (24.0, 66.0)]
    path = render(tmp_path / "long.mp4", rings, 75.0, fps=5)
    stream = app.index(path, IndexOptions(sources=("captions",)))
    with pytest.raises(Cancelled):
        # Cancelled before the next window, so what it committed is complete.
        cancel_after(stream, lambda event: isinstance(event, PartialResult))
    entry = app.videos()[-1]
    track = entry.track("captions")
    assert track is not None and track.status == "incomplete" and 0 < track.done_s < 75
    assert track.uncovered == (Span(track.done_s, entry.duration_s),)
    assert [moment.text for moment in app.segments(entry)] == [RING_TEXT]
    assert app.search(RING_TEXT, video=entry.video_id).result().moments
    assert "up to" in contents_text(entry)
    # The next run captions the rest, and nothing is doubled.
    entry = app.index(path).result().entry
    assert entry.caption_count == 2
    track = entry.track("captions")
    assert track is not None and track.status == "complete" and not track.uncovered
    # A complete track is kept until the new one is complete.
    stream = app.index(path, IndexOptions(sources=("captions",), context_tokens=3000))
    with pytest.raises(Cancelled):
        cancel_after(stream, lambda event: isinstance(event, PartialResult))
    assert app.video(entry.video_id).track("captions") == track
    assert [
        version.is_current
        for version in app.parts.library.versions.of_video(entry.video_id)
        if version.track.source == "captions"
    ] == [True]
    app.remove(entry)


def test_captions_that_take_long_are_not_made_unasked(app: Longview, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "MAX_UNASKED_S", 0.0)
    result = app.index(short_path).result()
    report = result.report("captions")
    assert report is not None and report.status == "skipped" and report.estimated_seconds
    assert re.search(r"captioning would take about .* on this machine; to start it: longview index --yes /.*short", report.reason)
    assert result.entry.track("captions") is None
    screen_text = result.entry.track("screen_text")
    assert screen_text is not None and screen_text.status == "complete"
    assert app.index(short_path, IndexOptions(accepts_long=True)).result().entry.caption_count == 1
    app.remove(result.entry)
    # Whoever names the source has asked for it.
    assert app.index(short_path, IndexOptions(sources=("captions",))).result().entry.caption_count == 1
    app.remove(result.entry)


def test_replies_that_cannot_be_read_leave_the_captions_as_they_are(app: Longview, short_path: Path, tmp_path: Path) -> None:
    entry = app.index(short_path).result().entry
    before = app.segments(entry, "captions")
    # The demo checkpoint replies in JSON, and Marlin's form of captions is another one.
    other = Longview(app.settings.model_copy(update={"profile": "marlin"}))
    (report,) = other.index(short_path, IndexOptions(sources=("captions",))).result().reports
    assert report.status == "failed" and "could be read as captions" in report.reason
    entry = app.video(entry.video_id)
    assert app.segments(entry, "captions") == before and not app.is_outdated(entry)
    # The next run asks again.
    assert app.parts.library.caption_windows.rows(entry.video_id) == ()
