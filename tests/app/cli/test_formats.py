"""The registry of export formats: a new one is one module and one row, and a faulty one leaves no file."""

from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.core.timeline import Segment, Span
from longview.indexing.exports import FORMATS, export_segments
from longview.indexing.exports.format import ExportedSegments
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.page_head import page_head
from longview.ui.server import create
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.new_modules.edit_list import FORMAT
from tests.support.shell import Shell


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Longview:
    monkeypatch.setitem(FORMATS, FORMAT.name, FORMAT)
    app = Longview(demo_settings(tmp_path / "library"))
    put_captions(app.parts.library, sample_entry("aaaaaaaaaaaa"), sample_events("an event"))
    return app


def test_a_new_format_is_one_module_and_one_row(app: Longview, tmp_path: Path) -> None:
    entry = app.video("aaaaaaaaaaaa")
    (segment,) = app.segments(entry, "captions")
    text = f"{segment.span.start_s * 1000:.0f} {segment.span.end_s * 1000:.0f}\n"
    shell = Shell(app.parts.library.folder)
    assert shell.call("export", entry.video_id, "--format", "edl")["content"] == text
    # Its suffix is that of its files; a file of another kind is not overwritten.
    target = tmp_path / "cuts.cuts"
    for _ in range(2):
        shell.call("export", entry.video_id, "--format", "edl", "-o", str(target))
    assert target.read_text() == text
    shell.call("export", entry.video_id, "--format", "srt", "-o", str(target), code=1)
    folder = tmp_path / "folder"
    folder.mkdir()
    shell.call("export", entry.video_id, "--format", "edl", "-o", str(folder))
    assert [path.suffix for path in folder.iterdir()] == [".cuts"]
    # It holds one source at most, which the registry knows.
    others = [Segment(Span(1.0, 2.0), "Hello.", "speech"), segment]
    with pytest.raises(Exception, match="EDL cannot distinguish several sources"):
        export_segments("edl", entry, others)
    # The page offers it, and its server sends it as what it is.
    address = f"/export/{entry.video_id}.edl?source=captions"
    assert f'<meta name="longview-formats" content="{" ".join(FORMATS)}">' in page_head("/watch")
    workers = Workers(app, starts=False)
    with TestClient(create(app, workers), base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"}) as client:
        reply = client.get(address)
    assert (reply.status_code, reply.text) == (200, text) and reply.headers["content-type"].startswith("text/x-edit-list")


def test_a_format_that_fails_half_way_leaves_no_file(app: Longview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(exported: ExportedSegments) -> str:
        return str([item.words[0] for item in exported.segments])

    monkeypatch.setitem(FORMATS, FORMAT.name, replace(FORMAT, write=write))
    target = tmp_path / "cuts.cuts"
    target.write_text("as it was")
    error = Shell(app.parts.library.folder).call("export", "aaaaaaaaaaaa", "--format", "edl", "-o", str(target), code=1)["error"]
    assert "The format EDL has a fault (IndexError" in error["message"]
    assert target.read_text() == "as it was" and [path.name for path in tmp_path.iterdir()] == ["library", "cuts.cuts"]
