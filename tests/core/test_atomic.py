"""Atomic writes: what is left after a kill or a power cut, and who can read it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from longview.core.atomic import PARTIAL_PREFIX, atomic_write, create_folder, replace_file
from tests.support.power_cuts import disk_calls


def test_after_a_power_cut_a_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "notes.txt"
    for content in ("old", "new"):
        with disk_calls() as calls:
            with atomic_write(target) as partial:
                partial.write_text(content)
            assert calls.renamed == ["notes.txt"] and calls.losses == []
    (tmp_path / "moved").write_text("moved")
    with disk_calls() as calls:
        replace_file(tmp_path / "moved", target)
    assert calls.losses == [] and target.read_text() == "moved"


def test_the_record_of_calls_notices_what_a_power_cut_would_damage(tmp_path: Path) -> None:
    with disk_calls() as calls:
        (tmp_path / "a").write_text("a")
        (tmp_path / "a").replace(tmp_path / "b")
    assert [loss.partition("b may be ")[2].partition(":")[0] for loss in calls.losses] == ["empty", "missing"]


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    code = (
        "import sys, time, pathlib; from longview.core.atomic import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); print('half', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"half\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL and target.read_bytes() == b"old"
    # Only what housekeeping recognises by its name is left.
    (left,) = set(tmp_path.iterdir()) - {target}
    assert left.name.startswith(PARTIAL_PREFIX)


def test_files_of_other_threads_keep_their_permissions(tmp_path: Path) -> None:
    """The umask belongs to the whole process: to read it means to set it, for the files of all threads."""
    stop, modes = threading.Event(), set()

    def create_files() -> None:
        number = 0
        while not stop.is_set():
            path = tmp_path / f"other-{number}"
            path.touch()
            modes.add(path.stat().st_mode & 0o777)
            path.unlink()
            number += 1

    umask = os.umask(0o027)
    try:
        other = threading.Thread(target=create_files)
        other.start()
        with pytest.MonkeyPatch.context() as patch:
            changes: list[int] = []

            def note_change(mask: int) -> int:
                changes.append(mask)
                return 0o027

            patch.setattr(os, "umask", note_change)
            for number in range(20):
                with atomic_write(tmp_path / f"file-{number}") as partial:
                    partial.touch()
        stop.set()
        other.join()
    finally:
        os.umask(umask)
    assert changes == [] and modes == {0o640}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("file-*")} == {0o640}


def test_private_content_is_never_readable_by_others(tmp_path: Path) -> None:
    target = tmp_path / "token.toml"
    target.write_text("old")
    target.chmod(0o600)
    for path, is_private in ((target, False), (tmp_path / "new", True)):
        with atomic_write(path, is_private=is_private) as partial:
            partial.write_text("secret")
            assert partial.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_cannot_be_created_in_a_file(tmp_path: Path) -> None:
    create_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "file").touch()
    for path in (tmp_path / "a" / "b" / "file", tmp_path / "a" / "b" / "file" / "c"):
        with pytest.raises(OSError, match="exists|Not a directory"):
            create_folder(path)
