"""Fuzz databases and back-ups with fixed seeds, aware of their structure: values, schema, pages, log, manifest, archive.

Each mutation is examined, read, repaired and used in a process of its own with limits of time and memory. A fault is an
unexpected exception, a signal, a run without an end, a repair that leaves damage, or a change of a file outside of the library.

    python -m benchmarks.robustness.fuzz_library --databases 500 --backups 200 --seed 1
"""

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.robustness.mutations import Sample, mutate_backup, mutate_database
from longview.app.errors import EXPECTED_ERRORS
from longview.app.files.media import MediaStore
from longview.app.files.removal import remove
from longview.app.maintenance.backup import backup
from longview.app.maintenance.restore import restore
from longview.indexing.records.provenance_text import describe_maker
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems, log_problem
from longview.indexing.sqlite.repair.recovery import recover
from longview.video.decoding.decoder import Decoder

FIXTURE = Path(__file__).parents[2] / "tests" / "fixtures" / "library_8d61d84"
MAX_S = 60
"""Maximum time of a mutation, in seconds."""
MAX_MEMORY_BYTES = 6 << 30
"""Maximum address space of the process of a mutation, in bytes."""


def use_database(folder: Path) -> str:
    """Examine, read, repair and use a library; return the outcome."""
    path = folder / DATABASE
    log_problem(folder)
    problems = database_problems(folder)
    outcome = "damaged" if problems else "sound"
    try:
        _read_all(folder)
    except EXPECTED_ERRORS:
        outcome += ", not readable"
    if problems:
        try:
            recover(path)
        except EXPECTED_ERRORS:
            return outcome + ", nothing can be saved"
        if remaining_problems := database_problems(folder):
            raise AssertionError(f"the repair has left damage: {remaining_problems[0]}")
        outcome += ", repaired"
        _read_all(folder)
    _remove_all(folder)
    return outcome


def _read_all(folder: Path) -> None:
    library = Library(folder)
    for entry in library.videos():
        for track in entry.tracks:
            describe_maker(track)
        library.tracks.segments(entry.video_id)
        library.conversations.answers(entry.video_id)
        for version in library.versions.of_video(entry.video_id):
            library.versions.segments(version)
        library.caption_windows.rows(entry.video_id)
    for video in library.removals.videos(with_expired=True):
        _ = video.undo_until
    library.queue.jobs()


def _remove_all(folder: Path) -> None:
    library = Library(folder)
    with closing(Decoder()) as decoder:
        media = MediaStore(library, decoder.limits, lambda: decoder, 1 << 30)
        for entry in library.videos():
            remove(library, media, entry)
        for video in library.removals.videos(with_expired=True):
            media.delete_derived(video.video_id)


def use_backup(path: Path, folder: Path) -> str:
    """Restore a back-up, and use what it made; return the outcome."""
    try:
        restore(path, folder, replace=False)
    except EXPECTED_ERRORS:
        if folder.exists():
            raise AssertionError("a refused back-up has left a folder") from None
        return "refused"
    if problems := database_problems(folder):
        raise AssertionError(f"restored with damage: {problems[0]}")
    _read_all(folder)
    _remove_all(folder)
    return "restored"


def in_process(work: Callable[[], str]) -> str:
    """Run a function in a process of its own with limits; return its text, or one that begins with FAULT."""
    reader, writer = os.pipe()
    process_id = os.fork()
    if not process_id:
        os.close(reader)
        signal.alarm(MAX_S)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        try:
            text = work()
        except EXPECTED_ERRORS as error:
            text = f"FAULT an expected error where none should be: {error}"
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"FAULT {type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})"
        os.write(writer, text.encode(errors="replace")[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read().decode(errors="replace")
    _, status = os.waitpid(process_id, 0)
    return f"FAULT ended by signal {status}" if status else text


def snapshot(folder: Path) -> dict[str, str]:
    """Return the names and hashes of all files below a folder."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


def main() -> int:
    """Run the fuzz; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=int, default=500)
    parser.add_argument("--backups", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the samples that fail")
    arguments = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="longview-fuzz-") as name:
        home = Path(name)
        victim = home / "victim"
        (victim / "deep").mkdir(parents=True)
        for file in (victim / "thesis.txt", victim / "deep" / "x"):
            file.write_text("precious", encoding="utf-8")
        Library(Path(shutil.copytree(FIXTURE, home / "good")))
        good = backup(home / "good", home / "good.zip", with_originals=False).path
        before = snapshot(victim) | snapshot(home / "good")
        base = (home / "good" / DATABASE).read_bytes()

        def run(title: str, count: int, prepare: Callable[[random.Random], Sample], use: Callable[[Path], str]) -> int:
            outcomes: Counter[str] = Counter()
            failures, longest_s = 0, 0.0
            for number in range(count):
                rng = random.Random(f"{arguments.seed} {title} {number}")
                for path in (home / "library", home / "sample.zip"):
                    shutil.rmtree(path, ignore_errors=True)
                    path.unlink(missing_ok=True) if path.is_file() else None
                sample = prepare(rng)
                start_s = time.monotonic()
                text = in_process(partial(use, sample.path))
                longest_s = max(longest_s, time.monotonic() - start_s)
                if snapshot(victim) | snapshot(home / "good") != before:
                    text = "FAULT files outside of the library have changed"
                outcomes[text if not text.startswith("FAULT") else "FAULT"] += 1
                if text.startswith("FAULT"):
                    failures += 1
                    print(f"{title} {number} ({sample.name}): {text}", flush=True)
                    if arguments.keep:
                        arguments.keep.mkdir(parents=True, exist_ok=True)
                        source = sample.path if sample.path.is_file() else sample.path / DATABASE
                        if source.exists():
                            shutil.copy(source, arguments.keep / f"{title}-{number}")
            print(f"{title}: {count}, {failures} faults, longest {longest_s:.1f} s")
            for outcome, number in outcomes.most_common():
                print(f"  {number:4} {outcome}")
            return failures

        def database_sample(rng: random.Random) -> Sample:
            folder = home / "library"
            folder.mkdir()
            (folder / "thumbnails").mkdir()
            (folder / DATABASE).write_bytes(base)
            return Sample(mutate_database(folder / DATABASE, rng), folder)

        def backup_sample(rng: random.Random) -> Sample:
            target = home / "sample.zip"
            return Sample(mutate_backup(good, target, home, rng), target)

        faults += run("databases", arguments.databases, database_sample, use_database)
        faults += run("back-ups", arguments.backups, backup_sample, lambda path: use_backup(path, home / "library"))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
