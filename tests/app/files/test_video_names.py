"""Videos are named by titles and their unique beginnings, and a name that several videos have is an error and no guess."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import BadRequest
from longview.app.files.video_names import MAX_TITLE_CHARS
from longview.app.maintenance.backup import backup
from longview.app.maintenance.restore import restore
from longview.app.service import Longview
from longview.indexing.errors import AmbiguousVideo, UnknownVideo
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.errors import NotAVideo, VideoNotFound
from longview.video.probing.content_hash import content_hash
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.shell import Shell

LONG = "x" * (MAX_TITLE_CHARS - 1) + "1"
TITLES = {
    "aa0000000000": "Town meeting, 2 June",
    "aa1111111111": "Town meeting, 9 June",
    "bb2222222222": unicodedata.normalize("NFD", "마을 회의"),
    "cc3333333333": 'The "big" one',
    "dd4444444444": LONG,
    "ee5555555555": "Straße und/oder Café",
    "ff6666666666": "aa0000000000",
    "2024aaaaaaaa": "Beach",
    "777777777777": "2024 in review",
    "888888888888": "Twice",
    "999999999999": "twice",
}


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    app = Longview(demo_settings(tmp_path / "library"))
    for video_id, title in TITLES.items():
        put_captions(app.parts.library, sample_entry(video_id, title), sample_events("an event"))
    return app


@pytest.mark.parametrize(
    ("reference", "video_id"),
    [
        ("Town meeting, 9 June", "aa1111111111"),
        ("  town MEETING, 9  june ", "aa1111111111"),
        ("town meeting, 2", "aa0000000000"),
        # The id of one video is the title of another.
        ("aa0000000000", "aa0000000000"),
        ("마을 회의", "bb2222222222"),
        (unicodedata.normalize("NFD", "마을"), "bb2222222222"),
        ('the "big" one', "cc3333333333"),
        (LONG, "dd4444444444"),
        ("x" * 200, "dd4444444444"),
        ("strasse und/oder CAFÉ", "ee5555555555"),
        ("ff66", "ff6666666666"),
        ("2024a", "2024aaaaaaaa"),
        ("2024 in", "777777777777"),
        # Names of files, also of those that are gone.
        ("cc3333333333.mp4", "cc3333333333"),
        ("/videos/cc3333333333.mp4", "cc3333333333"),
    ],
)
def test_a_title_or_a_unique_beginning_names_a_video(
    app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, video_id: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.video(reference).video_id == video_id
    app.remove(app.parts.library.video(video_id))
    if reference == "aa0000000000":
        # Only as the title of the other one.
        assert app.video(reference).video_id == "ff6666666666"
        app.remove(app.video(reference))
    assert app.removals.undo(reference).video_id == video_id


@pytest.mark.parametrize(
    ("reference", "candidates"),
    [
        ("Town", ["Town meeting, 2 June (aa0000000000, /videos/aa0000000000.mp4)", "Town meeting, 9 June (aa1111111111,"]),
        # The beginning of one id, and of the title of another video.
        ("2024", ["Beach (2024aaaaaaaa", "2024 in review (777777777777"]),
        ("TWICE", ["Twice (888888888888", "twice (999999999999"]),
        ("aa", ["aa0000000000", "aa1111111111", "ff6666666666"]),
    ],
)
def test_an_ambiguous_name_lists_the_candidates(app: Longview, reference: str, candidates: list[str]) -> None:
    def undo() -> None:
        for entry in app.videos():
            app.remove(entry)
        app.removals.undo(reference)

    uses: list[Callable[[], Any]] = [lambda: app.video(reference), lambda: app.parts.media.resolve(reference), undo]
    for use in uses:
        with pytest.raises(AmbiguousVideo) as caught:
            use()
        assert all(candidate in str(caught.value) for candidate in candidates) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("reference", ["", " ", "meeting", "Town meeting, 2 June 2026", "aa00000000001"])
def test_what_is_no_beginning_names_no_video(app: Longview, reference: str) -> None:
    with pytest.raises((UnknownVideo, VideoNotFound)):
        app.video(reference)


def test_files_and_titles_of_one_name_are_not_confused(app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Beach").mkdir()
    assert app.video("Beach").video_id == "2024aaaaaaaa"
    with pytest.raises(NotAVideo, match="is a folder"):
        app.video("./Beach")
    Path("Twice").write_bytes(b"another file")
    Path("town").write_bytes(b"one more")
    with pytest.raises(AmbiguousVideo):
        app.video("Twice")
    # A file is no beginning of a title, and does not name a video that is already in the library.
    with pytest.raises(UnknownVideo, match="is not in the library yet"):
        app.video("town")
    Path("Beach 2").write_bytes(b"new content")
    app.rename(app.video("Beach"), "Beach 2")
    with pytest.raises(AmbiguousVideo, match=r"write 2024aaaaaaaa for the video, and .*/Beach 2 for the file"):
        app.video("Beach 2")
    with pytest.raises(UnknownVideo, match="is not in the library yet"):
        app.video("./Beach 2")


def test_every_command_takes_a_title(app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shell, title, video_id = Shell(app.parts.library.folder), "마을 회의", "bb2222222222"
    for words in (("caption", title), ("transcript", title), ("versions", title), ("info", title), ("chapters", title)):
        assert shell.call(*words)["video_id"] == video_id
    assert shell.call("export", title, "--format", "srt")["video_id"] == video_id
    assert shell.call("search", "event", "--video", title)["moments"][0]["video_id"] == video_id
    assert shell.call("remove", title)["video_id"] == video_id
    assert shell.call("remove", "--undo", title)["video_id"] == video_id
    assert shell.call("cut", title, "--start", "0", "--end", "1", code=1)["error"]["code"] == "video_gone"
    error = shell.call("remove", "town", code=1)["error"]
    assert error["code"] == "ambiguous_video" and "Town meeting, 9 June (aa1111111111" in error["message"]


def test_rename_is_kept_by_whatever_happens_to_the_library(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    file = tmp_path / "raw.mp4"
    file.write_bytes(b"a video")
    digest = content_hash(file)
    video_id = digest[:12]
    entry = VideoEntry(video_id, digest, file, "raw", 100.0, sample_entry("").facts)
    put_captions(library, entry, sample_events("an event"))
    shell = Shell(library.folder)
    document = shell.call("rename", "raw", "  마을 'meeting' ")
    title = "마을 'meeting'"
    assert document == {
        "video_id": video_id, "path": str(file), "title": title, "old_title": "raw", "namesakes": [],
    }  # fmt: skip
    # A job that began before the video was renamed writes its entry again.
    put_captions(library, entry, sample_events("an event"))
    assert library.video(video_id).title == title
    shell.call("remove", title)
    shell.call("remove", "--undo")
    backup(library.folder, tmp_path / "all.zip", with_originals=False)
    restore(tmp_path / "all.zip", tmp_path / "elsewhere", replace=False)
    assert [entry.title for entry in Library(tmp_path / "elsewhere").videos()] == [title]
    content = bytearray((library.folder / "library.db").read_bytes())
    content[:100] = bytes(100)
    (library.folder / "library.db").write_bytes(content)
    assert shell.call("check", "--repair")["is_intact"]
    assert [row["title"] for row in shell.call("list")["videos"]] == [title]


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        (" ", "is empty"),
        ("a\nb", "cannot be printed"),
        ("a\x1b[2J", "cannot be printed"),
        ("\u202egpj", "cannot be printed"),
        ("한" * (MAX_TITLE_CHARS + 1), "has 301 characters; at most 300"),
        ("aa1111111111", "is the id of another video, Town meeting, 9 June"),
    ],
)
def test_a_title_that_cannot_be_used_is_refused(app: Longview, title: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        app.rename(app.video("Beach"), title)
    assert app.video("Beach").title == "Beach"


def test_a_title_of_two_videos_is_allowed_with_a_notice(app: Longview) -> None:
    shell = Shell(app.parts.library.folder)
    document = shell.call("rename", "Beach", "한" * MAX_TITLE_CHARS)
    assert document["title"] == "한" * MAX_TITLE_CHARS
    assert shell.call("rename", "2024a", "TWICE")["namesakes"] == ["888888888888", "999999999999"]
    assert app.rename(app.parts.library.video("2024aaaaaaaa"), "2024aaaaaaaa").title == "2024aaaaaaaa"
