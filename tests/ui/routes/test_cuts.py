"""The routes of cuts: the file has the part that was asked for, and nothing is left of what is cancelled or cannot be made."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.app.serving import cuts
from longview.app.serving.cuts import CUTS, delete_expired_cuts
from longview.app.serving.upload_cache import CACHE
from longview.app.serving.workers import Workers
from longview.indexing.records.video import VideoEntry
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.probe import probe
from tests.support.library_samples import put_file, put_speech, sample_entry, spoken
from tests.support.routes import get, video_id

WAIT_S = 60.0
SCENE = "color=black:s=160x96:r=10:d=20,drawbox=w=160:h=96:color=white:t=fill:enable='between(t,8,12)'"
"""20 s of black, but for white from 8 to 12 s, with a key frame every 2 s."""


@pytest.fixture
def entry(app: Longview, tmp_path: Path) -> VideoEntry:
    path = tmp_path / "scene.mp4"
    inputs = ["-f", "lavfi", "-i", SCENE, "-f", "lavfi", "-i", "sine=d=20"]
    options = ["-c:v", "libx264", "-g", "20", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([ffmpeg_path(), "-v", "error", *inputs, *options, str(path)], check=True)
    entry = put_file(app.parts.library, path, 'The "white" half / 1')
    app.parts.library.put(VideoEntry(**vars(entry) | {"duration_s": 20.0, "facts": entry.facts | {"width": 160}}))
    return app.video_with_id(entry.video_id)


def begin(client: TestClient, entry: VideoEntry, start_s: float, end_s: float, *, exact: bool) -> Any:
    body = {"start_s": start_s, "end_s": end_s, "exact": exact}
    reply = client.post(f"/v1/videos/{entry.video_id}/cuts", json=body)
    assert reply.status_code == 202, reply.text
    return reply.json()


def ended(client: TestClient, entry: VideoEntry, cut: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while (document := get(client, f"videos/{entry.video_id}/cuts/{cut['cut_id']}"))["state"] == "running":
        assert time.monotonic() < deadline, document
        time.sleep(0.02)
    return document


def left_files(app: Longview) -> list[Path]:
    return [path for path in (app.folder / CACHE / CUTS).rglob("*") if path.is_file()]


def brightness(path: Path, time_s: float) -> float:
    """Return the brightness of a picture of a file at a time, from 0 to 255."""
    target = path.with_suffix(".png")
    subprocess.run(
        [ffmpeg_path(), "-y", "-v", "error", "-ss", str(time_s), "-i", str(path), "-frames:v", "1", str(target)], check=True
    )
    with Image.open(target) as image:
        return float(image.convert("L").resize((1, 1)).tobytes()[0])


@pytest.mark.parametrize("exact", [True, False])
def test_a_cut_has_the_part_that_was_asked_for(
    app: Longview, client: TestClient, entry: VideoEntry, tmp_path: Path, exact: bool
) -> None:
    cut = ended(client, entry, begin(client, entry, 7.0, 13.0, exact=exact))
    assert (cut["state"], cut["fraction"], cut["reason"]) == ("ready", 1.0, None)
    assert (cut["start_s"], cut["end_s"]) == (7.0 if exact else 6.0, 13.0)
    assert get(client, f"videos/{entry.video_id}/cuts")["cuts"] == [cut]
    reply = client.get(f"/v1/videos/{entry.video_id}/cuts/{cut['cut_id']}/file")
    path = tmp_path / "download.mp4"
    path.write_bytes(reply.content)
    assert len(reply.content) == cut["bytes"] and reply.headers["content-disposition"].startswith("attachment; ")
    assert cut["name"] == f"The white half 1 0.00.0{cut['start_s']:.0f}.0-0.00.13.0.mp4"
    video = probe(path)
    # Behind the end of a copy, there are some frames more.
    assert video.duration_s == pytest.approx(13 - cut["start_s"], abs=0.1 if exact else 0.5) and video.has_audio
    for time_s in (7.5, 8.5, 11.5, 12.5):
        is_white = brightness(path, time_s - cut["start_s"]) > 128
        assert is_white == (8 <= time_s < 12), time_s
    assert client.delete(f"/v1/videos/{entry.video_id}/cuts/{cut['cut_id']}").status_code == 204
    assert left_files(app) == [] and client.get(f"/v1/videos/{entry.video_id}/cuts/{cut['cut_id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"start_s": 5, "end_s": 5},
        {"start_s": 6, "end_s": 5},
        {"start_s": -1, "end_s": 5},
        {"start_s": 20.0, "end_s": 25},
        {"start_s": 5, "end_s": 1e300},
        {"start_s": 5},
        {"start_s": "NaN", "end_s": 5},
        {"start_s": 1, "end_s": 2, "path": "/etc/passwd"},
    ],
)
def test_a_part_that_the_video_does_not_have_is_refused_in_a_sentence(client: TestClient, entry: VideoEntry, body: Any) -> None:
    reply = client.post(f"/v1/videos/{entry.video_id}/cuts", json=body)
    assert reply.status_code in (400, 422) and reply.json()["detail"].endswith(".")
    raw = json.dumps({"start_s": float("nan"), "end_s": 1.0})
    headers = {"Content-Type": "application/json"}
    assert client.post(f"/v1/videos/{entry.video_id}/cuts", content=raw, headers=headers).status_code in (400, 422)


def test_cuts_of_other_videos_and_unknown_ones_are_not_found(app: Longview, client: TestClient, entry: VideoEntry) -> None:
    cut = ended(client, entry, begin(client, entry, 1.0, 2.0, exact=False))
    put_speech(app.parts.library, sample_entry(video_id(1)), [spoken(1.0, "Hello.")])
    for path in (
        f"{video_id(1)}/cuts/{cut['cut_id']}",
        f"{entry.video_id}/cuts/..%2F..%2Flibrary.db",
        f"{entry.video_id}/cuts/x",
    ):
        assert client.get(f"/v1/videos/{path}").status_code == 404
        assert client.get(f"/v1/videos/{path}/file").status_code == 404
        assert client.delete(f"/v1/videos/{path}").status_code == 404
    app.parts.library.put(VideoEntry(**vars(app.video_with_id(video_id(1))) | {"facts": {"width": 0, "height": 0}}))
    reply = client.post(f"/v1/videos/{video_id(1)}/cuts", json={"start_s": 1, "end_s": 2})
    assert reply.status_code == 400 and "sound only" in reply.json()["detail"]
    entry.path.unlink()
    failed = ended(client, entry, begin(client, entry, 1.0, 2.0, exact=True))
    assert failed["state"] == "failed" and "no longer at" in failed["reason"] and failed["name"] is None
    assert client.get(f"/v1/videos/{entry.video_id}/cuts/{failed['cut_id']}/file").status_code == 404


def test_a_cancelled_cut_leaves_no_file_and_few_wait_at_once(
    app: Longview, client: TestClient, workers: Workers, entry: VideoEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Slow enough to be cancelled: hours of one picture.
    still = entry.path.with_name("long.mp4")
    loop = ["-stream_loop", "400", "-i", str(entry.path), "-c", "copy", str(still)]
    subprocess.run([ffmpeg_path(), "-v", "error", *loop], check=True)
    entry = put_file(app.parts.library, still, "Long")
    app.parts.library.put(VideoEntry(**vars(entry) | {"duration_s": 8000.0}))
    monkeypatch.setattr(cuts, "MAX_UNFINISHED", 2)
    first = begin(client, entry, 0.0, 7900.0, exact=True)
    second = begin(client, entry, 0.0, 7900.0, exact=True)
    busy = client.post(f"/v1/videos/{entry.video_id}/cuts", json={"start_s": 0, "end_s": 1})
    assert busy.status_code == 503
    deadline = time.monotonic() + WAIT_S
    while not get(client, f"videos/{entry.video_id}/cuts/{first['cut_id']}")["fraction"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [item["stage"] for item in get(client, "jobs")["preparations"]] == ["Cutting", ""]
    for cut in (first, second):
        assert client.delete(f"/v1/videos/{entry.video_id}/cuts/{cut['cut_id']}").status_code == 204
    while left_files(app):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert get(client, "jobs")["preparations"] == []


def test_a_full_disk_and_a_day_end_cuts(
    app: Longview, client: TestClient, entry: VideoEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = ended(client, entry, begin(client, entry, 1.0, 2.0, exact=False))
    delete_expired_cuts(app.folder)
    assert len(left_files(app)) == 1
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
        reply = client.post(f"/v1/videos/{entry.video_id}/cuts", json={"start_s": 1, "end_s": 2})
        assert reply.status_code == 507 and reply.json()["detail"].startswith("The disk is full")
    with monkeypatch.context() as patched:
        patched.setattr(cuts, "KEPT_S", -10.0)
        delete_expired_cuts(app.folder)
        assert left_files(app) == [] and client.get(f"/v1/videos/{entry.video_id}/cuts/{cut['cut_id']}").status_code == 404
