"""The data routes: pages of the library, one video and its changes, what was found in it, its pictures, and the event stream."""

import json
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.routes import events
from longview.ui.routes.events import EventFeed
from longview.ui.server import create
from longview.video.ffmpeg import ffmpeg_path
from tests.support.app_samples import demo_settings
from tests.support.library_samples import put_captions, put_speech, sample_entry, sample_events, spoken

COUNT = 130


def video_id(number: int) -> str:
    return f"{number:012x}"


def put(library: Library, number: int, title: str) -> VideoEntry:
    return put_captions(library, sample_entry(video_id(number), title), sample_events("a red circle"))


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    return Longview(demo_settings(tmp_path / "library"))


@pytest.fixture
def workers(app: Longview) -> Iterator[Workers]:
    workers = Workers(app, starts=False)
    yield workers
    workers.close()


@pytest.fixture
def client(app: Longview, workers: Workers) -> Iterator[TestClient]:
    web: FastAPI = create(app, workers)  # type: ignore[assignment]
    with TestClient(web, base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"}) as client:
        yield client


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    reply = client.get(f"/v1/{path}", params=parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def titles(page: Any) -> list[str]:
    return [video["title"] for video in page["videos"]]


def test_pages_leave_out_and_repeat_no_video_although_others_come_and_go(app: Longview, client: TestClient) -> None:
    library = app.parts.library
    for number in range(COUNT):
        put(library, number, f"Video {number:03}")
    page = get(client, "videos", sort="title", limit=50)
    seen = titles(page)
    assert page["total"] == COUNT
    # One before and one behind the end of the page.
    app.remove(app.video_with_id(video_id(3)))
    app.remove(app.video_with_id(video_id(90)))
    put(library, 500, "Video 010 b")
    put(library, 501, "Video 099 b")
    while page["next_cursor"]:
        page = get(client, "videos", sort="title", limit=50, cursor=page["next_cursor"])
        seen += titles(page)
    expected = {f"Video {number:03}" for number in range(COUNT) if number != 90} | {"Video 099 b"}
    assert len(seen) == len(set(seen)) and set(seen) == expected and seen == sorted(seen)
    assert titles(get(client, "videos", sort="title", descending=True, limit=1)) == ["Video 129"]


def test_filters_find_titles_sources_and_missing_files_and_a_cursor_belongs_to_its_list(
    app: Longview, client: TestClient, tmp_path: Path
) -> None:
    library = app.parts.library
    put(library, 1, "Grüße aus Köln")
    put(library, 2, "The town meeting")
    put_speech(library, sample_entry(video_id(2), "The town meeting"), [spoken(1.0, "Hello.")])
    here = tmp_path / "here.mp4"
    here.write_bytes(b"x")
    library.set_path(video_id(2), here)
    for query in ("GRUSSE koln", "köln gru", "  AUS "):
        assert titles(get(client, "videos", query=query)) == ["Grüße aus Köln"]
    assert titles(get(client, "videos", query="koln meeting")) == []
    assert titles(get(client, "videos", source="speech")) == ["The town meeting"]
    assert titles(get(client, "videos", missing=True)) == ["Grüße aus Köln"]
    cursor = get(client, "videos", limit=1)["next_cursor"]
    for parameters in (
        {"cursor": cursor, "sort": "title"},
        {"cursor": cursor, "query": "x"},
        {"cursor": "bm9uZQ=="},
        {"cursor": "é"},
    ):
        reply = client.get("/v1/videos", params=parameters)
        assert reply.status_code == 400 and "begin with the first page" in reply.json()["detail"]
    for name, value in (("limit", "0"), ("limit", "1e9"), ("sort", "x"), ("state", "x"), ("nothing", "1"), ("query", "x" * 300)):
        assert client.get("/v1/videos", params={name: value}).status_code == 422


def test_a_video_is_renamed_removed_and_brought_back_and_what_is_known_is_not_sent_again(
    app: Longview, client: TestClient
) -> None:
    put(app.parts.library, 1, "One")
    path = f"/v1/videos/{video_id(1)}"
    reply = client.get(path)
    states = {state["source"]: state["state"] for state in reply.json()["sources"]}
    assert states["captions"] in ("current", "outdated") and states["speech"] == "not_yet"
    assert client.get(path, headers={"If-None-Match": reply.headers["etag"]}).status_code == 304
    assert client.patch(path, json={"title": "Two", "position_s": 12.5}).json()["position_s"] == 12.5
    assert client.get(path, headers={"If-None-Match": reply.headers["etag"]}).json()["title"] == "Two"
    for change in ({"position_s": -1}, {"title": ""}, {"titel": "x"}, {"position_s": "NaN"}):
        assert client.patch(path, json=change).status_code in (400, 422)
    assert client.delete(path).json()["removed"] is True
    gone = client.get(path)
    assert gone.status_code == 410 and "“Two” was removed; it can be brought back until" in gone.json()["detail"]
    assert client.post(f"{path}/undo-removal").json()["position_s"] == 12.5
    results = client.post("/v1/videos/bulk", json={"action": "remove", "video_ids": [video_id(7), video_id(1)]}).json()["results"]
    assert [result["error"] is None for result in results] == [False, True] and client.get(path).status_code == 410
    assert client.get("/v1/videos/0000").status_code == 404


def test_segments_are_listed_by_their_time_in_pages(app: Longview, client: TestClient) -> None:
    lines = [spoken(10.0 * number, f"Line {number}.") for number in range(9)]
    put_speech(app.parts.library, sample_entry(video_id(1)), lines)
    path = f"videos/{video_id(1)}/segments"
    page = get(client, path, from_s=20.1, to_s=41)
    assert [segment["text"] for segment in page["segments"]] == ["Line 2.", "Line 3.", "Line 4."]
    first = get(client, path, source="speech", limit=5)
    rest = get(client, path, source="speech", limit=5, offset=first["next_offset"])
    assert len(first["segments"]) == 5 and len(rest["segments"]) == 4 and rest["next_offset"] is None
    assert get(client, f"videos/{video_id(1)}/chapters")["video_id"] == video_id(1)
    for value in ("NaN", "inf", "-1", "9" * 400):
        assert client.get(f"/v1/{path}", params={"from_s": value}).status_code == 422


def test_a_poster_is_not_black_and_small_pictures_are_where_their_times_say(
    app: Longview, client: TestClient, tmp_path: Path
) -> None:
    video = tmp_path / "dark start.mp4"
    # Black for 4 s; then 4 s with a white half on the right.
    scene = "color=black:s=160x96:r=10:d=8,drawbox=x=80:w=80:h=96:color=white:t=fill:enable='gte(t,4)'"
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", scene, "-g", "10", "-pix_fmt", "yuv420p", str(video)]
    subprocess.run(command, check=True)
    entry = app.index(video).result().entry
    with Image.open(BytesIO(client.get(f"/v1/videos/{entry.video_id}/poster.jpg").content)) as poster:
        assert max(poster.convert("L").tobytes()) > 200
    facts = get(client, f"videos/{entry.video_id}/sprite.json")
    with Image.open(BytesIO(client.get(f"/v1/videos/{entry.video_id}/sprite.jpg").content)) as sprite:
        grey = sprite.convert("L")
        assert sprite.width == facts["columns"] * facts["width"] and len(facts["times_s"]) >= 6
        for number, time_s in enumerate(facts["times_s"]):
            column, row = number % facts["columns"], number // facts["columns"]
            pixel = grey.getpixel((int((column + 0.75) * facts["width"]), int((row + 0.5) * facts["height"])))
            assert isinstance(pixel, int) and (pixel > 128) == (time_s >= 4)
    put_speech(app.parts.library, sample_entry(video_id(1)), [spoken(1.0, "Hello.")])
    assert client.get(f"/v1/videos/{video_id(1)}/poster.jpg").status_code == 404


def test_events_name_what_any_process_has_changed_and_a_page_resumes_behind_the_last_one(
    app: Longview, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LIBRARY_POLL_S", 0.0)
    monkeypatch.setattr(events, "POLL_S", 0.0)
    put(app.parts.library, 1, "One")
    feed = EventFeed(app, workers)
    assert feed.after(0) == []
    # Another process has a library object of its own.
    other = Library(app.folder)
    other.rename(video_id(1), "Two")
    (renamed,) = feed.after(0)
    assert (renamed.name, renamed.data) == ("videos", {"ids": [video_id(1)]})
    app.remove(app.video_with_id(video_id(1)))
    other.queue.add(tmp_path / "a.mp4", title="a", options={}, settings={}, priority=0)
    time.sleep(0.3)
    later = feed.after(renamed.number)
    assert {event.name for event in later} == {"videos", "jobs"}
    (job,) = next(event for event in later if event.name == "jobs").data["jobs"]
    assert job["title"] == "a" and json.dumps(job)
    assert feed.after(later[-1].number) == []
    assert feed.position(feed.event_id(renamed.number)) == renamed.number
    for unknown in ("", "x", "0000-1", feed.event_id(10**9), feed.event_id(1) + "é", "-" * 200):
        assert feed.position(unknown) is None
    # A new page gets what it may have missed while it was loaded.
    assert feed.first_position() < renamed.number
