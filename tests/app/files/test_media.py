"""The files of a library: sources, uploads, and what is derived from videos."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.errors import BadRequest, NoSpace, VideoGone
from longview.app.files.file_names import safe_name
from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.core.timeline import Span
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.video import VideoEntry
from longview.video.errors import NotAVideo, VideoNotFound
from longview.video.synthetic import render
from tests.support.app_samples import TWICE, demo_settings, file_names
from tests.support.power_cuts import disk_calls
from tests.support.small_disk import small_disk


def test_references_resolve_to_title_and_file(app: Longview, twice: VideoEntry, twice_path: Path, short_path: Path) -> None:
    title, video = app.parts.media.resolve(twice.video_id[:6])
    assert (title, video.path, video.content_hash) == ("twice", twice_path, twice.content_hash)
    title, video = app.parts.media.resolve(str(short_path))
    assert (title, video) == ("short", app.parts.media.open(short_path))
    with pytest.raises(UnknownVideo):
        app.parts.media.resolve("no-such-video")
    assert app.videos() == (twice,)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("loop", "loop is a loop of symbolic links"),
        ("dangling", "dangling is a symbolic link that leads nowhere"),
        ("x" * 300, "^The path x{60}… is too long"),
        ("https://example.org/a.mp4?v=1", r"^https://example\.org/a\.mp4\?v=1 is a web address; download the video first"),
        ("missing.mp4", r"^There is no file at missing\.mp4"),
        ("folder/missing", "^There is no file at folder/missing"),
        (os.fsdecode(b"caf\xe9.mp4"), "^There is no file at caf"),
    ],
)
def test_path_without_a_file_is_described(
    app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("missing.mp4")
    for resolve in (app.video, app.parts.media.resolve, lambda name: app.get_or_index(name).result(), app.parts.media.open):
        with pytest.raises(VideoNotFound, match=reason):
            resolve(reference)


@pytest.mark.parametrize(
    "use",
    [
        lambda app, entry: app.locate(entry, "a cyan ring").result(),
        lambda app, entry: app.ask([entry], "What happens at 2 seconds?").result(),
        lambda app, entry: app.plan(entry.video_id),
        lambda app, entry: app.parts.media.thumbnail(entry.video_id, 2.0),
        lambda app, entry: app.parts.media.ensure_browser_copy(entry),
    ],
    ids=["locate", "ask", "plan", "thumbnail", "browser copy"],
)
def test_changed_or_missing_source_is_an_error(
    app: Longview, short_path: Path, use: Callable[[Longview, VideoEntry], object]
) -> None:
    entry = app.index(short_path).result().entry
    with short_path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(VideoGone, match=r"short.mp4 has changed since it was indexed; index it again"):
        use(app, entry)
    short_path.unlink()
    with pytest.raises(VideoGone, match="no longer at .*short.mp4; index it again"):
        use(app, entry)
    # The captions need no frames.
    assert app.segments(entry, "captions")[0].text in app.export(entry, "srt", ["captions"])
    assert entry.video_id in {moment.video_id for moment in app.search("cyan ring", verify=False).result().moments}
    app.remove(app.video(entry.video_id))


def test_moved_file_is_still_the_same_video(app: Longview, short_path: Path) -> None:
    entry = app.index(short_path, IndexOptions(title="My title")).result().entry
    moved = short_path.rename(short_path.with_name("moved.mp4"))
    assert app.video(str(moved)) == replace(entry, path=moved)
    reindexed = app.index(moved).result().entry
    assert (reindexed.video_id, reindexed.path, reindexed.title) == (entry.video_id, moved, "My title")
    assert app.videos().count(reindexed) == 1
    app.remove(app.video(str(moved)))
    assert moved.exists()


def test_removal_deletes_derived_files_but_not_the_source(app: Longview, short_path: Path) -> None:
    entry = app.index(short_path).result().entry
    for reference, time_s in ((entry.video_id, 2.0), (entry.video_id[:6], 3.0), (entry.video_id, 1e300), (entry.video_id, -1.0)):
        assert app.parts.media.thumbnail(reference, time_s).stat().st_size > 0
    (app.parts.library.folder / "proxies").mkdir(exist_ok=True)
    (app.parts.library.folder / "proxies" / f"{entry.video_id}.mp4").write_bytes(b"a browser copy")
    app.remove(app.video(entry.video_id))
    assert file_names(app.parts.library.folder / "thumbnails") == file_names(app.parts.library.folder / "proxies") == []
    assert short_path.exists()
    assert entry.video_id not in {moment.video_id for moment in app.search("cyan ring", verify=False).result().moments}
    with pytest.raises(UnknownVideo):
        app.remove(app.video(entry.video_id))


def test_thumbnail_needs_a_video_of_the_library(app: Longview) -> None:
    for reference in ("no-such-video", "../../etc/passwd", ""):
        with pytest.raises(UnknownVideo):
            app.parts.media.thumbnail(reference, 1.0)


def test_unplayable_video_gets_one_browser_copy(app: Longview, twice_path: Path, tmp_path: Path) -> None:
    unplayable = render(tmp_path / "unplayable.avi", TWICE[:1], 5.0, fps=5, codec="mpeg4")
    entry = app.index(unplayable).result().entry
    assert app.parts.media.browser_copy(entry) is None
    copy = app.parts.media.ensure_browser_copy(entry)
    assert copy == app.parts.media.browser_copy(entry) == app.parts.media.ensure_browser_copy(entry)
    assert copy.is_relative_to(app.parts.library.folder)
    app.remove(app.video(entry.video_id))
    assert not copy.exists()
    assert app.parts.media.ensure_browser_copy(app.index(twice_path).result().entry) == twice_path


def test_upload_is_imported_once_under_a_safe_name(tmp_path: Path, twice_path: Path) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    uploads = app.parts.library.folder / "uploads"
    first, second = (Path(shutil.copy(twice_path, tmp_path / name)) for name in ("tmp1", "tmp2"))
    with disk_calls() as calls:
        copy = app.parts.media.import_upload(first, "../../My: holiday; rm -rf ~.MP4")
    assert calls.renamed == [copy.name] and calls.losses == []
    assert copy.parent == uploads and copy.suffix == ".mp4"
    assert copy.read_bytes() == twice_path.read_bytes() and not first.exists()
    assert app.parts.media.import_upload(second, "another name.mp4") == copy
    assert file_names(uploads) == [copy.name]


@pytest.fixture
def full_thumbnails(app: Longview) -> Iterator[Path]:
    """The folder of thumbnails on a full disk, which only root may mount."""
    folder = app.parts.library.folder / "thumbnails"
    with small_disk(folder, "4k"):
        (folder / "filler").write_bytes(bytes(4096))
        yield folder


def test_full_disk_is_an_error_and_keeps_no_file(app: Longview, twice: VideoEntry, full_thumbnails: Path) -> None:
    with pytest.raises(NoSpace, match=f"disk is full.*{twice.video_id}"):
        app.parts.media.thumbnail(twice.video_id, 5.0)
    for reencode in (False, True):
        with pytest.raises(NoSpace, match=r"disk is full.*part\.mp4"):
            app.parts.outputs.cut(
                "twice", app.parts.media.probe(twice), Span(1.0, 3.0), full_thumbnails / "part.mp4", reencode=reencode
            )
    assert file_names(full_thumbnails) == ["filler"]


@pytest.mark.parametrize("content", [b"", b"no video " * 100, b"#EXTM3U\nhttps://evil.example/a.ts\n"])
def test_upload_that_is_no_video_is_refused_by_its_own_name(tmp_path: Path, content: bytes) -> None:
    app = Longview(demo_settings(tmp_path / "library"))
    upload = tmp_path / "tmp1234.mp4"
    upload.write_bytes(content)
    with pytest.raises(NotAVideo, match="holiday.mp4"):
        app.parts.media.import_upload(upload, "holiday.mp4")
    assert file_names(app.parts.library.folder / "uploads") == []


@pytest.mark.parametrize(
    "name", ["", "..", "../..", "a" * 300 + ".mp4", "/etc/passwd", ".hidden", "\0\n", "$(rm -rf ~).mp4", "빨간 원.mp4"]
)
def test_safe_name_is_one_plain_short_file_name(name: str) -> None:
    safe = safe_name(name)
    assert safe == Path(safe).name and safe.strip(".")
    assert len(safe.encode()) <= 255
    assert not set(safe) & set("/\\\0\n $();~")


def test_name_that_is_not_utf8_is_one_error(app: Longview, short_path: Path) -> None:
    path = short_path.rename(Path(os.fsdecode(os.fsencode(short_path.parent) + b"/caf\xe9.mp4")))
    with pytest.raises(BadRequest, match="UTF-8") as raised:
        app.index(path).result()
    str(raised.value).encode()
