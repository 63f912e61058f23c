"""What is printed, wherever it goes: terminals that cannot show it, full disks and closed streams."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from longview.app.cli.output import BOLD, NOT_BOLD, CleanFormatter, highlight_terms
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import render
from tests.support.app_samples import RING
from tests.support.shell import Shell, environment


def run(
    shell: Shell, *words: str, stdin: bytes = b"", redirect: str = "", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command by a POSIX shell, which can redirect or close its streams."""
    script = f'exec "$0" -m app "$@" {redirect}'
    command = ["sh", "-c", script, sys.executable, *words]
    return subprocess.run(command, capture_output=True, env=environment(shell.library, **variables), input=stdin, check=False)


def test_control_characters_of_a_title_do_not_reach_the_terminal(shell: Shell, entry: Any) -> None:
    library = Library(shell.library)
    stored = library.video(entry["video_id"])
    library.rename(stored.video_id, "a\x1b]0;owned\x07\x9b2J\u202eb\rc")
    try:
        assert b"a\xef\xbf\xbd" in (listed := run(shell, "list").stdout)
        assert not {0x1B, 0x07, 0x0D} & {*listed} and "\x9b" not in listed.decode() and "\u202e" not in listed.decode()
        document = run(shell, "list", "--json").stdout.decode()
        assert json.loads(document)["videos"][0]["title"] == "a\x1b]0;owned\x07\x9b2J\u202eb\rc" and "\x9b" not in document
    finally:
        library.rename(stored.video_id, stored.title)


def test_log_has_no_control_characters() -> None:
    record = logging.LogRecord("longview", logging.INFO, "", 0, "indexing %s failed", ("a\x1b]0;owned\x07\n",), None)
    assert CleanFormatter("%(message)s").format(record) == "indexing a\ufffd]0;owned\ufffd\n failed"


@pytest.fixture(scope="module")
def entry(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A video whose title no ASCII terminal can show."""
    path = render(tmp_path_factory.mktemp("videos") / "밤하늘 ✓.mp4", [RING], 5.0, fps=5)
    return shell.call("index", str(path))["videos"][0]


def test_terminal_without_unicode_shows_replacements(shell: Shell, entry: Any) -> None:
    completed = run(shell, "list", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert completed.returncode == 0, completed.stderr
    assert b"??? ?" in completed.stdout
    document = json.loads(run(shell, "list", "--json", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0").stdout)
    assert document["videos"][0]["title"] == "밤하늘 ✓"


def test_name_that_is_not_utf8_does_not_lose_the_other_files(shell: Shell, entry: Any, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    shutil.copy(os.fsencode(entry["path"]), path)
    command = [sys.executable.encode(), b"-m", b"app", b"index", os.fsencode(entry["path"]), path, b"--json"]
    completed = subprocess.run(command, capture_output=True, env=environment(shell.library), check=False)
    assert completed.returncode == 1
    good, bad = json.loads(completed.stdout)["videos"]
    assert good["status"] == "indexed" and bad["status"] == "failed" and "UTF-8" in bad["error"]["message"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_one_sentence(shell: Shell, entry: Any) -> None:
    for words in (("list", "--json"), ("list",), ("ask", entry["video_id"], "How many events are in the video?")):
        completed = run(shell, *words, redirect=">/dev/full")
        assert completed.returncode == 1
        assert completed.stderr.decode().splitlines()[-1] == "The output cannot be written: No space left on device."
        assert b"Traceback" not in completed.stderr and b"Exception ignored" not in completed.stderr
    for words in (("--help",), ("ask", "--json")):
        usage = run(shell, *words, redirect=">/dev/full")
        assert usage.returncode in (1, 2) and b"Traceback" not in usage.stderr
    failed = run(shell, "plan", "no-such-video", "--json", redirect=">/dev/full")
    assert failed.returncode == 1 and b"There is no video" in failed.stderr and b"Traceback" not in failed.stderr


def test_closed_streams_are_no_bug(shell: Shell, entry: Any) -> None:
    assert run(shell, "list", redirect="2>&-").stdout
    closed_output = run(shell, "list", redirect=">&-")
    assert closed_output.returncode == 1 and b"The output cannot be written" in closed_output.stderr
    if Path("/dev/full").exists():
        # What every user must know cannot be said there, but the result is not lost.
        assert b"ring" in run(shell, "caption", entry["video_id"], redirect="2>/dev/full").stdout
    conversation = run(shell, "ask", entry["video_id"], "-i", "--json", redirect="<&-")
    assert json.loads(conversation.stdout) == {"answers": []}
    # The first file that is opened, the database, would take the place of a closed stream.
    assert run(shell, "list", redirect="<&- 2>&-").stdout == run(shell, "list").stdout


def test_questions_that_are_no_text_do_not_end_the_conversation(shell: Shell, entry: Any) -> None:
    questions = b"When does \xff\xfe appear?\nHow many events are in the video?\n"
    conversation = run(shell, "ask", entry["video_id"], "-i", "--json", stdin=questions)
    first, second = json.loads(conversation.stdout)["answers"]
    assert first["question"] == "When does \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} appear?" and first["answer"]
    assert second["answer"] == "1."


def test_name_of_an_export_that_is_too_long_is_one_sentence(shell: Shell, entry: Any, tmp_path: Path) -> None:
    error = shell.call("export", entry["video_id"], "--format", "srt", "-o", str(tmp_path / ("x" * 252 + ".srt")), code=1)[
        "error"
    ]
    assert error["code"] == "bad_request" and "File name too long" in error["message"]
    target = tmp_path / ("x" * 252 + ".jpg")
    error = shell.call("contact-sheet", entry["video_id"], "-o", str(target), code=1)["error"]
    assert error["code"] == "bad_request" and "File name too long" in error["message"]


def test_words_of_a_result_cannot_control_the_terminal() -> None:
    text = "a \x1b[2Jred\x07 circle\n"
    assert highlight_terms(text, ()) == "a �[2Jred� circle�"
    assert highlight_terms(text, ((6, 9),)) == f"a �[2J{BOLD}red{NOT_BOLD}� circle�"
