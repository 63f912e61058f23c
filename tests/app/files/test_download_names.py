"""Exported files are named after the title, the source and the language, and no title leads out of a folder or a header."""

import unicodedata
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest

from longview.app.files.download_names import content_disposition, export_name
from longview.app.maintenance.archive import is_portable
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import put_speech, sample_entry, sample_track, spoken
from tests.support.shell import Shell


def entry_of(title: str) -> VideoEntry:
    """Return a video with speech in English, lines on screen without a language, and subtitles in two languages."""
    tracks = (
        sample_track("speech", language="en", languages=("en",)),
        sample_track("screen_text"),
        sample_track("subtitles", languages=("de", "fr")),
    )
    return replace(sample_entry("aaaaaaaaaaaa", title), tracks=tracks)


@pytest.mark.parametrize(
    ("sources", "language", "version", "expected"),
    [
        (["speech"], None, None, "Town meeting.speech.en.srt"),
        (["screen_text"], None, None, "Town meeting.screen-text.srt"),
        (["subtitles"], "fr", None, "Town meeting.subtitles.fr.srt"),
        (["subtitles"], None, None, "Town meeting.subtitles.de.srt"),
        (["speech", "subtitles"], None, None, "Town meeting.speech-subtitles.srt"),
        (["speech"], "../a language", None, "Town meeting.speech.srt"),
        (["speech"], None, 7, "Town meeting.speech.en.version-7.srt"),
    ],
)
def test_name_has_title_source_and_language(sources: list[str], language: str | None, version: int | None, expected: str) -> None:
    assert export_name(entry_of("Town meeting"), sources, "srt", language=language, version=version) == expected


@pytest.mark.parametrize(
    ("title", "beginning"),
    [
        ("../../etc/passwd", "etc passwd."),
        ("..", "video."),
        ("-rf ~", "rf ~."),
        (".hidden", "hidden."),
        ("CON", "_CON."),
        ("con.fig", "_con.fig."),
        ('a "quoted"; filename=b.exe', "a quoted ; filename=b.exe."),
        ("a\r\nSet-Cookie: b", "a Set-Cookie b."),
        ("\u202egpj", "gpj."),
        ("100 % sure", "100 % sure."),
        (unicodedata.normalize("NFD", "마을 회의"), "마을 회의."),
        ("한" * 300, "한" * 60 + "."),
        ("x" * 300, "x" * 180 + "."),
        ("Dr. Who. ", "Dr. Who."),
    ],
)
def test_no_title_leads_out_of_the_folder_or_the_header(title: str, beginning: str) -> None:
    name = export_name(entry_of(title), ["speech"], "srt", language=None)
    assert name == f"{beginning}speech.en.srt" and is_portable(name)
    message = Message()
    message["Content-Disposition"] = content_disposition(name)
    assert message.get_content_disposition() == "attachment" and content_disposition(name).isascii()
    # Both forms are there, and a client that reads RFC 5987 gets the name itself.
    plain, _, extended = content_disposition(name).partition("; filename*=")
    assert plain.startswith('attachment; filename="') and plain.count('"') == 2
    message.replace_header("Content-Disposition", f"attachment; filename*={extended}")
    assert message.get_filename() == name


def test_export_into_a_folder_names_the_file_and_overwrites_none(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    for video_id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        put_speech(library, sample_entry(video_id, "마을 회의"), [spoken(5.0, f"words of {video_id}")])
    shell = Shell(library.folder)
    document = shell.call("export", "aaaa", "--format", "srt", "--output", str(tmp_path))
    assert Path(document["path"]) == tmp_path / "마을 회의.speech.en.srt"
    assert "words of aaaaaaaaaaaa" in Path(document["path"]).read_text(encoding="utf-8")
    error = shell.call("export", "bbbb", "--format", "srt", "--output", str(tmp_path), code=1)["error"]
    assert "already exists and was not overwritten" in error["message"]
    assert "words of aaaaaaaaaaaa" in Path(document["path"]).read_text(encoding="utf-8")
