"""The browser interface, over HTTP and its API, against a real server process and the real checkpoint."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysubs2
import pytest
from gradio_client import Client, handle_file

from longview.video.synthetic import ShapesEvent, render
from longview.video.timeline import Span

EVENTS = (
    ShapesEvent(3.0, 9.0, "red", "circle", "moves up"),
    ShapesEvent(12.0, 18.0, "yellow", "star", "grows"),
    ShapesEvent(22.0, 28.0, "blue", "square", "moves to the left"),
)
START_S = 120


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    home: Path
    process: subprocess.Popen[str]

    def get(self, path: str, **headers: str) -> tuple[int, bytes, Any]:
        """Status, body and headers of a GET request."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"LONGVIEW_LIBRARY": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "app", "serve", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(home)) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url, said
        running = Server(url[0], home, process)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                if running.get("/")[0] == 200:
                    break
            except urllib.error.URLError:
                time.sleep(0.2)
        yield running
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.url, verbose=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "three <b>events</b>.mp4", EVENTS, 30.0)


def listed(server: Server) -> list[dict[str, Any]]:
    """What the command line says is in the library, while the server runs."""
    words = [sys.executable, "-m", "app", "list", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(server.home), timeout=60, check=True)
    return list(json.loads(done.stdout)["videos"])


@pytest.fixture(scope="module")
def video_id(server: Server, client: Client, video: Path) -> str:
    job = client.submit(str(video), api_name="/index")
    assert "done" in job.result(timeout=120)
    reports = [str(report) for report in job.outputs()]
    assert any("looking and captioning" in report and "%" in report for report in reports)
    (row,) = listed(server)
    assert row["events"] == len(EVENTS)
    return str(row["video_id"])


def test_opening_a_video_shows_player_captions_and_exports(client: Client, video_id: str) -> None:
    player, story, captions, exports, chat = client.predict(video_id, api_name="/open")
    assert 'data-seek="0.000"' in story and "3 events" in story
    assert f'src="/media/{video_id}' in player
    assert "<b>events" not in player
    for event in EVENTS:
        assert event.text in captions
    starts = [float(start) for start in re.findall(r'data-seek="([\d.]+)"', captions)]
    assert starts == pytest.approx([event.start_s for event in EVENTS], abs=1)
    assert f'href="/export/{video_id}.srt"' in exports


def test_a_question_is_answered_with_times_to_click_and_survives_a_reload(client: Client, video_id: str) -> None:
    *_, messages = client.predict(video_id, "When does the yellow star appear?", api_name="/ask")
    text = as_text(messages[-1])
    seek = float(re.findall(r"\(#t=([\d.]+)\)", text)[0])
    assert seek == pytest.approx(EVENTS[1].start_s, abs=0.5)
    *_, messages = client.predict(video_id, "What happens at 0:25?", api_name="/ask")
    assert "A blue square moves to the left" in as_text(messages[-1])
    *_, reloaded = client.predict(video_id, api_name="/open")
    assert [as_text(message) for message in reloaded] == [as_text(message) for message in messages]


def test_every_event_is_found_and_an_absent_one_is_not(client: Client, video_id: str) -> None:
    for event in EVENTS:
        *_, messages = client.predict(video_id, f"When does the {event.color} {event.shape} appear?", api_name="/ask")
        (found,) = re.findall(r"rom (\d+\.\d) to (\d+\.\d) seconds", as_text(messages[-1]).replace("\\", ""))
        assert Span(float(found[0]), float(found[1])).iou(event.event.span) >= 0.8
    *_, messages = client.predict(video_id, "When does the white ring appear?", api_name="/ask")
    assert as_text(messages[-1]).startswith("Not in this video")
    assert "only moving coloured shapes" in as_text(messages[-1])


def test_a_cleared_conversation_is_forgotten(client: Client, video_id: str) -> None:
    client.predict(video_id, "When does the yellow star appear?", api_name="/ask")
    client.predict(video_id, api_name="/clear")
    *_, messages = client.predict(video_id, api_name="/open")
    assert messages == []


def as_text(message: Any) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_the_whole_library_is_asked_and_its_moments_shown(client: Client, video_id: str) -> None:
    _, answer, cards = client.predict("When does the yellow star appear?", api_name="/ask_library")
    told = answer if isinstance(answer, str) else answer["value"]
    seen = re.search(r"From (\d+\.\d) to (\d+\.\d) seconds", told.replace("\\", ""))
    assert seen and Span(float(seen[1]), float(seen[2])).iou(EVENTS[1].event.span) > 0.8
    assert f"/?video={video_id}&t=" in cards and "<b>events" not in cards
    *_, cards = client.predict("When does the xylophone quartet perform?", api_name="/ask_library")
    assert "/?video=" not in cards


def test_invalid_questions_are_answered_in_the_chat(client: Client, video_id: str) -> None:
    *_, messages = client.predict(video_id, "What happens at 7:00?", api_name="/ask")
    assert "only 0:00:30.0 long" in as_text(messages[-1])


def test_search_shows_the_right_moment_first_with_its_picture(server: Server, client: Client, video_id: str) -> None:
    cards = client.predict("노란 별", api_name="/search")
    first = cards.split("<a ")[1]
    assert EVENTS[1].text in first
    assert f"/?video={video_id}" in first
    picture = re.search(r'src="(/thumbnail/[^"]+)"', first)
    assert picture
    status, body, headers = server.get(picture[1])
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8")


def test_media_can_be_seeked_and_exports_downloaded(server: Server, client: Client, video_id: str, video: Path) -> None:
    status, body, headers = server.get(f"/media/{video_id}", Range="bytes=100-199")
    assert status == 206
    assert body == video.read_bytes()[100:200]
    assert headers["content-type"] == "video/mp4"
    for format in ("srt", "vtt"):
        status, body, _ = server.get(f"/export/{video_id}.{format}")
        assert status == 200
        lines = pysubs2.SSAFile.from_string(body.decode(), format)
        assert [line.plaintext for line in lines] == [event.text for event in EVENTS]
        for line, event in zip(lines, EVENTS, strict=True):
            assert Span(line.start / 1000, line.end / 1000).iou(event.event.span) > 0.7


@pytest.mark.parametrize(
    "path",
    ["/media/ffff", "/media/..%2f..%2fetc%2fpasswd", "/export/ffff.srt", "/thumbnail/ffff/0.jpg", "/gradio_api/file=/etc/passwd"],
)
def test_nothing_but_the_library_is_served(server: Server, video_id: str, path: str) -> None:
    assert server.get(path)[0] in (403, 404)


def test_other_sites_cannot_reach_the_server_under_their_name(server: Server) -> None:
    assert server.get("/", Host="attacker.example")[0] == 400


def test_other_sites_cannot_send_anything(server: Server) -> None:
    request = urllib.request.Request(f"{server.url}/gradio_api/upload", data=b"x", headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)


def post(server: Server, path: str, document: Any) -> tuple[int, str]:
    body = json.dumps(document).encode()
    request = urllib.request.Request(server.url + path, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def forged(path: Any) -> dict[str, Any]:
    """A description of a file that the client did not upload."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, "url": None, "orig_name": "a.mp4"}


def test_no_endpoint_reads_a_file_that_was_not_uploaded(server: Server, client: Client, video_id: str) -> None:
    functions = client.config["dependencies"]
    assert {"upload", "index", "open", "ask", "search"} <= {function["api_name"] for function in functions}
    cached = sorted((server.home / "cache").rglob("*"))
    for function in functions:
        for value in (forged("/etc/hostname"), {"value": [forged("/etc/hostname")]}):
            data = [value] * max(1, len(function["inputs"]))
            request = {"data": data, "fn_index": function["id"], "session_hash": "forged"}
            routes = ["queue/join", "run/predict", "api/predict"]
            if name := function["api_name"]:
                routes += [f"call/{name}", f"call/v2/{name}", f"run/{name}"]
            for route in routes:
                assert post(server, f"/gradio_api/{route}", request)[0] == 403, (function["api_name"], route)
    assert sorted((server.home / "cache").rglob("*")) == cached
    assert [row["video_id"] for row in listed(server)] == [video_id]


@pytest.mark.parametrize("path", ["library.db", "cache/../library.db", "cache", "https://example.org/a.mp4", 3, {}, "\0"])
def test_only_a_file_inside_of_the_upload_folder_counts_as_uploaded(server: Server, client: Client, path: Any) -> None:
    named = str(server.home / path) if isinstance(path, str) and ":" not in path else path
    assert post(server, "/gradio_api/call/upload", {"data": [forged(named)]})[0] == 403


def test_requests_that_nobody_reads_do_not_pile_up(server: Server, client: Client, video_id: str) -> None:
    ask = next(function["id"] for function in client.config["dependencies"] if function["api_name"] == "ask")
    question = {"data": [video_id, "What happens at 0:05?"], "fn_index": ask, "session_hash": "idle"}
    answers = [post(server, "/gradio_api/queue/join", question) for _ in range(300)]
    assert {status for status, _ in answers} == {200, 503}
    assert sum(status == 200 for status, _ in answers) < 100
    assert any("full" in text for _, text in answers)
    post(server, "/gradio_api/reset", {"session_hash": "idle"})


def test_a_body_that_is_no_json_or_too_large_is_refused(server: Server) -> None:
    assert post(server, "/gradio_api/queue/join", "x" * (2 << 20))[0] == 413
    request = urllib.request.Request(f"{server.url}/gradio_api/queue/join", data=b"{" * 5000)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=30)


def test_uploads_go_into_the_library_and_unplayable_ones_get_a_copy(
    server: Server, client: Client, video_id: str, tmp_path: Path
) -> None:
    original = render(tmp_path / "clip.avi", EVENTS[:1], 10.0, codec="mpeg4")
    assert "done" in client.predict(handle_file(str(original)), api_name="/upload")
    row = next(row for row in listed(server) if row["title"] == "clip")
    assert Path(row["path"]).parent == server.home / "uploads"
    assert Path(row["path"]).read_bytes() == original.read_bytes()
    client.predict(row["video_id"], api_name="/open")
    deadline = time.monotonic() + 60
    while server.get(f"/media/{row['video_id']}")[0] != 200:
        assert time.monotonic() < deadline, "the copy for the browser was never made"
        time.sleep(0.5)
    assert server.get(f"/media/{row['video_id']}")[2]["content-type"] == "video/mp4"
    client.predict(row["video_id"], video_id, api_name="/remove")
    assert [row["video_id"] for row in listed(server)] == [video_id]


def test_what_is_no_video_is_refused_with_a_reason(server: Server, client: Client, video_id: str, tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video " * 100)
    with pytest.raises(Exception, match=r"not a video that can be opened"):
        client.predict(handle_file(str(fake)), api_name="/upload")
    with pytest.raises(Exception, match=r"no file at"):
        client.predict(str(tmp_path / "missing.mp4"), api_name="/index")
    assert [row["video_id"] for row in listed(server)] == [video_id]
    assert not [path for path in (server.home / "uploads").glob("*") if "fake" in path.name]


def test_a_busy_port_is_said_with_the_next_free_one(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    words = [sys.executable, "-m", "app", "serve", "--port", port, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(tmp_path), timeout=60, check=False)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "port_busy"
    assert int(re.findall(r"--port (\d+)", error["message"])[0]) > int(port)
