"""The browser interface, over HTTP and its API, against a real server process and the real checkpoint."""

import json
import os
import re
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pysubs2
import pytest
from gradio_client import Client, handle_file

from longview.core.time_text import parse_time
from longview.core.timeline import Span
from longview.video.synthetic import render
from tests.support.page_servers import EVENTS, Server, free_port
from tests.support.shell import Shell
from tests.support.warm_process import run_script


def video_ids(shell: Shell) -> list[str]:
    """Return the ids that the command line lists while the server runs."""
    return [row["video_id"] for row in shell.json("list")["videos"]]


def test_open_video_has_its_questions_and_its_document_the_rest(server: Server, client: Client, video_id: str) -> None:
    assert "What happens at 0:05?" in str(client.predict(video_id, api_name="/open"))
    document = json.loads(server.get(f"/v1/videos/{video_id}")[1])
    assert document["facts"]["fps"] > 0 and document["tracks"][0]["segments"] == len(EVENTS)
    segments = json.loads(server.get(f"/v1/videos/{video_id}/segments?source=captions")[1])["segments"]
    assert [segment["text"] for segment in segments] == [event.text for event in EVENTS]
    assert [segment["start_s"] for segment in segments] == pytest.approx([event.start_s for event in EVENTS], abs=1)
    assert json.loads(server.get(f"/v1/videos/{video_id}/media")[1])["state"] == "ready"


def test_answer_has_links_to_times_and_survives_a_reload(client: Client, video_id: str) -> None:
    *_, messages = client.predict(video_id, "When does the yellow star appear?", api_name="/ask")
    text = as_text(messages[-1])
    link_s = float(re.findall(r"\(#t=([\d.]+)[,)]", text)[0])
    assert link_s == pytest.approx(EVENTS[1].start_s, abs=0.5)
    *_, messages = client.predict(video_id, "What happens at 0:25?", api_name="/ask")
    assert "A blue square moves to the left" in as_text(messages[-1])
    *_, messages_after_reload = client.predict(video_id, api_name="/open")
    assert [as_text(message) for message in messages_after_reload] == [as_text(message) for message in messages]


def test_answers_find_every_event_and_no_absent_one(client: Client, video_id: str) -> None:
    for event in EVENTS:
        *_, messages = client.predict(video_id, f"When does the {event.color} {event.shape} appear?", api_name="/ask")
        ((start, end),) = re.findall(r"From (\S+) to (\S+)\]", as_text(messages[-1]))
        assert Span(parse_time(start), parse_time(end)).iou(event.event.span) >= 0.8
    *_, messages = client.predict(video_id, "When does the white ring appear?", api_name="/ask")
    assert as_text(messages[-1]).startswith("Not in this video")
    assert "#t=" not in as_text(messages[-1])


def test_an_answer_that_is_cleared_while_it_is_generated_does_not_come_back(client: Client, video_id: str) -> None:
    job = client.submit(video_id, "What happens between 2 and 28.5 seconds?", api_name="/ask")
    while not job.outputs():
        time.sleep(0.01)
    client.predict(video_id, api_name="/clear")
    job.result(timeout=60)
    # The page keeps what it received last.
    assert "Stopped." not in str(job.outputs())
    *_, messages = client.predict(video_id, api_name="/open")
    assert messages == []


def test_cleared_conversation_can_be_brought_back(client: Client, video_id: str) -> None:
    client.predict(video_id, api_name="/clear")
    client.predict(video_id, "When does the yellow star appear?", api_name="/ask")
    *_, messages = client.predict(video_id, api_name="/clear")
    assert messages == []
    *_, messages = client.predict(video_id, api_name="/open")
    assert messages == []
    *_, messages = client.predict(video_id, api_name="/undo_clear")
    assert as_text(messages[0]) == "When does the yellow star appear?"
    # What was cleared before that comes back before it.
    *_, all_messages = client.predict(video_id, api_name="/undo_clear")
    assert all_messages[-len(messages) :] == messages
    messages = all_messages
    *_, messages_after_reload = client.predict(video_id, api_name="/open")
    assert messages_after_reload == messages


def as_text(message: Any) -> str:
    """Return the text of a chat message."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_library_answer_has_cards_of_its_citations(client: Client, video_id: str) -> None:
    _, answer, cards, _ = client.predict("When does the yellow star appear?", api_name="/ask_library")
    text = answer if isinstance(answer, str) else answer["value"]
    times = re.search(r"From (\S+) to (\S+)\.$", text)
    assert times and Span(parse_time(times[1]), parse_time(times[2])).iou(EVENTS[1].event.span) > 0.8
    assert f'href="/watch?video={video_id}&amp;t=' in cards and "<b>events" not in cards
    *_, cards, _ = client.predict("When does the xylophone quartet perform?", api_name="/ask_library")
    assert "/watch?video=" not in cards


def test_error_about_a_question_is_in_the_chat(client: Client, video_id: str) -> None:
    *_, messages = client.predict(video_id, "What happens at 7:00?", api_name="/ask")
    assert "only 0:00:30.0 long" in as_text(messages[-1])


def test_search_shows_the_right_moment_and_its_thumbnail(server: Server, client: Client, video_id: str) -> None:
    cards = client.predict("노란 별", api_name="/search")
    first = cards.split("<a ")[1]
    assert EVENTS[1].text in first
    assert f"/watch?video={video_id}" in first
    thumbnail = re.search(r'src="(/thumbnail/[^"]+)"', first)
    assert thumbnail
    status, body, headers = server.get(thumbnail[1])
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8")


def test_media_supports_ranges_and_exports_downloads(server: Server, video_id: str, video: Path) -> None:
    status, body, headers = server.get(f"/media/{video_id}", Range="bytes=100-199")
    assert status == 206
    assert body == video.read_bytes()[100:200]
    assert headers["content-type"] == "video/mp4"
    for format in ("srt", "vtt"):
        status, body, headers = server.get(f"/export/{video_id}.{format}")
        assert status == 200
        assert headers["content-disposition"].startswith(f'attachment; filename="b.captions.{format}"; filename*=')
        assert body == server.get(f"/export/{video_id}.{format}?source=captions")[1]
        lines = pysubs2.SSAFile.from_string(body.decode(), format)
        assert [line.plaintext for line in lines] == [event.text for event in EVENTS]
        for line, event in zip(lines, EVENTS, strict=True):
            assert Span(line.start / 1000, line.end / 1000).iou(event.event.span) > 0.7


@pytest.mark.parametrize(
    "path",
    [
        "/media/ffff",
        "/media/..%2f..%2fetc%2fpasswd",
        "/export/ffff.srt",
        "/export/VIDEO.srt?source=speech",
        "/export/VIDEO.docx",
        "/thumbnail/ffff/0.jpg",
        "/gradio_api/file=/etc/passwd",
    ],
)
def test_nothing_but_the_library_is_served(server: Server, video_id: str, path: str) -> None:
    assert server.get(path.replace("VIDEO", video_id))[0] in (403, 404)


def test_other_sites_cannot_reach_the_server_by_their_name(server: Server) -> None:
    assert server.get("/", Host="attacker.example")[0] == 400


def test_pages_of_other_sites_cannot_send_anything(server: Server) -> None:
    assert server.post("/gradio_api/upload", b"x", Origin="http://evil.example")[0] == 403


def post_json(server: Server, path: str, document: Any) -> tuple[int, str]:
    """Return status and text of a POST request with a JSON document."""
    status, body, _ = server.post(path, json.dumps(document).encode(), **{"Content-Type": "application/json"})
    return status, body.decode()


def forged_file(path: Any) -> dict[str, Any]:
    """Return the description of a file that the client did not upload."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, "url": None, "orig_name": "a.mp4"}


def test_no_endpoint_reads_a_file_that_was_not_uploaded(server: Server, client: Client, shell: Shell, video_id: str) -> None:
    functions = client.config["dependencies"]
    assert {"upload", "index", "open", "ask", "search"} <= {function["api_name"] for function in functions}
    cached_files = sorted((server.library / "cache").rglob("*"))
    for function in functions:
        for value in (forged_file("/etc/hostname"), {"value": [forged_file("/etc/hostname")]}):
            data = [value] * max(1, len(function["inputs"]))
            request = {"data": data, "fn_index": function["id"], "session_hash": "forged"}
            routes = ["queue/join", "run/predict", "api/predict"]
            if name := function["api_name"]:
                routes += [f"call/{name}", f"call/v2/{name}", f"run/{name}"]
            for route in routes:
                assert post_json(server, f"/gradio_api/{route}", request)[0] == 403, (function["api_name"], route)
    assert sorted((server.library / "cache").rglob("*")) == cached_files
    assert video_ids(shell) == [video_id]


def upload(server: Server, content: bytes) -> str:
    """Store a file by the upload route, and return its path on the server."""
    body = b'--limit\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n' + content + b"\r\n--limit--\r\n"
    status, reply, _ = server.post("/gradio_api/upload", body, **{"Content-Type": "multipart/form-data; boundary=limit"})
    assert status == 200
    (path,) = json.loads(reply)
    return str(path)


@pytest.mark.parametrize(
    "path",
    [
        "LIBRARY/library.db",
        "LIBRARY/cache",
        "LIBRARY/cache/by-hand.mp4",
        "UPLOADED/../../../library.db",
        "https://example.org/a.mp4",
        "http://example.org/a.mp4?x/../../../../../../../../../../..UPLOADED",
        "http://example.org/a.mp4#/../../../../../../../../../../..UPLOADED",
        "~/../../../../../../../../..UPLOADED",
        ["UPLOADED"],
        {},
        3,
        "\0",
    ],
)
def test_only_what_the_upload_route_stored_is_an_upload(server: Server, path: Any) -> None:
    (server.library / "cache").mkdir(exist_ok=True)
    (server.library / "cache" / "by-hand.mp4").write_bytes(b"not an upload")
    stored = upload(server, b"an upload")
    if isinstance(path, str):
        path = path.replace("LIBRARY", str(server.library)).replace("UPLOADED", stored)
    for is_stream in (False, True):
        description = forged_file(path) | {"is_stream": is_stream}
        assert post_json(server, "/gradio_api/call/upload", {"data": [[description]]})[0] == 403
    assert post_json(server, "/gradio_api/call/upload", {"data": [[forged_file(stored)], False]})[0] == 200


def test_only_index_reads_a_path_that_is_given_as_text(server: Server, client: Client, video_id: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"a private file")
    for name, data in (
        ("remove", [str(secret), None]),
        ("open", [str(secret)]),
        ("ask", [str(secret), "What?"]),
        ("clear", [str(secret)]),
    ):
        with suppress(Exception):
            client.predict(*data, api_name=f"/{name}")
    with sqlite3.connect(server.library / "library.db") as db:
        assert db.execute("SELECT count(*) FROM known_files WHERE path = ?", (str(secret),)).fetchone() == (0,)


@pytest.mark.parametrize("path", ["/gradio_api/runs", "/monitoring", "/monitoring/summary", "/gradio_api/monitoring/summary"])
def test_history_and_monitoring_of_gradio_are_off(server: Server, path: str) -> None:
    assert server.get(path)[0] in (403, 404)


def test_number_of_waiting_requests_is_bounded(server: Server, client: Client, video_id: str) -> None:
    ask = next(function["id"] for function in client.config["dependencies"] if function["api_name"] == "ask")
    question = {"data": [video_id, "What happens at 0:05?"], "fn_index": ask, "session_hash": "idle"}
    responses = [post_json(server, "/gradio_api/queue/join", question) for _ in range(300)]
    assert {status for status, _ in responses} == {200, 503}
    assert any("full" in text for _, text in responses)
    # A full queue does not keep users from loading the page, or from freeing the model.
    unqueued = {function["api_name"] for function in client.config["dependencies"] if not function["queue"]}
    assert {"open", "clear"} <= unqueued
    assert post_json(server, "/gradio_api/run/open", {"data": [video_id], "session_hash": "other"})[0] == 200
    # The tests after this one must not find the queue full: clearing ends the answers, and those who follow them.
    assert post_json(server, "/gradio_api/run/clear", {"data": [video_id], "session_hash": "other"})[0] == 200
    deadline = time.monotonic() + 60
    while post_json(server, "/gradio_api/queue/join", question)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert post_json(server, "/gradio_api/run/clear", {"data": [video_id], "session_hash": "other"})[0] == 200


def test_body_that_is_no_json_or_too_large_is_refused(server: Server) -> None:
    assert post_json(server, "/gradio_api/queue/join", "x" * (2 << 20))[0] == 413
    assert server.post("/gradio_api/queue/join", b"{" * 5000)[0] == 400
    assert post_json(server, "/v1/jobs", {"path": "x" * (2 << 20)})[0] == 413
    # Only the own routes of uploads take more; other addresses below them are not there.
    for path in ("/gradio_api/upload/", "/gradio_api/upload/x", "/v1/uploads/x/y/z"):
        assert post_json(server, path, {})[0] == 404


def test_unplayable_upload_is_stored_and_gets_a_browser_copy(
    server: Server, client: Client, shell: Shell, video_id: str, tmp_path: Path
) -> None:
    source = render(tmp_path / "clip.avi", EVENTS[:1], 10.0, codec="mpeg4")
    _, result, uploaded_id = client.predict([handle_file(str(source))], api_name="/upload")
    assert "done" in result
    row = next(row for row in shell.json("list")["videos"] if row["title"] == "clip")
    assert uploaded_id == row["video_id"]
    assert Path(row["path"]).parent == server.library / "uploads"
    assert Path(row["path"]).read_bytes() == source.read_bytes()
    assert json.loads(server.get(f"/v1/videos/{row['video_id']}/media")[1])["state"] == "preparing"
    deadline = time.monotonic() + 60
    while server.get(f"/media/{row['video_id']}")[0] != 200:
        assert time.monotonic() < deadline, "there is no browser copy"
        time.sleep(0.5)
    copy = server.library / "proxies" / f"{row['video_id']}.mp4"
    os.utime(copy, (1, 1))
    headers = [server.get(f"/media/{row['video_id']}")[2] for _ in range(2)]
    assert headers[0]["content-type"] == "video/mp4"
    # Its use is noted, and a player continues with the same file.
    assert time.time() - copy.stat().st_mtime < 60 and headers[0]["etag"] == headers[1]["etag"]
    os.utime(copy, (1, 1))
    assert server.get(f"/media/{row['video_id']}", **{"Range": "bytes=100-199", "If-Range": headers[0]["etag"]})[0] == 206
    client.predict(row["video_id"], api_name="/remove")
    assert video_ids(shell) == [video_id]


def test_upload_that_is_no_video_is_refused_with_a_reason(
    server: Server, client: Client, shell: Shell, video_id: str, tmp_path: Path
) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video " * 100)
    with pytest.raises(Exception, match=r"not a video that can be opened"):
        client.predict([handle_file(str(fake))], api_name="/upload")
    with pytest.raises(Exception, match=r"no file at"):
        client.predict(str(tmp_path / "missing.mp4"), api_name="/index")
    assert video_ids(shell) == [video_id]
    assert not [path for path in (server.library / "uploads").glob("*") if "fake" in path.name]


def test_a_folder_is_indexed_without_the_file_whose_name_is_refused(
    client: Client, video: Path, video_id: str, tmp_path: Path
) -> None:
    os.link(video, tmp_path / "b.mp4")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a-\xff.mp4")).write_bytes(b"no video")
    result, indexed_id = client.predict(str(tmp_path), api_name="/index")
    assert "1 file was not added:" in result and "a-\ufffd.mp4" in result
    assert "b.mp4: done" in result and indexed_id == video_id


def test_busy_port_is_an_error_that_names_a_free_one(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    completed = Shell(tmp_path).run("serve", "--port", port, code=1)
    assert completed.stdout == ""
    message = re.fullmatch(
        rf"Port {port} is in use; the next free one is (\d+): serve --port (\d+)", completed.stderr.splitlines()[-1]
    )
    assert message and message[1] == message[2] and int(message[1]) > int(port)


def test_wrong_value_is_a_sentence_for_programs(client: Client, server: Server, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no video")
    with pytest.raises(Exception, match="The name of a video or sound file ends with"):
        client.predict([handle_file(str(notes))], False, api_name="/upload")
    with pytest.raises(Exception, match="There is no video bbbbbbbbbbbb in the library"):
        client.predict("b" * 12, "What happens?", api_name="/ask")


def test_cancel_of_a_job_that_is_done_says_so(client: Client, server: Server, video_id: str) -> None:
    status, body, _ = server.post("/v1/jobs/1/cancel", b"")
    assert status == 409 and "The job 1 is done; what was found is in the library." in body.decode()
    status, body, _ = server.post("/v1/jobs/abc/cancel", b"")
    assert (status, json.loads(body)) == (422, {"detail": "The address has a value that cannot be used here: job id."})


SERVE_AND_SAY_WHEN_JOBS_BEGIN = """
import os, socket, sys
from pathlib import Path
from longview.app.serving.workers import Workers
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.ui.access import HOST
from longview.ui.process import serve

port = int(sys.argv[2])

def start(self):
    with socket.socket() as probe:
        print("listens" if probe.connect_ex((HOST, port)) == 0 else "does not listen", flush=True)
    os._exit(0)

Workers.start = start
serve(Longview(Settings(library=Path(sys.argv[1]), model="demo", device="cpu", cpu_threads=1)), port)
"""


def test_server_listens_before_it_takes_a_job(tmp_path: Path) -> None:
    completed = run_script(SERVE_AND_SAY_WHEN_JOBS_BEGIN, tmp_path / "library", str(free_port()))
    assert completed.stdout.splitlines()[-1:] == ["listens"], completed.stderr
