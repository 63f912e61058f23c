"""Fuzz databases and back-ups with fixed seeds, aware of their structure: values, schema, pages, log, manifest, archive.

Each mutation is examined, read, repaired and used in a process of its own with limits of time and memory. A fault is an
unexpected exception, a signal, a run without an end, a repair that leaves damage, or a change of a file outside of the library.

    python -m benchmarks.robustness.fuzz_library --databases 500 --backups 200 --seed 1
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from longview.app.errors import EXPECTED_ERRORS
from longview.app.files.media import MediaStore
from longview.app.files.removal import remove
from longview.app.maintenance.archive import MANIFEST
from longview.app.maintenance.backup import backup
from longview.app.maintenance.restore import restore
from longview.indexing.records.provenance_text import describe_maker
from longview.indexing.sqlite.database.connections import JOURNAL_MAGIC
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.schema import add_functions
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.integrity import database_problems, log_problem
from longview.indexing.sqlite.repair.recovery import recover
from longview.video.decoding.decoder import Decoder

FIXTURE = Path(__file__).parents[2] / "tests" / "fixtures" / "library_8d61d84"
PAGE_BYTES = 4096
MAX_S = 60
"""Maximum time of a mutation, in seconds."""
MAX_MEMORY_BYTES = 6 << 30
"""Maximum address space of the process of a mutation, in bytes."""
ODD_TEXTS = (
    "", " ", "\0", "../../victim/", "../../victim/x", "*", "?", "/etc/passwd", "~root", "C:\\x", "a" * 100_000, "1" * 6000,
    "[" * 5000, "{", "[1]", "{}", "[]", "null", "NaN", '{"a": 1e999}', '{"width": []}', '[[0, 1]]', '[[1, 0, "x"]]', '"\\ud800"',
    "<script>", "\x1b[2J", "\u202e", "2026-13-01", "2026-12-01T00:00:00", "complete", "running", "cancel", "captions", "é" * 300,
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    *ODD_TEXTS, None, b"\xff\xfe", b"", -1, 0, 1 << 62, (1 << 63) - 1, -(1 << 63), 1e308, -1e308, float("inf"), -0.5, 5,
)  # fmt: skip
ODD_STATEMENTS = (
    "CREATE TRIGGER evil{n} AFTER INSERT ON {t} BEGIN DELETE FROM videos; END",
    "CREATE TRIGGER evil{n} AFTER UPDATE ON {t} BEGIN DELETE FROM segments; END",
    "CREATE TRIGGER evil{n} AFTER DELETE ON {t} BEGIN INSERT INTO known_files SELECT hex(randomblob(8)), x, x, 'a' FROM "
    "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c); END",
    "CREATE VIEW evil{n} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
    "CREATE TABLE evil{n} (content)",
    "CREATE INDEX evil{n} ON {t} (rowid, abs(1))",
    "CREATE VIRTUAL TABLE evil{n} USING fts5 (text)",
    "ALTER TABLE {t} ADD COLUMN evil{n} TEXT AS (hex(zeroblob(1000)))",
    "ALTER TABLE {t} RENAME TO real{n}",
    "DROP TABLE {t}",
    "DELETE FROM revision",
    "INSERT INTO revision VALUES (7)",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "PRAGMA user_version = -1",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 3",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA auto_vacuum = FULL; VACUUM",
    "PRAGMA page_size = 512; VACUUM",
)
SCHEMA_EDITS = (
    "UPDATE sqlite_schema SET sql = CAST(CAST(sql AS BLOB) || x'C3' AS TEXT) WHERE name = '{t}'",
    "UPDATE sqlite_schema SET sql = replace(sql, 'TEXT', 'BLOB') WHERE name = '{t}'",
    "UPDATE sqlite_schema SET rootpage = rootpage + 1 WHERE name = '{t}'",
    "UPDATE sqlite_schema SET rootpage = 1 WHERE name = '{t}'",
    "UPDATE sqlite_schema SET rootpage = 99999999 WHERE name = '{t}'",
    "UPDATE sqlite_schema SET type = 'view' WHERE name = '{t}'",
    "UPDATE sqlite_schema SET name = 'x' || name, tbl_name = 'x' || tbl_name WHERE name = '{t}'",
    "INSERT INTO sqlite_schema VALUES ('trigger', 'sqlite_evil', '{t}', 0, "
    "'CREATE TRIGGER sqlite_evil AFTER INSERT ON {t} BEGIN DELETE FROM videos; END')",
    "UPDATE sqlite_schema SET sql = 'CREATE TABLE {t} (' || substr(replace(hex(zeroblob(3000)), '00', 'c, '), 1, 8000) || 'x)' "
    "WHERE name = '{t}'",
)


ODD_NAMES = (
    "../x", "uploads/../x", "/x", "uploads/CON", "uploads/a ", "uploads/\u202e", "library.db-wal", "x/", "uploads/a\nb"
)  # fmt: skip
"""Names of members that a back-up may not have."""


@dataclass
class Sample:
    """A mutated database or back-up, and what was done to it."""

    name: str
    path: Path


def mutate_database(path: Path, rng: random.Random) -> str:
    """Change a database in one way or several; return what was done."""
    mutations = [rng.choice(MUTATIONS) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    names = []
    # A journal is written last, because SQLite would follow it when the next mutation opens the database.
    for kind in sorted(mutations, key=lambda kind: kind is _journal):
        # Of a database that is broken already, the next mutation may be impossible.
        with suppress(sqlite3.Error, UnicodeDecodeError, IndexError):
            names.append(kind(path, rng))
    return " + ".join(names)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    add_functions(db)
    return db


def _tables(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'").fetchall()
    return [name for (name,) in rows]


def _values(path: Path, rng: random.Random) -> str:
    with closing(_open(path)) as db:
        for _ in range(rng.randrange(1, 4)):
            table = rng.choice(_tables(db))
            column = rng.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
            value = rng.choice(ODD_VALUES)
            limit = rng.choice((1, 1, 100))
            rows = [row[0] for row in db.execute(f"SELECT rowid FROM {table} ORDER BY random() LIMIT {limit}")]
            for row in rows:
                with suppress(sqlite3.IntegrityError):
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    return f"value {table}.{column} {str(value)[:20]!r}"


def _statements(path: Path, rng: random.Random) -> str:
    with closing(_open(path)) as db:
        statement = rng.choice(ODD_STATEMENTS).format(t=rng.choice(_tables(db)), n=rng.randrange(1000))
        db.executescript(statement)
    return f"statement {statement[:40]}"


def _schema(path: Path, rng: random.Random) -> str:
    with closing(_open(path)) as db:
        statement = rng.choice(SCHEMA_EDITS).format(t=rng.choice(_tables(db)))
        db.execute("PRAGMA writable_schema = ON")
        db.execute(statement)
    return f"schema {statement[:60]}"


def _bytes(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 60)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)
    return "bytes"


def _page_heads(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 30)):
        page = rng.randrange(max(1, len(content) // PAGE_BYTES)) * PAGE_BYTES
        position = page + (100 if page == 0 else 0) + rng.randrange(16)
        if position < len(content):
            content[position] = rng.choice((0, 2, 5, 10, 13, 255, rng.randrange(256)))
    path.write_bytes(content)
    return "heads of pages"


def _pages(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    count = len(content) // PAGE_BYTES
    for _ in range(rng.randrange(1, 6) if count > 1 else 0):
        target, source = rng.randrange(1, count) * PAGE_BYTES, rng.randrange(count) * PAGE_BYTES
        noise = rng.randbytes(PAGE_BYTES)
        content[target : target + PAGE_BYTES] = content[source : source + PAGE_BYTES] if rng.random() < 0.5 else noise
    path.write_bytes(content)
    return "pages"


def _cut(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content))])
    return "cut"


def _log(path: Path, rng: random.Random) -> str:
    log = path.with_name(path.name + "-wal")
    log.write_bytes(rng.randbytes(rng.randrange(10_000)))
    return "log"


def _journal(path: Path, rng: random.Random) -> str:
    """Write a rollback journal that names a file which it must not delete."""
    victim = str(path.parents[2] / "victim" / "thesis.txt").encode()
    head = JOURNAL_MAGIC + struct.pack(">IIIII", 0, rng.randrange(1 << 32), path.stat().st_size // PAGE_BYTES, 512, PAGE_BYTES)
    page = struct.pack(">I", 0x40000000 // PAGE_BYTES + 1)
    end = page + victim + struct.pack(">II", len(victim), sum(victim)) + JOURNAL_MAGIC
    path.with_name(path.name + "-journal").write_bytes(head.ljust(512, b"\0") + rng.choice((end, b"", rng.randbytes(5000))))
    return "journal"


MUTATIONS = (_values, _values, _statements, _schema, _bytes, _page_heads, _pages, _cut, _log, _journal)
"""Kinds of mutations of a database; values are changed twice as often as anything else."""


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


def mutate_backup(good: Path, target: Path, folder: Path, rng: random.Random) -> str:
    """Write a changed copy of a back-up; return what was done."""
    with zipfile.ZipFile(good) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    kind = rng.choice(("database", "database", "database", "manifest", "names", "bytes", "entries"))
    name = kind
    if kind == "database":
        path = folder / "mutated.db"
        path.write_bytes(members[DATABASE])
        name = mutate_database(path, rng)
        members[DATABASE] = path.read_bytes()
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as db:
            manifest["schema_version"] = db.execute("PRAGMA user_version").fetchone()[0]
        manifest["members"][DATABASE] = _entry(members[DATABASE])
    elif kind == "manifest":
        key = rng.choice(list(manifest))
        manifest[key] = rng.choice((*ODD_VALUES[:34], None, -1, 1 << 70, [], {}, [[]], {"library.db": {}}, {"": ""}, 1.5))
        name = f"manifest {key}"
    elif kind == "names":
        odd = rng.choice(ODD_NAMES)
        members[odd] = b"x"
        manifest["members"][odd] = _entry(b"x")
    elif kind == "entries":
        entry = manifest["members"][rng.choice(list(manifest["members"]))]
        entry[rng.choice(list(entry))] = rng.choice(ODD_VALUES[:34] + (0, -1, 1 << 60))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(MANIFEST, json.dumps(manifest, default=str))
    if kind == "bytes":
        changed = bytearray(target.read_bytes())
        for _ in range(rng.randrange(1, 30)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        target.write_bytes(changed)
    return name


def _entry(content: bytes) -> dict[str, Any]:
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


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
