"""The registry of sources: a new one is one module and one row, and a faulty one costs its own track only."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longview.app.ingest import sources
from longview.app.ingest.options import IndexOptions
from longview.app.jobs import monitor
from longview.app.jobs.source_states import source_states
from longview.app.qa.example_questions import examples_for
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.core.progress import Progress
from longview.core.sources import SOURCES, SourceTraits
from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from tests.support import new_modules
from tests.support.app_samples import demo_settings
from tests.support.new_modules.music import FOUND
from tests.support.shell import Shell

MUSIC = SourceTraits("music", "other", "piece", "no music")
CHOICE = IndexOptions(sources=("subtitles", "music"))


@pytest.fixture
def music(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """The row and the module of a new source, which runs first; nothing else tells the program of it."""
    others = dict(SOURCES)
    SOURCES.clear()
    SOURCES.update({"music": MUSIC, **others})
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, *new_modules.__path__])
    source_class = sources.source_class("music")
    assert isinstance(source_class, type)
    yield source_class
    del SOURCES["music"]


@pytest.fixture
def app(tmp_path: Path, music: type) -> Longview:
    return Longview(demo_settings(tmp_path / "library"))


@pytest.fixture
def entry(app: Longview, short_path: Path) -> VideoEntry:
    return app.index(short_path, CHOICE).result().entry


def test_the_row_of_each_source_has_its_module() -> None:
    assert [sources.source_class(name).name for name in SOURCES] == list(SOURCES)  # type: ignore[attr-defined]


def test_a_new_modules_is_one_module_and_one_row(app: Longview, entry: VideoEntry, short_path: Path) -> None:
    shell = Shell(app.parts.library.folder)
    # It is planned, run, and kept the second time.
    assert [row["action"] for row in shell.call("plan", str(short_path))["sources"] if row["source"] == "music"] == ["keep"]
    result = app.index(short_path, CHOICE).result()
    assert [(report.source, report.status, report.segments) for report in result.reports] == [
        ("music", "up_to_date", 2),
        ("subtitles", "declined", 0),
    ]
    # It is stored, listed and checked.
    assert [(item.text, item.span) for item in app.segments(entry, "music")] == [(item.text, item.span) for item in FOUND]
    assert {"source": "music", "segments": 2}.items() <= shell.call("info", entry.video_id)["tracks"][0].items()
    assert shell.call("check")["findings"] == []
    assert shell.call("doctor")["segments"]["music"] == 2
    # It is searched, quoted and cited.
    (moment, *_) = shell.call("search", "accordion")["moments"]
    assert (moment["start_s"], moment["source"]) == (1.0, "music")
    answer = shell.call("ask", entry.video_id, "When is an accordion mentioned?")
    assert answer["found"] is True and "A slow waltz of an accordion." in answer["answer"]
    assert [(citation["source"], citation["start_s"]) for citation in answer["citations"]] == [("music", 1.0)]
    # It counts as looked for where something is absent, and suggests no question about what is said or shown.
    assert "looked for music in 0:0" in shell.call("ask", entry.video_id, "When is a trumpet mentioned?")["answer"]
    assert examples_for(entry.duration_s, {"music": FOUND}).questions == ("What is it about?",)
    # It is exported, and shown on the page.
    assert "00:00:01,000 --> 00:00:02,500\nA slow waltz of an accordion." in app.export(entry, "srt", ["music"])
    assert "A drum roll." in shell.call("export", entry.video_id, "--format", "txt", "--source", "music")["content"]
    states = {state.source: state.state for state in source_states(entry, None, is_outdated=False)}
    assert states["music"] == "current"


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        (lambda _self, _progress: [][0], "The source music has a fault"),
        (lambda _self, _progress: [Segment(Span(4.0, 65.0), "A choir.", "music")], "outside of the video"),
    ],
    ids=["raises", "outside"],
)
def test_a_faulty_source_fails_and_the_others_run(
    app: Longview,
    music: type,
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listen: Callable[[object, Progress], list[Segment]],
    reason: str,
) -> None:
    monkeypatch.setattr(music, "listen", listen)
    result = app.index(short_path, IndexOptions(sources=("music", "captions"))).result()
    reports = {report.source: report for report in result.reports}
    assert reports["music"].status == "failed" and reason in reports["music"].reason
    assert reports["captions"].status == "indexed"
    assert app.segments(result.entry, "music") == ()
    # The next run makes up for it.
    monkeypatch.setattr(music, "listen", lambda _self, _progress: FOUND)
    assert app.index(short_path, CHOICE).result().report("music").segments == 2  # type: ignore[union-attr]


def test_a_source_that_ignores_its_cancellation_is_named_and_holds_up_nothing(
    app: Longview, music: type, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(_self: object, _progress: Progress) -> list[Segment]:
        while not is_over:
            time.sleep(0.01)
        return FOUND

    is_over: list[bool] = []
    monkeypatch.setattr(music, "listen", listen)
    monkeypatch.setattr(monitor, "LATE_S", 0.1)
    workers = Workers(app)
    try:
        job = workers.add(short_path, CHOICE, title="short")
        _wait(lambda: workers.job(job.job_id).stage == "Listening to music")
        workers.change(job.job_id, "cancel")
        _wait(lambda: workers.job(job.job_id).stage == "Waiting for the end of “Listening to music”")
        assert app.videos() == () or app.search("accordion").result().moments == ()
        started = time.monotonic()
        workers.close(wait_s=0.1)
        assert time.monotonic() - started < 5
    finally:
        is_over.append(True)
        workers.close(wait_s=30)
    _wait(lambda: workers.job(job.job_id).status == "cancelled")


def _wait(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
