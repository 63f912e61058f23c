"""Subtitles through the application: files beside a video, files of the user, and transcripts without times."""

import subprocess
from pathlib import Path

import pytest

from longview.app.errors import BadRequest, JobStopped
from longview.app.ingest.options import IndexOptions
from longview.app.ingest.sources import subtitles
from longview.app.service import Longview
from longview.core.progress import Cancelled
from longview.core.timeline import Span
from longview.indexing.errors import ExportNotPossible, UnknownVideo
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry
from longview.model.tasks.events import PartialResult
from longview.video.errors import UnreadableSubtitles
from longview.video.ffmpeg import ffmpeg_path
from tests.support.app_samples import cancel_after, demo_settings
from tests.support.library_samples import sample_track, spoken

SUBTITLES_ONLY = IndexOptions(sources=("subtitles",))


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of black frames with a sound."""
    path = tmp_path_factory.mktemp("blank") / "film.mp4"
    video, sound = "color=black:size=64x64:rate=2:duration=60", "sine=duration=60:sample_rate=8000"
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", sound, "-c:a", "aac", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.fixture
def film(blank: Path, tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(blank.read_bytes())
    return path


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    return Longview(demo_settings(tmp_path / "library"))


def write_srt(path: Path, *cues: tuple[float, str], length_s: float = 2.0) -> Path:
    def stamp(time_s: float) -> str:
        return f"00:{int(time_s) // 60:02}:{time_s % 60:06.3f}".replace(".", ",")

    blocks = (f"{n}\n{stamp(at)} --> {stamp(at + length_s)}\n{text}\n" for n, (at, text) in enumerate(cues, 1))
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def texts(app: Longview, entry: VideoEntry) -> list[tuple[float, str | None, str]]:
    return [(item.span.start_s, item.language, item.text) for item in app.segments(entry, "subtitles")]


def subtitle_track(entry: VideoEntry) -> Track:
    track = entry.track("subtitles")
    assert track is not None
    return track


def test_files_beside_a_video_are_found_searched_and_renewed(app: Longview, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_srt(film.with_suffix(".en.srt"), (1, "The lighthouse keeper"))
    german = write_srt(film.with_suffix(".de.srt"), (1, "Der Leuchtturmwärter"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert texts(app, entry) == [(1, "de", "Der Leuchtturmwärter"), (1, "en", "The lighthouse keeper")]
    moment = app.search("lighthouse").result().moments[0]
    assert (moment.source, moment.span.start_s, moment.verified) == ("subtitles", 1, None)
    assert app.index(film, SUBTITLES_ONLY).result().reports[0].status == "up_to_date"
    with monkeypatch.context() as later:
        later.setattr(subtitles, "VERSION", "later")
        assert app.index(film, SUBTITLES_ONLY).result().reports[0].status == "indexed"
    german.unlink()
    write_srt(film.with_suffix(".en.srt"), (2, "The keeper of the lighthouse"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert texts(app, entry) == [(2, "en", "The keeper of the lighthouse")]


def test_interrupted_reading_continues_with_the_other_files(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".de.srt"), (1, "eins"))
    write_srt(film.with_suffix(".en.srt"), (1, "one"))
    with pytest.raises(Cancelled):
        cancel_after(app.index(film, SUBTITLES_ONLY), lambda event: isinstance(event, PartialResult))
    assert subtitle_track(app.videos()[0]).status == "incomplete"
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert subtitle_track(entry).is_complete and [text for *_, text in texts(app, entry)] == ["eins", "one"]


def test_one_bad_file_is_named_and_the_others_are_read(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".en.srt"), (1, "one"))
    film.with_suffix(".de.srt").write_bytes(bytes(range(256)) * 10)
    result = app.index(film, SUBTITLES_ONLY).result()
    assert [text for *_, text in texts(app, result.entry)] == ["one"]
    assert "film.de.srt" in subtitle_track(result.entry).note


def test_file_of_the_user_keeps_its_offset(app: Longview, film: Path) -> None:
    beside = write_srt(film.with_suffix(".en.srt"), (1, "one"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert app.subtitles.add(entry, beside, offset_s=10).segments == 1
    assert texts(app, entry) == [(11, "en", "one")]
    write_srt(film.with_suffix(".fr.srt"), (3, "trois"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert texts(app, entry) == [(3, "fr", "trois"), (11, "en", "one")]


@pytest.mark.parametrize("name", ["notes.pdf", "empty.srt", "late.srt", "words.txt"])
def test_file_that_cannot_be_added_changes_nothing(app: Longview, film: Path, tmp_path: Path, name: str) -> None:
    write_srt(film.with_suffix(".srt"), (1, "one"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    file = tmp_path / name
    file.write_text("some words without a time" if name == "words.txt" else "")
    if name == "late.srt":
        write_srt(file, (600, "far beyond the end"))
    with pytest.raises((BadRequest, UnreadableSubtitles), match=name):
        app.subtitles.add(entry, file)
    assert texts(app, entry) == [(1, None, "one")]


def test_transcript_gets_the_times_of_the_speech(app: Longview, film: Path, tmp_path: Path) -> None:
    write_srt(film.with_suffix(".srt"), (1, "one"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    speech = [spoken(5, "good morning every one and welcome"), spoken(20, "the first item is the bud get of the school")]
    app.parts.library.tracks.begin(entry.video_id, sample_track("speech", "incomplete", done_s=0.0))
    app.parts.library.tracks.append(entry.video_id, sample_track("speech"), speech, after_s=0.0)
    transcript = tmp_path / "talk.md"
    transcript.write_text(
        "# Minutes\n\nGood morning everyone, and welcome.\n\nThe first item is the budget of the school.\n\n"
        "Nobody has ever said anything like this sentence.\n"
    )
    result = app.subtitles.add(app.video(entry.video_id), transcript)
    added = [item for item in texts(app, entry) if item[2] != "one"]
    assert [text for *_, text in added] == ["Good morning everyone, and welcome.", "The first item is the budget of the school."]
    assert [start_s for start_s, *_ in added] == pytest.approx([5, 20], abs=0.6)
    assert any("Nobody" in text for text in result.unmatched) and 0.2 < (result.unmatched_share or 0) < 0.6


def test_speech_is_left_out_only_where_subtitles_suffice(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".srt"), *[(at, f"line {at}") for at in range(0, 58, 4)])
    assert app.index(film, SUBTITLES_ONLY).result().entry.has_segments
    report = app.index(film, IndexOptions(end_s=5)).result().report("speech")
    assert report is not None and report.status == "skipped" and "--sources speech" in report.reason
    write_srt(film.with_suffix(".srt"), (10, "SIGN ON A DOOR"))
    app.index(film, SUBTITLES_ONLY).result()
    report = app.index(film, IndexOptions(end_s=5)).result().report("speech")
    assert report is not None and report.status != "skipped"


def test_translations_do_not_alternate_in_one_file(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".en.srt"), (1, "one"), (4, "two"))
    write_srt(film.with_suffix(".de.srt"), (1, "eins"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert "one" in app.export(entry, "srt", ["subtitles"]) and "eins" not in app.export(entry, "srt", ["subtitles"])
    assert "eins" in app.export(entry, "srt", ["subtitles"], language="de")
    assert "eins" in app.export(entry, "csv", ["subtitles"])
    with pytest.raises(ExportNotPossible, match="speech"):
        app.export(entry, "srt", ["speech"])


def test_part_of_a_complete_track_is_not_read_again(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".srt"), *[(at, f"line {at}") for at in range(0, 58, 4)])
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    again = app.index(film, IndexOptions(sources=("subtitles",), start_s=10, end_s=20)).result()
    assert again.reports[0].status == "up_to_date"
    assert subtitle_track(again.entry) == subtitle_track(entry) and subtitle_track(entry).span == Span(0, 60)


def test_removal_while_indexing_is_one_sentence(app: Longview, film: Path) -> None:
    write_srt(film.with_suffix(".de.srt"), (1, "eins"))
    write_srt(film.with_suffix(".en.srt"), (1, "one"))

    def index_and_remove() -> None:
        for event in app.index(film, IndexOptions(sources=("subtitles", "captions"))):
            if isinstance(event, PartialResult) and app.videos():
                app.remove(app.videos()[0])

    # The removal also cancels the job, which the run may notice first.
    with pytest.raises((UnknownVideo, JobStopped), match=r"removed|cancelled"):
        index_and_remove()
    assert [job.status for job in app.parts.library.queue.jobs() if job.path == film] == ["cancelled"]
    assert app.videos() == ()


def test_removed_subtitles_beside_a_video_come_back_only_when_their_file_changes(app: Longview, film: Path) -> None:
    beside = write_srt(film.with_suffix(".en.srt"), (1, "one"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert app.subtitles.names(entry) == (beside.name,)
    app.subtitles.remove(entry, beside.name)
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert texts(app, entry) == [] and app.subtitles.names(entry) == ()
    with pytest.raises(BadRequest, match=beside.name):
        app.subtitles.remove(entry, beside.name)
    write_srt(beside, (2, "two"))
    entry = app.index(film, SUBTITLES_ONLY).result().entry
    assert texts(app, entry) == [(2, "en", "two")]
