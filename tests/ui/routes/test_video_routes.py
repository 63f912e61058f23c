"""The routes of the videos: pages of the library, one video and its changes, and changes of several."""

import base64
import json
from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.core.processes import this_process
from longview.indexing.records.track import Provenance
from tests.support.library_samples import as_captions, put_speech, sample_entry, sample_events, sample_track, spoken
from tests.support.routes import add_job, get, put, titles, video_id

COUNT = 130
STATES = ("running", "waiting", "paused", "failed", "partial", "outdated")


def changed(cursor: str, **changes: object) -> str:
    """Return a cursor with other parts."""
    names = ("mark", "key", "row", "total")
    parts = dict(zip(names, json.loads(base64.urlsafe_b64decode(cursor)), strict=True)) | changes
    return base64.urlsafe_b64encode(json.dumps([parts[name] for name in names]).encode()).decode()


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
        {"cursor": changed(cursor, key="\ud800")},
        {"cursor": changed(cursor, key=5)},
        {"cursor": changed(cursor, row=1 << 70)},
        {"cursor": changed(cursor, total=-1)},
        {"cursor": changed(cursor, total="many")},
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
    for length in (301, 2000):
        refused = client.patch(path, json={"title": "x" * length})
        assert refused.status_code == 400 and "at most 300 are allowed" in refused.json()["detail"]
    assert client.delete(path).json()["removed"] is True
    gone = client.get(path)
    assert gone.status_code == 410 and "“Two” was removed; it can be brought back until" in gone.json()["detail"]
    # A browser would keep it after the video was brought back.
    assert gone.headers["cache-control"] == "no-store"
    assert client.post(f"{path}/undo-removal").json()["position_s"] == 12.5
    results = client.post("/v1/videos/bulk", json={"action": "remove", "video_ids": [video_id(7), video_id(1)]}).json()["results"]
    assert [result["error"] is None for result in results] == [False, True] and client.get(path).status_code == 410
    assert client.get("/v1/videos/0000").status_code == 404


def test_titles_are_sorted_without_case_and_accents_also_once_they_are_changed(app: Longview, client: TestClient) -> None:
    library = app.parts.library
    for number, title in enumerate(("zebra", "Äpfel", "apple", "Zoë", "Éclair", "x" * 200 + "b", "x" * 200 + "a")):
        put(library, number, title)
    expected = ["Äpfel", "apple", "Éclair", "x" * 200 + "b", "x" * 200 + "a", "zebra", "Zoë"]
    assert titles(get(client, "videos", sort="title")) == expected
    client.patch(f"/v1/videos/{video_id(0)}", json={"title": "Ázebra"})
    # Who indexes the file again does not change the title.
    put(library, 1, "another title of the file")
    assert titles(get(client, "videos", sort="title"))[:3] == ["Äpfel", "apple", "Ázebra"]
    # All words of a long title are found, and not those of its beginning only.
    put(library, 9, "long " * 40 + "Ünique")
    assert titles(get(client, "videos", query="unique")) == ["long " * 40 + "Ünique"]


def test_states_list_what_the_cards_say(app: Longview, client: TestClient) -> None:
    library, queue = app.parts.library, app.parts.library.queue
    for number in range(10):
        put(library, number, f"{number}")
    # 0 runs, 1 waits, 2 is paused, 3 has failed, 4 and 5 have speech in part, which a job is to find in 5 and not in 6.
    queue.claim(add_job(library, 0).job_id, this_process())
    add_job(library, 1)
    queue.pause(add_job(library, 2).job_id)
    failed = queue.claim(add_job(library, 3, "speech").job_id, this_process())
    queue.end(failed.job_id, this_process(), "failed", reason="no sound")
    for number in (0, 4, 5, 6):
        library.tracks.begin(video_id(number), sample_track("speech", "incomplete", done_s=0.0))
    add_job(library, 5, "speech")
    add_job(library, 6, "captions")
    library.tracks.replace(video_id(7), sample_track("speech", "failed", note="broken"), ())
    # 8 has captions as this checkpoint makes them now, and 9 none that could be outdated.
    profile = app.checkpoint.profile
    made_now = Provenance(app.checkpoint.identity, profile.version, {}, "", profile.name)
    captions = as_captions(sample_events("a red circle"))
    library.put_captions(video_id(8), replace(sample_track("captions"), provenance=made_now), captions, summary="", chapters=())
    library.put_captions(video_id(9), sample_track("captions", "declined"), (), summary="", chapters=())
    listed = {state: titles(get(client, "videos", state=state)) for state in STATES}
    assert listed == {
        "running": ["0"],
        "waiting": ["1", "5", "6"],
        "paused": ["2"],
        "failed": ["3", "7"],
        "partial": ["4", "6"],
        "outdated": ["0", "3", "4", "5", "7"],
    }
    cards = {video["title"]: {source["state"] for source in video["sources"]} for video in get(client, "videos")["videos"]}
    # While a job runs, the sources that follow wait.
    listed["waiting"].append("0")
    for state, shown in listed.items():
        assert {title for title, states in cards.items() if state in states} == set(shown), state
    outdated = {"state": "outdated", "sort": "title", "descending": True, "limit": 3}
    page = get(client, "videos", **outdated)
    assert titles(page) == ["7", "5", "4"] and page["total"] == 5
    assert titles(get(client, "videos", **outdated, cursor=page["next_cursor"])) == ["3", "0"]


def test_videos_that_were_watched_last_are_first_also_if_their_end_was_seen(app: Longview, client: TestClient) -> None:
    for number in range(4):
        put(app.parts.library, number, f"{number}")
    for number in (2, 0, 3):
        assert client.patch(f"/v1/videos/{video_id(number)}", json={"position_s": 9.5}).json()["watched_at"] > "20"
    page = get(client, "videos", sort="watched", descending=True, limit=2)
    rest = get(client, "videos", sort="watched", descending=True, limit=2, cursor=page["next_cursor"])
    assert titles(page) + titles(rest) == ["3", "0", "2", "1"] and rest["total"] == 4
    seen = client.patch(f"/v1/videos/{video_id(2)}", json={"position_s": 0}).json()
    assert seen["position_s"] == 0 and seen["watched_at"] > "20"
    assert titles(get(client, "videos", sort="watched", descending=True, limit=3)) == ["2", "3", "0"]


def test_jobs_of_several_videos_are_paused_resumed_and_cancelled_at_once(app: Longview, client: TestClient) -> None:
    library = app.parts.library
    for number in (1, 2, 3):
        put(library, number, f"Video {number}")
    jobs = {number: add_job(library, number).job_id for number in (1, 2)}

    def bulk(action: str) -> dict[str, tuple[int | None, bool]]:
        body = {"action": action, "video_ids": [video_id(number) for number in (1, 2, 3, 4)]}
        results = client.post("/v1/videos/bulk", json=body).json()["results"]
        return {result["video_id"]: (result["job_id"], result["error"] is None) for result in results}

    done = {video_id(number): (job_id, True) for number, job_id in jobs.items()}
    none = {video_id(number): (None, False) for number in (3, 4)}
    assert bulk("resume") == {video_id(number): (None, False) for number in (1, 2, 3, 4)}
    assert bulk("pause") == done | none
    assert {job.status for job in library.queue.jobs()} == {"paused"}
    assert bulk("resume") == done | none
    assert {job.status for job in library.queue.jobs()} == {"waiting"}
    assert bulk("cancel") == done | none
    assert {job.status for job in library.queue.jobs()} == {"cancelled"}
    body = {"action": "cancel", "video_ids": [video_id(3)]}
    (result,) = client.post("/v1/videos/bulk", json=body).json()["results"]
    assert result["error"] == "Video 3 is not in the queue."
