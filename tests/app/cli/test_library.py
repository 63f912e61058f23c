"""`list`, `info`, `jobs` and `doctor` say in words what a video is, how far it has come, and what of it is damaged."""

import time as clock
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from longview.app.cli.group import cli
from longview.app.jobs.text import named_reason
from longview.app.text.damage import damage_of
from longview.app.text.local_time import moment_text
from longview.core.timeline import Span
from longview.indexing.records.job import PERSON, QueuedJob
from longview.indexing.records.track import TrackStatus
from longview.indexing.records.video import AnsweredQuestion, VideoEntry
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import (
    PROVENANCE,
    put_captions,
    put_speech,
    sample_entry,
    sample_events,
    sample_track,
    shown,
    spoken,
)
from tests.support.shell import Shell

VIDEO = "aaaaaaaaaaaa"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def shell(library: Library) -> Shell:
    return Shell(library.folder)


def printed(shell: Shell, *words: str, code: int = 0) -> str:
    """Return what a command prints for people."""
    result = CliRunner().invoke(cli, words, env={"LONGVIEW_LIBRARY": str(shell.library)})
    assert result.exit_code == code, result.output
    return result.stdout


def put_screen_text(library: Library, entry: VideoEntry, status: TrackStatus = "complete", **fields: Any) -> VideoEntry:
    """Write a video with a line on screen in its first ten seconds."""
    library.put(entry)
    done_s = fields.pop("done_s", 100.0)
    library.tracks.begin(entry.video_id, sample_track("screen_text", "incomplete", done_s=0.0))
    track = sample_track("screen_text", status, done_s=done_s, **fields)
    library.tracks.append(entry.video_id, track, [shown(0, 10, "Agenda")], after_s=0.0)
    return library.pending_video(entry.video_id)


def add_job(library: Library, path: Path, content_hash: str = "") -> QueuedJob:
    """Add a file to the queue."""
    return library.queue.add(path, title=path.name, options={}, settings={}, priority=PERSON, content_hash=content_hash)


def test_damage_is_reported_wherever_a_video_is_shown(library: Library, shell: Shell) -> None:
    entry = sample_entry(VIDEO, "Interview")
    put_screen_text(library, entry, uncovered=(Span(20.0, 22.2),))
    put_speech(library, entry, [spoken(5.0, "a word")])
    sound = replace(sample_track("speech"), uncovered=(Span(40.0, 41.5), Span(50.0, 50.5)))
    library.tracks.append(VIDEO, sound, (), after_s=100.0)
    put_captions(library, sample_entry("bbbbbbbbbbbb", "Whole"), sample_events("an event"))
    text = (
        "11 of 500 frames could not be decoded, from 0:00:20.0 to 0:00:22.2; 2.0 s of the sound could not be decoded, from "
        "0:00:40.0 to 0:00:41.5, 0:00:50.0 to 0:00:50.5"
    )
    assert printed(shell, "list").count(f"damaged: {text}") == 1
    assert f"damaged      {text}" in printed(shell, "info", "Interview")
    assert f"1 video has damaged parts: Interview ({text})." in printed(shell, "doctor", code=1)
    damages = {row["title"]: row["damage"] for row in shell.call("list")["videos"]}
    assert damages["Whole"] is None
    assert (damages["Interview"]["lost_frames"], damages["Interview"]["frames"]) == (11, 500)
    assert [span["start_s"] for span in damages["Interview"]["sound"]] == [40.0, 50.0]
    job = library.queue.add(
        entry.path, title="interview.mp4", options={}, settings={}, priority=10, content_hash=entry.content_hash
    )
    assert shell.call("jobs")["jobs"][0]["damage"] == text and text in printed(shell, "jobs")
    library.queue.cancel(job.job_id)
    assert text in printed(shell, "jobs", "--ended")


def test_of_many_damaged_places_only_the_first_are_named(library: Library) -> None:
    spans = tuple(Span(time_s, time_s + 0.2) for time_s in range(50))
    damage = damage_of(put_screen_text(library, sample_entry(VIDEO), uncovered=spans))
    assert damage is not None and damage.text.startswith("50 of 500 frames") and damage.text.endswith("and at 47 more places")


def test_an_unfinished_video_says_how_far_it_is_and_not_that_it_has_nothing(library: Library, shell: Shell) -> None:
    entry = sample_entry(VIDEO, "Interview")
    library.put(entry)
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    assert "[speech 0%]" in printed(shell, "list")
    library.tracks.append(VIDEO, sample_track("speech", "incomplete", done_s=36.0), [spoken(5.0, "a word")], after_s=0.0)
    job = library.queue.add(
        entry.path, title="interview.mp4", options={}, settings={}, priority=10, content_hash=entry.content_hash
    )
    add_job(library, Path("/videos/next.mp4"))
    text = printed(shell, "list")
    assert "[speech 36%: 1 segment up to 0:00:36.0; waiting to be indexed]" in text
    assert "Not indexed yet: 1 file" in text
    assert shell.call("list")["videos"][0]["job"] == "waiting"
    info = printed(shell, "info", "Interview")
    assert "speech       36%, 1 segment (en) up to 0:00:36.0" in info and "waiting to be indexed" in info
    library.queue.cancel(job.job_id)
    info = printed(shell, "info", "Interview")
    assert "`longview index /videos/aaaaaaaaaaaa.mp4`" not in info and "`longview relink FOLDER`" in info


def test_list_names_what_was_found_and_not_what_was_not(library: Library, shell: Shell) -> None:
    entry = sample_entry(VIDEO, "Interview")
    put_speech(library, entry, [spoken(5.0, "a word")])
    library.put_captions(VIDEO, sample_track("captions", "declined", note="unknown footage"), (), summary="", chapters=())
    silent = sample_entry("bbbbbbbbbbbb", "Silent")
    library.put(silent)
    library.put_captions(silent.video_id, sample_track("captions", "declined"), (), summary="", chapters=())
    first, second = (line for line in printed(shell, "list").splitlines() if "[" in line)
    assert first.endswith("Interview  [speech: 1 segment]") and second.endswith("Silent  [no captions]")


def test_info_says_what_a_video_is_and_what_can_be_done(library: Library, shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "interview.mp4"
    path.write_bytes(bytes(3 << 20))
    facts = {"codec": "h264", "width": 640, "height": 360, "fps": 25.0, "has_audio": True}
    entry = replace(sample_entry(VIDEO, "Interview\u200b"), path=path, facts=facts)
    put_speech(library, entry, [spoken(5.0, "a word"), spoken(15.0, "two words")])
    library.conversations.add(VIDEO, AnsweredQuestion("Who?", "Nobody.", (), PROVENANCE))
    document = shell.call("info", VIDEO[:4])
    assert {name: document[name] for name in ("video_id", "questions", "missing", "damage", "facts", "job")} == {
        "video_id": VIDEO, "questions": 1, "missing": False, "damage": None, "facts": facts, "job": None,
    }  # fmt: skip
    assert document["added_at"] == library.video(VIDEO).added_at and document["chapters"] is not None
    assert any(f"longview ask {VIDEO}" in step for step in document["next"])
    text = printed(shell, "info", VIDEO)
    for line in (
        "size         3.0 MiB",
        "speech       2 segments (en)",
        "questions    1",
        "640 x 360, 25 frames per second, h264",
    ):
        assert line in text
    assert "added        today " in text and "\u200b" not in text


def test_nothing_that_people_read_is_a_literal_a_hash_or_a_time_stamp(library: Library, shell: Shell) -> None:
    put_captions(library, sample_entry(VIDEO, "Interview"), sample_events("an event"))
    commands = (["versions", VIDEO], ["info", VIDEO], ["remove", VIDEO])
    texts = [printed(shell, "doctor", code=1), *(printed(shell, *words) for words in commands)]
    marks = ("{'", "': ", "None", "True", "False", "demo@", "+00:00", "screen_text", "tokens")
    assert [(mark, text) for text in texts for mark in marks if mark in text] == []
    assert "GiB free" in texts[0] and "until tomorrow " in texts[-1]


def test_a_folder_names_what_it_left_out(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    (folder / ".hidden.mp4").touch()
    (folder / "notes.txt").write_text("no video")
    message = shell.call("index", str(folder), code=1)["error"]["message"]
    assert message == f"{folder} has no video or audio files that can be indexed. Left out: {folder / 'empty.mp4'} is empty."
    (folder / "empty.mp4").unlink()
    assert "their names end with one of .mp4" in shell.call("index", str(folder), code=1)["error"]["message"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--language", "klingonese"], "'klingonese' is not the code of a language"),
        (["--screen-language", "x y"], "'x y' is not the code of a language"),
    ],
)
def test_a_wrong_option_is_refused_before_there_is_a_job(
    library: Library, shell: Shell, tmp_path: Path, options: list[str], reason: str
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a video")
    assert reason in shell.call("index", str(path), *options, code=1)["error"]["message"]
    assert library.queue.jobs() == ()


def test_subtitles_take_only_language_tags(library: Library, shell: Shell, tmp_path: Path) -> None:
    put_captions(library, sample_entry(VIDEO, "Interview"), sample_events("an event"))
    file = tmp_path / "interview.srt"
    file.write_text("1\n00:00:01,000 --> 00:00:02,000\nWords.\n")
    for wrong in ("english please", "../en", "<b>", ""):
        assert (
            "is not the code of a language"
            in shell.call("subtitles", "Interview", str(file), "--language", wrong, code=1)["error"]["message"]
        )
    assert shell.call("subtitles", "Interview", str(file), "--language", "pt-BR")["language"] == "pt-BR"


def test_what_was_done_already_is_not_advised(library: Library, shell: Shell) -> None:
    entry = replace(sample_entry(VIDEO, "Cars"), facts={"has_audio": True, "width": 640})
    put_screen_text(library, entry)
    assert "longview index --sources speech /videos/aaaaaaaaaaaa.mp4" in printed(shell, "transcript", "cars")
    library.tracks.begin(VIDEO, sample_track("speech", "incomplete", done_s=0.0))
    assert "resumes" in printed(shell, "transcript", "cars")
    library.tracks.append(VIDEO, sample_track("speech", note="no speech was recognised"), (), after_s=0.0)
    assert printed(shell, "transcript", "cars") == "No speech was found in “Cars”.\n"


def test_reason_names_a_file_once() -> None:
    assert named_reason("fake.mp4", "fake.mp4 is not a video.") == "fake.mp4 is not a video."
    assert named_reason("fake.mp4", "The disk is full.") == "fake.mp4: The disk is full."


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-12-01T18:05:51+00:00", "today 18:05"),
        ("2026-12-02T13:05:51+00:00", "tomorrow 13:05"),
        ("2026-11-30T00:05:00+00:00", "yesterday 00:05"),
        ("2026-12-09T13:05:51.123+00:00", "Wed 9 Dec, 13:05"),
        ("2025-12-09T13:05:51+00:00", "Tue 9 Dec 2025, 13:05"),
        ("no time", "no time"),
    ],
)
def test_times_are_printed_as_users_write_them(monkeypatch: pytest.MonkeyPatch, time: str, expected: str) -> None:
    monkeypatch.setenv("TZ", "UTC")
    clock.tzset()
    assert moment_text(time, now=datetime(2026, 12, 1, 12, tzinfo=UTC)) == expected
