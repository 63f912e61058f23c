"""Mutations of databases and back-ups."""

import hashlib
import json
import random
import sqlite3
import struct
import zipfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longview.app.maintenance.archive import MANIFEST
from longview.indexing.sqlite.database.connections import JOURNAL_MAGIC
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.schema import add_functions

PAGE_BYTES = 4096
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
