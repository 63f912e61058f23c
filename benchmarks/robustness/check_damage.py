"""Damage a real small library in many ways, and print what Longview says of it and what a repair brings back.

    python -m benchmarks.robustness.check_damage [--seed N]

The table is in docs/reliability.md. The rows of a full and of a read-only disk need root, to mount a disk of 8 MB.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as Block
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.robustness.longview_commands import Commands, Outcome
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.video.synthetic import render, sample_events

PAGE_BYTES = 4096
VIDEOS, DURATION_S, CUES = 3, 30.0, 200
DISK = "8m"
MAX_CHARACTERS = 200
"""Maximum length of a sentence in the table, in characters."""
WORDS = ["harbour", "lantern", "window", "garden", "letter", "bridge", "market", "forest", "kettle", "ribbon", "anchor", "meadow"]


@dataclass(frozen=True)
class Attack:
    """One way to damage a library."""

    name: str
    damage: Callable[[Path, random.Random], None]
    during: Callable[[Path], Block[None]] = lambda _: nullcontext()
    """The state of the disk while commands run."""


def main() -> None:
    """Run all attacks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    generator = random.Random(parser.parse_args().seed)
    with tempfile.TemporaryDirectory() as folder:
        original = make_library(Path(folder))
        whole = content_of(original)
        print(
            f"{len(whole)} videos, {sum(whole.values())} segments, {(original / DATABASE).stat().st_size // PAGE_BYTES} pages.\n"
        )
        print("| damage | `list` | `search` | `check` said | `check --repair` | segments got back |")
        print("|---|---|---|---|---|---|")
        for number, attack in enumerate(ATTACKS):
            print(row(attack, original, Path(folder) / f"attack{number}", generator, sum(whole.values())), flush=True)


def make_library(folder: Path) -> Path:
    """Index a few short videos with captions and subtitles; return the folder of the library."""
    library = folder / "library"
    commands = Commands(library, ())
    generator = random.Random(7)
    for number in range(VIDEOS):
        video = render(folder / f"video{number}.mp4", sample_events(DURATION_S, 3, seed=number), DURATION_S, seed=number)
        step = DURATION_S / CUES
        cues = [
            f"{i + 1}\n{srt_time(i * step)} --> {srt_time((i + 0.9) * step)}\n{' '.join(generator.choices(WORDS, k=6))}\n"
            for i in range(CUES)
        ]
        video.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")
        commands.read("index", str(video), "--sources", "subtitles,captions")
    commands.read("search", "a circle by the harbour")
    return library


def srt_time(time_s: float) -> str:
    """Return a time as in SRT files."""
    return f"00:00:{int(time_s):02d},{int(time_s * 1000) % 1000:03d}"


def content_of(library: Path) -> dict[str, int]:
    """Return the number of segments of each video."""
    videos = Commands(library, ()).read("list")["videos"]
    return {video["video_id"]: sum(track["segments"] for track in video["tracks"]) for video in videos}


def row(attack: Attack, original: Path, place: Path, generator: random.Random, whole: int) -> str:
    """Damage a copy of the library, run the commands, repair it, and return a row of the table."""
    with mounted(place):
        library = place / "library"
        shutil.copytree(original, library)
        attack.damage(library, generator)
        commands = Commands(library, ())
        with attack.during(place):
            # SQLite deletes a log when it closes the database, so the check comes first.
            check, listing, search = commands.run("check"), commands.run("list"), commands.run("search", "harbour")
            repair = commands.run("check", "--repair")
        after = commands.run("list")
        segment_count = sum(track["segments"] for video in after.document.get("videos", []) for track in video["tracks"])
    findings = check.document.get("findings", [])
    problem = findings[0]["problem"] if findings else check.error if check.status else "nothing is broken"
    repairs = [finding["repaired"] or "not repaired" for finding in repair.document.get("findings", [])]
    outcome = repairs[0] if repairs else repair.error if repair.status else "nothing left to do"
    cells = (
        attack.name,
        _result_text(listing),
        _result_text(search),
        problem,
        outcome,
        f"{segment_count} of {whole}" if not after.status else "none",
    )
    return "| " + " | ".join(_short(cell, library) for cell in cells) + " |"


def _result_text(outcome: Outcome) -> str:
    return f"`{outcome.document['error']['code']}`" if outcome.status else "works"


def _short(text: str, library: Path) -> str:
    """Return a text without what every row has: the path of the library, and the advice."""
    clean = " ".join(text.replace(f"{library}/", "").replace(str(library), "LIBRARY").replace("|", "/").split())
    clean = clean.split(" `longview check`")[0].split(" What it was read from")[0]
    return clean if len(clean) <= MAX_CHARACTERS else clean[: MAX_CHARACTERS - 1] + "…"


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Provide a folder that is a small disk of its own, where this user may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    is_mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        yield
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full_disk(disk: Path) -> Iterator[None]:
    """Fill a disk, and empty it again."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while shutil.disk_usage(disk).free:
                file.write(bytes(PAGE_BYTES))
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only_disk(disk: Path) -> Iterator[None]:
    """Mount a disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def overwrite(path: Path, start: int, content: bytes) -> None:
    """Overwrite a part of a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def damage_page_of(table: str) -> Callable[[Path, random.Random], None]:
    """Return a function that overwrites a page of a table with noise."""

    def damage(library: Path, generator: random.Random) -> None:
        with closing(sqlite3.connect(library / DATABASE)) as db:
            pages = [row[0] for row in db.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,))]
        overwrite(library / DATABASE, (generator.choice(pages) - 1) * PAGE_BYTES, generator.randbytes(PAGE_BYTES))

    return damage


def damage_random_pages(library: Path, generator: random.Random) -> None:
    """Overwrite three pages of the database with noise."""
    for page in generator.sample(range((library / DATABASE).stat().st_size // PAGE_BYTES), 3):
        overwrite(library / DATABASE, page * PAGE_BYTES, generator.randbytes(PAGE_BYTES))


def flip_bits(library: Path, generator: random.Random) -> None:
    """Flip thirty bits of the database."""
    content = bytearray((library / DATABASE).read_bytes())
    for _ in range(30):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    (library / DATABASE).write_bytes(content)


def cut(name: str, share: float) -> Callable[[Path, random.Random], None]:
    """Return a function that cuts a file off."""

    def damage(library: Path, _: random.Random) -> None:
        os.truncate(library / name, int((library / name).stat().st_size * share))

    return damage


def damage_log(library: Path, _: random.Random) -> None:
    """Leave a log of two changes, as a killed process does, and flip a bit in the last one."""
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for title in 'ab': db.execute('UPDATE videos SET title = ?', (title,))\n"
        "os._exit(0)"
    )
    subprocess.run(["python3", "-c", code, str(library / DATABASE)], check=True)
    log = library / (DATABASE + "-wal")
    content = bytearray(log.read_bytes())
    content[-PAGE_BYTES // 2] ^= 1
    log.write_bytes(content)
    (library / (DATABASE + "-shm")).unlink(missing_ok=True)


def set_version(version: int) -> Callable[[Path, random.Random], None]:
    """Return a function that lets the database claim a version."""

    def damage(library: Path, _: random.Random) -> None:
        with closing(sqlite3.connect(library / DATABASE)) as db:
            db.execute(f"PRAGMA user_version = {version}")

    return damage


def delete_trigger(library: Path, _: random.Random) -> None:
    """Delete the trigger that fills the word index."""
    with closing(sqlite3.connect(library / DATABASE)) as db:
        db.execute("DROP TRIGGER passage_added")


def move_to_copy(library: Path, _: random.Random) -> None:
    """Leave only the copy that a migration has made."""
    (library / DATABASE).rename(library / f"{DATABASE}.before-version-{len(MIGRATIONS)}")


def nothing(_: Path, __: random.Random) -> None:
    """Damage nothing."""


ATTACKS = (
    Attack("none", nothing),
    Attack("header (100 bytes of noise)", lambda library, dice: overwrite(library / DATABASE, 0, dice.randbytes(100))),
    Attack("first page, with the schema", lambda library, dice: overwrite(library / DATABASE, 0, dice.randbytes(PAGE_BYTES))),
    *(Attack(f"a page of `{table}`", damage_page_of(table)) for table in ("videos", "tracks", "segments", "passages")),
    Attack("a page of the word index", damage_page_of("passage_terms_data")),
    Attack("three pages at random", damage_random_pages),
    Attack("30 bits at random", flip_bits),
    Attack("database cut to half", cut(DATABASE, 0.5)),
    Attack("database empty", cut(DATABASE, 0.0)),
    Attack("database deleted", lambda library, _: (library / DATABASE).unlink()),
    Attack("database deleted, the copy of a migration is there", move_to_copy),
    Attack("a trigger is missing", delete_trigger),
    Attack("log: last change damaged", damage_log),
    Attack("database of a newer version", set_version(4711)),
    Attack("vectors: 64 bytes of noise", lambda library, dice: overwrite(library / "vectors.faiss", 2000, dice.randbytes(64))),
    Attack("vectors cut to half", cut("vectors.faiss", 0.5)),
    Attack("vectors deleted", lambda library, _: (library / "vectors.faiss").unlink()),
    Attack("label of the vectors cut", cut("vectors.json", 0.5)),
    Attack("disk full", nothing, full_disk),
    Attack("disk full, a log is left", damage_log, full_disk),
    Attack("disk full, a page of `segments`", damage_page_of("segments"), full_disk),
    Attack("disk read-only", nothing, read_only_disk),
    Attack("disk read-only, a page of `segments`", damage_page_of("segments"), read_only_disk),
)


if __name__ == "__main__":
    main()
