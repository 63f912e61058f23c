"""The routes of waveforms: made at the first look, kept with the video, cancelled, and refused in a sentence."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from longview.app.files.disk_usage import video_bytes
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.core.progress import Progress
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.events import EventFeed
from tests.support.library_samples import put_file
from tests.support.routes import get, put, video_id
from tests.video.test_waveform import clicks

WAIT_S = 60.0


@pytest.fixture
def entry(app: Longview, tmp_path: Path) -> VideoEntry:
    return put_file(app.parts.library, clicks(tmp_path), "Clicks")


def wait_for(client: TestClient, entry: VideoEntry, state: str, **parameters: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while (facts := get(client, f"videos/{entry.video_id}/waveform.json", **parameters))["state"] != state:
        assert time.monotonic() < deadline, facts
        time.sleep(0.02)
    return facts


def test_a_waveform_is_made_at_the_first_look_and_belongs_to_the_video(
    app: Longview, workers: Workers, client: TestClient, entry: VideoEntry
) -> None:
    path = f"/v1/videos/{entry.video_id}/waveform.bin"
    assert client.get(path).status_code == 404
    feed = EventFeed(app, workers)
    feed.after(0)
    facts = wait_for(client, entry, "ready")
    peaks = client.get(path).content
    assert [number for number, peak in enumerate(peaks) if peak] == [10, 24, 40]
    assert facts["count"] == len(peaks) and facts["peaks_per_s"] == 20 and facts["reason"] is None and facts["fraction"] == 1
    deadline = time.monotonic() + WAIT_S
    while not any(event.data.get("ids") == [entry.video_id] for event in feed.after(0)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    library = app.parts.library
    assert video_bytes(library, [entry])[entry.video_id].caches == len(peaks)
    # Another server finds it again.
    again = Workers(app, starts=False)
    assert app.pictures.waveform(entry) is not None and again.waveforms.unfinished() == ()
    again.close()
    app.remove(entry)
    assert not list(library.folder.rglob("*waveform*")) and client.get(path).status_code == 410


def test_a_cancelled_waveform_is_made_only_if_somebody_asks_again(
    app: Longview, client: TestClient, workers: Workers, entry: VideoEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()
    probe = app.parts.media.probe

    def slow_probe(entry: VideoEntry, progress: Progress) -> object:
        started.set()
        while True:
            progress.raise_if_cancelled()
            time.sleep(0.01)

    monkeypatch.setattr(app.parts.media, "probe", slow_probe)
    assert get(client, f"videos/{entry.video_id}/waveform.json")["state"] == "running" and started.wait(WAIT_S)
    (shown,) = get(client, "jobs")["preparations"]
    assert shown["video_id"] == entry.video_id and shown["action"].endswith("Clicks")
    assert client.delete(f"/v1/videos/{entry.video_id}/waveform").status_code == 204
    facts = wait_for(client, entry, "failed")
    assert facts["reason"] == "It was cancelled."
    monkeypatch.setattr(app.parts.media, "probe", probe)
    assert get(client, f"videos/{entry.video_id}/waveform.json")["state"] == "failed"
    assert wait_for(client, entry, "ready", again=True)["count"] == 60


def test_videos_without_sound_or_file_say_so(app: Longview, client: TestClient, entry: VideoEntry) -> None:
    silent = put(app.parts.library, 1, "Silent")
    app.parts.library.put(VideoEntry(**vars(silent) | {"facts": {"has_audio": False}, "tracks": ()}))
    facts = get(client, f"videos/{video_id(1)}/waveform.json")
    assert (facts["state"], facts["count"]) == ("none", 0)
    entry.path.unlink()
    facts = wait_for(client, entry, "failed")
    assert "no longer at" in facts["reason"]
    for hostile in ("..%2F..%2Fetc", "x" * 500, entry.video_id[:4], "0" * 12, "%00"):
        for name in ("waveform.json", "waveform.bin"):
            reply = client.get(f"/v1/videos/{hostile}/{name}")
            assert reply.status_code in (404, 422)
        assert client.delete(f"/v1/videos/{hostile}/waveform").status_code in (404, 422)
