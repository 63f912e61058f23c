"""Web replies to errors: each has its status and its sentence."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from longview.app.errors import NoSpace
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.errors import LibraryUnusable
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.server import create
from longview.video.errors import TooLarge
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, sample_entry, sample_events

VIDEO = "aaaaaaaaaaaa"


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    app = Longview(demo_settings(tmp_path / "library"))
    put_captions(app.parts.library, sample_entry(VIDEO), sample_events("an event"))
    return app


def client_of(app: Longview) -> TestClient:
    web = create(app, Workers(app, starts=False))
    return TestClient(web, base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"})


@pytest.mark.parametrize(
    ("address", "status", "detail"),
    [
        ("/export/bbbbbbbbbbbb.srt", 404, "There is no video with this id"),
        (f"/export/{VIDEO}.exe", 404, "no format 'exe'"),
        (f"/export/{VIDEO}.srt?source=speech", 404, "has no speech to export"),
        (f"/export/{VIDEO}.srt?version=99", 404, "99"),
        (f"/thumbnail/{VIDEO}/1000.jpg", 404, "index it again from where it is now"),
    ],
    ids=["video", "format", "nothing", "version", "file"],
)
def test_what_is_not_there_is_not_found(app: Longview, address: str, status: int, detail: str) -> None:
    with client_of(app) as client:
        reply = client.get(address)
    assert reply.status_code == status and detail in reply.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(LibraryUnusable("x"), 503), (NoSpace("x"), 507), (TooLarge("x"), 413)],
    ids=["library", "disk", "large"],
)
def test_what_is_the_fault_of_this_machine_is_not_called_missing(
    app: Longview, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(app.parts.library, "video", fail)
    with client_of(app) as client:
        assert client.get(f"/export/{VIDEO}.srt").status_code == status
