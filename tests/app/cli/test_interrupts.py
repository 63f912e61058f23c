"""Ctrl-C on a command: one line, exit code 130, and nothing half-written."""

import json
import signal
import threading
from pathlib import Path

import pytest

from longview.app.cli.indexing import STOPPED_INDEX
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import render
from tests.support.app_samples import RING, file_names
from tests.support.cli_scene import EVENTS
from tests.support.page_servers import running_server
from tests.support.shell import Shell, environment
from tests.support.warm_process import start_command

STOPPED = "Stopped. Finished parts are kept, and incomplete results were discarded."


def interrupt(shell: Shell, *words: str, at: str, after: str = "") -> tuple[str, list[str]]:
    """Run a command, interrupt it when stderr shows a text after another one, and return stdout and the lines of stderr."""
    with start_command(words, environment(shell.library)) as process:
        assert process.stdout and process.stderr
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if at in line and any(after in earlier for earlier in lines):
                process.send_signal(signal.SIGINT)
                break
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        lines += process.stderr.read().splitlines()
        printed = process.stdout.read()
        assert process.wait() == 130, lines
        watchdog.cancel()
        return printed, lines


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "long.mp4", EVENTS, 240.0, fps=5)


def test_interrupted_index_keeps_finished_files_only(tmp_path: Path, long_video: Path) -> None:
    shell = Shell(tmp_path / "library")
    short = render(tmp_path / "short.mp4", [RING], 5.0, fps=5)
    # The second file is the one that is interrupted.
    words = ("index", str(short), str(long_video), "--sources", "captions", "--json")
    printed, lines = interrupt(shell, *words, at="Captioning", after="Preparing the search")
    assert lines[-1] == STOPPED_INDEX and "Traceback" not in "".join(lines)
    assert json.loads(printed)["error"]["code"] == "cancelled"
    assert [row["title"] for row in shell.call("list")["videos"]] == ["short"]
    assert not [name for name in file_names(shell.library) if "partial" in name]
    # The library is not locked: the same call resumes.
    assert shell.call("index", str(short))["videos"][0]["events"] == 1


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (("locate", "VIDEO", "red circle"), "Searching"),
        (("ask", "VIDEO", "What happens between 1 and 50 seconds?"), "Reading"),
        (("search", "a shape moves"), "Verifying"),
    ],
    ids=["locate", "ask", "search"],
)
def test_interrupted_command_prints_one_line(shell: Shell, video_id: str, words: tuple[str, ...], at: str) -> None:
    printed, lines = interrupt(shell, *(video_id if word == "VIDEO" else word for word in words), at=at)
    assert printed == ""
    assert [line for line in lines if "%" not in line and "demo checkpoint" not in line] == [STOPPED]


def test_interrupted_conversation_prints_the_answers_so_far(shell: Shell, video_id: str) -> None:
    words = ("ask", video_id, "--interactive", "--json")
    turns = len(Library(shell.library).conversations.answers(video_id))
    with start_command(words, environment(shell.library)) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write("How many events are in the video?\n")
        process.stdin.flush()
        # An answer is kept in the library when it is complete.
        while len(Library(shell.library).conversations.answers(video_id)) == turns:
            threading.Event().wait(0.1)
        threading.Event().wait(0.5)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 130
    (answer,) = json.loads(printed)["answers"]
    assert answer["answer"] == f"{len(EVENTS)}."


def test_interrupted_server_cancels_its_jobs(tmp_path: Path, long_video: Path) -> None:
    library = tmp_path / "library"
    with running_server(library) as server:
        started = server.post(
            "/gradio_api/call/index",
            json.dumps({"data": [str(long_video), False]}).encode(),
            **{"Content-Type": "application/json"},
        )
        assert started[0] == 200
        while b"Captioning" not in server.get("/v1/jobs")[1]:
            threading.Event().wait(0.2)
    assert server.process.returncode == 130
    # What was finished before stays.
    sources = [track["source"] for video in Shell(library).call("list")["videos"] for track in video["tracks"]]
    assert sources in ([], ["screen_text"])
