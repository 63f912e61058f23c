"""`jobs` and the queue behind `index`, in processes that are killed, interrupted, or run side by side."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from longview.video.synthetic import render
from tests.support.app_samples import RING, TWICE, file_names
from tests.support.shell import Shell, environment
from tests.support.warm_process import WarmProcess, start_command

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "long.mp4", TWICE, 30.0, fps=5)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "library")


def start(shell: Shell, *words: str, **variables: str) -> "subprocess.Popen[str] | WarmProcess":
    return start_command(words, environment(shell.library, **variables))


def wait_until(shell: Shell, is_reached: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Wait until the queue is in a state, and return it."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if is_reached(jobs := shell.call("jobs", "--ended")["jobs"]):
            return jobs
        threading.Event().wait(0.1)
    raise AssertionError(jobs)


def is_captioning(jobs: list[dict[str, Any]]) -> bool:
    return any(job["stage"] == "Captioning" for job in jobs)


def test_killed_index_resumes_at_once_and_ends_like_an_uninterrupted_one(shell: Shell, long_video: Path, tmp_path: Path) -> None:
    process = start(shell, "index", str(long_video))
    wait_until(shell, is_captioning)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=10)[1] == []
    (job,) = shell.call("jobs")["jobs"]
    assert (job["status"], job["attempts"], job["path"]) == ("waiting", 1, str(long_video))
    indexed = shell.call("index", str(long_video))["videos"][0]
    # What was done before was not done again.
    assert [source["status"] for source in indexed["sources"] if source["source"] == "screen_text"] == ["up_to_date"]
    (job,) = shell.call("jobs", "--ended")["jobs"]
    assert (job["status"], job["attempts"]) == ("done", 2)
    other = Shell(tmp_path / "other")
    other.call("index", str(long_video))
    assert shell.call("caption", indexed["video_id"])["events"] == other.call("caption", indexed["video_id"])["events"]
    assert not [name for name in file_names(shell.library) if "partial" in name]


def test_interrupted_index_pauses_its_files_and_the_same_call_resumes(shell: Shell, long_video: Path, tmp_path: Path) -> None:
    second = render(tmp_path / "second.mp4", [RING], 5.0, fps=5)
    process = start(shell, "index", str(long_video), str(second))
    wait_until(shell, is_captioning)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and "paused in the queue" in errors.splitlines()[-1] and "Traceback" not in errors
    assert [(job["title"], job["status"]) for job in shell.call("jobs")["jobs"]] == [
        ("long.mp4", "paused"),
        ("second.mp4", "paused"),
    ]
    videos = shell.call("index", str(long_video), str(second))["videos"]
    assert [video["status"] for video in videos] == ["indexed", "indexed"]
    assert shell.call("jobs")["jobs"] == []


def test_job_is_cancelled_and_paused_from_another_process(shell: Shell, long_video: Path) -> None:
    for command, status in (("cancel", "cancelled"), ("pause", "paused")):
        process = start(shell, "index", str(long_video))
        (job,) = [job for job in wait_until(shell, is_captioning) if job["status"] == "running"]
        shell.call("jobs", command, str(job["job_id"]))
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1 and f"long.mp4: the job was {status}; `longview jobs retry" in errors
        assert [each["status"] for each in shell.call("jobs", "--ended")["jobs"] if each["job_id"] == job["job_id"]] == [status]
    shell.call("jobs", "retry", "--all")
    assert [job["status"] for job in shell.call("jobs")["jobs"]] == ["waiting"]
    assert shell.call("jobs", "cancel", "77", code=1)["error"]["code"] == "unknown_job"
    assert "by their numbers" in shell.run("jobs", "cancel", code=2).stderr
    assert "and not both" in shell.run("jobs", "cancel", "1", "--all", code=2).stderr


@pytest.mark.slow
def test_two_calls_at_once_index_one_file_once_and_two_files_side_by_side(shell: Shell, long_video: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(long_video, tmp_path / "copy.mp4"))
    other = render(tmp_path / "other.mp4", [RING], 5.0, fps=5)
    processes = [start(shell, "index", str(path), "--json") for path in (long_video, copy, other)]
    first, second, third = (json.loads(process.communicate(timeout=TIMEOUT_S)[0])["videos"][0] for process in processes)
    assert first["video_id"] == second["video_id"] != third["video_id"]
    statuses = [{source["source"]: source["status"] for source in video["sources"]}["captions"] for video in (first, second)]
    assert sorted(statuses) == ["indexed", "up_to_date"]
    assert [job["status"] for job in shell.call("jobs", "--ended")["jobs"]] == ["done"] * 3


def copy_slowly(content: bytes, target: Path) -> None:
    """Write a file piece by piece for six seconds."""
    with target.open("wb", buffering=0) as file:
        for number in range(30):
            file.write(content[len(content) * number // 30 : len(content) * (number + 1) // 30])
            time.sleep(0.2)


def test_folder_is_indexed_and_followed_while_files_come_and_go(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    kept = render(folder / "kept.mp4", [RING], 5.0, fps=5)
    process = start(shell, "index", str(folder), "--watch", LONGVIEW_WATCH_REST_S="4")
    try:
        wait_until(shell, lambda jobs: [job["status"] for job in jobs] == ["done"])
        # A file that is copied slowly is not read before it is complete.
        content = render(tmp_path / "slow.mp4", [RING], 5.0, fps=5, seed=3).read_bytes()
        copying = threading.Thread(target=copy_slowly, args=(content, folder / "slow.mp4"))
        copying.start()
        while copying.is_alive():
            assert shell.call("search", "ring")["moments"]
        kept.rename(folder / "renamed.mp4")
        jobs = wait_until(shell, lambda jobs: [job["status"] for job in jobs] == ["done"] * 3)
        assert not [job for job in jobs if job["attempts"] > 1]
        # The renamed file is not read again, and is found under its new name; a removed one stays in the library.
        videos = {video["title"]: video for video in shell.call("list")["videos"]}
        assert videos["kept"]["path"] == str(folder / "renamed.mp4") and videos.keys() == {"kept", "slow"}
        (folder / "slow.mp4").unlink()
        assert process.stderr is not None
        assert any("slow.mp4 is gone; what is known of it stays in the library." in line for line in process.stderr)
    finally:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert len(shell.call("list")["videos"]) == 2


def test_folder_without_videos_and_a_watch_without_an_end_are_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no video or audio files" in shell.call("index", str(tmp_path / "empty"), code=1)["error"]["message"]
    assert "prints no document" in shell.call("index", str(tmp_path / "empty"), "--watch", code=1)["error"]["message"]
    assert "is not a folder" in shell.run("index", str(tmp_path / "missing"), "--watch", code=1).stderr
