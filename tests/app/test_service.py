"""The use cases over one library, in process, with the bundled checkpoint."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.app.errors import BadRequest, VideoGone
from longview.app.media import safe_name
from longview.app.progress import Progress
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.indexing.errors import UnknownVideo
from longview.indexing.library import Provenance, VideoEntry
from longview.model.engine import local
from longview.model.engine.checkpoints import DEMO
from longview.model.errors import InvalidQuestion
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.video.errors import ImpossiblePlan, NotAVideo, VideoNotFound
from longview.video.synthetic import ShapesEvent, render

TWICE = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(9.0, 13.0, "green", "square", "stays still"),
    ShapesEvent(15.0, 19.0, "blue", "star", "grows"),
    ShapesEvent(22.0, 27.0, "red", "circle", "moves to the right"),
)
TOO_LONG = "red " * (MAX_QUESTION_CHARACTERS // 4) + "x"


def settings(home: Path, model: str = "demo", **more: Any) -> Settings:
    return Settings(library=home, model=model, device="cpu", cpu_threads=1, **more)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(settings(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "twice.mp4", TWICE, 30.0, fps=12.5)


@pytest.fixture(scope="module")
def indexed(app: Longview, original: Path) -> VideoEntry:
    return app.index(original).entry


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A video of its own for each test that changes or removes it."""
    return render(tmp_path / "short.mp4", [ShapesEvent(1, 4, "cyan", "ring", "moves up")], 5.0, fps=5)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_indexing_tells_how_far_it_is_and_says_what_made_the_captions(app: Longview, short: Path) -> None:
    reports: list[Progress] = []
    done = app.index(short, on_progress=reports.append)
    parts = [report.fraction for report in reports]
    assert parts == sorted(parts) and parts[-1] == 1.0
    assert "looking and captioning" in {report.stage for report in reports}
    assert [item.event.text for item in app.captions(done.entry)] == ["A cyan ring moves up."]
    assert done.entry.provenance.checkpoint == app.checkpoint.identity
    assert done.entry.provenance.plan["frames"] == 10
    app.remove(done.entry.video_id)


def test_a_whole_sentence_is_located_each_time_that_it_happens(app: Longview, indexed: VideoEntry) -> None:
    # One look overlooks the second time; the captions know of it, and a closer look confirms it.
    spans = [item.span for item in app.locate(indexed, TWICE[0].text).occurrences]
    assert len(spans) == 2
    assert spans[0].iou(TWICE[0].event.span) > 0.9 and spans[1].iou(TWICE[3].event.span) > 0.9


def test_a_moment_is_searched_in_other_languages_and_asked_about(app: Longview, indexed: VideoEntry) -> None:
    for query in ("blue star", "파란 별이 커진다", "una estrella azul crece"):
        assert app.search(query)[0].span.iou(TWICE[2].event.span) > 0.7
    asking = app.ask([indexed], "What happens at 17 seconds?")
    assert "".join(asking) == "A blue star grows."
    # The moment's evidence is the whole event that the captions tell.
    assert asking.answer.citations[0].span.iou(TWICE[2].event.span) > 0.7
    kept = app.answers(indexed)[-1]
    assert (kept.question, kept.answer) == ("What happens at 17 seconds?", "A blue star grows.")
    assert kept.citations == (asking.answer.citations[0].span,)
    assert kept.provenance.checkpoint == app.checkpoint.identity


def test_locating_looks_at_the_whole_video_whichever_part_was_indexed(original: Path, tmp_path: Path) -> None:
    part = Longview(settings(tmp_path / "part"))
    entry = part.index(original, start_s=14.0, end_s=20.5).entry
    assert [item.event.text for item in part.captions(entry)] == [TWICE[2].text]
    assert part.locate(entry, "red circle").occurrences
    assert part.locate(entry, "blue star").occurrences[0].span.iou(TWICE[2].event.span) > 0.9


@pytest.mark.parametrize(
    "use",
    [
        lambda app, entry: app.locate(entry, "a cyan ring"),
        lambda app, entry: app.ask([entry], "What happens at 2 seconds?"),
        lambda app, entry: app.plan(entry.video_id),
        lambda app, entry: app.files.thumbnail(entry.video_id, 2.0),
        lambda app, entry: app.files.playable(entry),
    ],
    ids=["locate", "ask", "plan", "thumbnail", "playable"],
)
def test_an_original_that_changed_or_is_gone_is_told_where_frames_are_needed(
    app: Longview, short: Path, use: Callable[[Longview, VideoEntry], object]
) -> None:
    entry = app.index(short).entry
    with short.open("ab") as file:
        file.write(b"more")
    with pytest.raises(VideoGone, match=r"short.mp4 has changed since it was indexed; index it again"):
        use(app, entry)
    short.unlink()
    with pytest.raises(VideoGone, match="no longer at .*short.mp4; index it again"):
        use(app, entry)
    # What is in the library can still be had.
    assert app.captions(entry)[0].event.text in app.export(entry, "srt")
    assert entry.video_id in {moment.video_id for moment in app.search("cyan ring")}
    app.remove(entry.video_id)


def test_the_same_content_at_another_place_is_the_same_video_there(app: Longview, short: Path) -> None:
    first = app.index(short, title="My title").entry
    moved = short.rename(short.with_name("moved.mp4"))
    assert app.video(str(moved)) == replace(first, path=moved)
    again = app.index(moved).entry
    assert (again.video_id, again.path, again.title) == (first.video_id, moved, "My title")
    assert app.videos().count(again) == 1
    app.remove(str(moved))
    assert moved.exists()


def test_captions_are_stale_after_a_change_of_checkpoint_until_they_are_made_again(
    app: Longview, indexed: VideoEntry, short: Path, tmp_path: Path
) -> None:
    assert not app.is_outdated(indexed)
    changed = shutil.copytree(DEMO, tmp_path / "changed")
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"note": "fine-tuned"}))
    assert Longview(settings(app.library.folder, model=str(changed))).is_outdated(indexed)

    entry = app.index(short).entry
    for other in (Provenance("other@1", "1", {}), replace(entry.provenance, prompt_version="0")):
        stale = app.library.put(replace(entry, provenance=other), [])
        assert app.is_outdated(stale)
        assert not app.is_outdated(app.index(short).entry)
    app.remove(entry.video_id)


def test_removal_takes_what_was_made_for_the_video_but_not_the_original(app: Longview, short: Path) -> None:
    entry = app.index(short).entry
    for reference, time_s in ((entry.video_id, 2.0), (entry.video_id[:6], 3.0), (entry.video_id, 1e300), (entry.video_id, -1.0)):
        assert app.media.thumbnail(reference, time_s).stat().st_size > 0
    (app.library.folder / "proxies").mkdir(exist_ok=True)
    (app.library.folder / "proxies" / f"{entry.video_id}.mp4").write_bytes(b"a proxy")
    app.remove(entry.video_id)
    assert contents(app.library.folder / "thumbnails") == contents(app.library.folder / "proxies") == []
    assert short.exists()
    assert entry.video_id not in {moment.video_id for moment in app.search("cyan ring")}
    with pytest.raises(UnknownVideo):
        app.remove(entry.video_id)


def test_a_thumbnail_needs_a_video_of_the_library(app: Longview) -> None:
    for reference in ("no-such-video", "../../etc/passwd", ""):
        with pytest.raises(UnknownVideo):
            app.media.thumbnail(reference, 1.0)


def test_a_video_that_browsers_cannot_play_gets_one_light_copy(app: Longview, original: Path, tmp_path: Path) -> None:
    foreign = render(tmp_path / "foreign.avi", TWICE[:1], 5.0, fps=5, codec="mpeg4")
    entry = app.index(foreign).entry
    assert app.media.browser_copy(entry) is None
    copy = app.media.ensure_browser_copy(entry)
    assert copy == app.media.browser_copy(entry) == app.media.ensure_browser_copy(entry)
    assert copy.is_relative_to(app.library.folder)
    app.remove(entry.video_id)
    assert not copy.exists()
    playable = app.index(original).entry
    assert app.media.ensure_browser_copy(playable) == original


def test_an_upload_is_adopted_once_whatever_it_is_called(tmp_path: Path, original: Path) -> None:
    app = Longview(settings(tmp_path / "home"))
    uploads = app.library.folder / "uploads"
    first = app.media.import_upload(original, "../../My: holiday; rm -rf ~.MP4")
    assert first.parent == uploads and first.suffix == ".mp4"
    assert first.read_bytes() == original.read_bytes()
    assert app.media.import_upload(original, "another name.mp4") == first
    assert contents(uploads) == [first.name]


@pytest.mark.parametrize("content", [b"", b"no video " * 100, b"#EXTM3U\nhttps://evil.example/a.ts\n"])
def test_an_upload_that_is_no_video_is_refused_by_its_own_name_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    app = Longview(settings(tmp_path / "home"))
    upload = tmp_path / "tmp1234.mp4"
    upload.write_bytes(content)
    with pytest.raises(NotAVideo, match="holiday.mp4"):
        app.media.import_upload(upload, "holiday.mp4")
    assert contents(app.library.folder / "uploads") == []


@pytest.mark.parametrize(
    "name", ["", "..", "../..", "a" * 300 + ".mp4", "/etc/passwd", ".hidden", "\0\n", "$(rm -rf ~).mp4", "빨간 원.mp4"]
)
def test_a_safe_name_is_one_plain_short_file_name(name: str) -> None:
    safe = safe_name(name)
    assert safe == Path(safe).name and safe.strip(".")
    assert len(safe.encode()) <= 255
    assert not set(safe) & set("/\\\0\n $();~")


def test_a_file_that_fails_leaves_the_library_as_it_was(
    app: Longview, indexed: VideoEntry, original: Path, tmp_path: Path
) -> None:
    before = app.videos()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(original.read_bytes()[:3000])
    with pytest.raises(NotAVideo):
        app.index(damaged)
    with pytest.raises(ImpossiblePlan):
        app.index(original, start_s=31.0)
    with pytest.raises(ImpossiblePlan):
        app.index(original, start_s=5.0, end_s=2.0)
    with pytest.raises(ImpossiblePlan):
        app.index(original, context_tokens=100)
    with pytest.raises(VideoNotFound):
        app.index(tmp_path / "missing.mp4")
    assert app.videos() == before


def test_a_name_that_is_not_utf8_is_one_clear_error(app: Longview, short: Path) -> None:
    odd = short.rename(Path(os.fsdecode(os.fsencode(short.parent) + b"/caf\xe9.mp4")))
    with pytest.raises(BadRequest, match="UTF-8") as raised:
        app.index(odd)
    str(raised.value).encode()


@pytest.mark.parametrize(
    "use",
    [
        lambda app, entry: app.ask([entry], TOO_LONG),
        lambda app, entry: app.locate(entry, TOO_LONG),
        lambda app, entry: app.search(TOO_LONG),
    ],
    ids=["ask", "locate", "search"],
)
def test_a_question_that_is_too_long_is_refused(
    app: Longview, indexed: VideoEntry, use: Callable[[Longview, VideoEntry], object]
) -> None:
    with pytest.raises(InvalidQuestion, match="at most 2,000"):
        use(app, indexed)


def test_questions_and_searches_need_words(app: Longview) -> None:
    with pytest.raises(InvalidQuestion, match="empty"):
        app.ask([], " ")
    with pytest.raises(BadRequest, match="empty"):
        app.search("  ")


def test_a_question_about_several_videos_is_answered_for_each_under_its_title(
    app: Longview, indexed: VideoEntry, short: Path
) -> None:
    other = app.index(short, title="the other").entry
    asking = app.ask([indexed, other], "What happens at 3 seconds?")
    assert "".join(asking) == f"twice: {TWICE[0].text}\nthe other: A cyan ring moves up."
    assert [item.video_id for item in asking.answer.citations] == [indexed.video_id, other.video_id]
    # What is around the moment, as far as there is video.
    assert asking.answer.coverage.seconds == pytest.approx(7.0 + 5.0, abs=0.3)
    app.remove(other.video_id)


def test_videos_of_one_title_are_told_apart_by_their_ids(app: Longview, indexed: VideoEntry, short: Path) -> None:
    other = app.index(short, title=indexed.title).entry
    told = "".join(app.ask([indexed, other], "What happens at 3 seconds?"))
    assert f"{indexed.title} ({indexed.video_id}): " in told
    assert f"{other.title} ({other.video_id}): " in told
    app.remove(other.video_id)


def test_threads_that_need_the_checkpoint_at_once_load_it_once(
    tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[local.LocalEngine] = []
    load = local.LocalEngine.__init__

    def counting(self: local.LocalEngine, *args: object, **options: object) -> None:
        loaded.append(self)
        load(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(local.LocalEngine, "__init__", counting)
    app = Longview(settings(tmp_path / "home"))
    together = threading.Barrier(3)

    def use() -> None:
        together.wait()
        app.plan(str(original))

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(loaded) == 1


def test_everything_is_known_after_a_restart(app: Longview, indexed: VideoEntry) -> None:
    again = Longview(settings(app.library.folder))
    assert again.video(indexed.video_id) == app.video(indexed.video_id)
    assert again.captions(indexed) == app.captions(indexed)
    assert again.search("green square") == app.search("green square")
    assert again.answers(indexed) == app.answers(indexed)
