"""What lies in a library folder beside a database that cannot be used."""

import json
from pathlib import Path

from longview.indexing.errors import LibraryDamaged
from longview.indexing.library_files import BACKUPS, INDEX_FILE, UPLOADS

EMPTY_VECTORS_BYTES = 256
"""Maximum size of a file of vectors without a vector, in bytes."""


def remains(path: Path) -> list[str]:
    """Return what in the folder of a database shows that it had content: vectors, a log, copies and uploads, as text."""
    folder, facts = path.parent, []
    vectors = folder / INDEX_FILE
    if count := vector_count(vectors):
        facts.append(f"{vectors} has the vectors of {count} passages")
    elif count is None:
        facts.append(f"{vectors} has vectors")
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        facts.append(f"{log} has changes of it")
    facts += [f"{copy} is a copy of it" for copy in copies(path)]
    for name, what in ((BACKUPS, "back-ups"), (UPLOADS, "uploaded videos")):
        if (folder / name).is_dir() and any((folder / name).iterdir()):
            facts.append(f"{folder / name} has {what}")
    return facts


def copies(path: Path) -> list[Path]:
    """Return the copies that a migration, a repair or a restore has kept of a database, the newest first."""
    problems = [
        copy
        for kind in ("before-version-", "damaged-", "before-restore-")
        for copy in path.parent.glob(f"{path.name}.{kind}*")
        if not copy.name.endswith(("-wal", "-shm", "-journal"))
    ]
    return sorted(problems, key=lambda copy: copy.stat().st_mtime, reverse=True)


def vector_count(vectors: Path) -> int | None:
    """Return the number of vectors of a library; None if there are some, and it cannot be read how many."""
    if not vectors.exists():
        return 0
    try:
        return len(json.loads(vectors.with_suffix(".json").read_text(encoding="utf-8"))["texts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None if vectors.stat().st_size > EMPTY_VECTORS_BYTES else 0


def lost_library(path: Path, facts: list[str]) -> LibraryDamaged:
    """Return the error of a database that is missing or empty beside what shows that it had content."""
    state = "empty (0 bytes)" if path.exists() else "missing"
    advice = "Put the database or a back-up of it back."
    log = path.with_name(path.name + "-wal")
    if copies(path) or (log.exists() and log.stat().st_size):
        advice += f" `longview check --repair` restores what the {'copy' if copies(path) else 'log'} has."
    return LibraryDamaged(
        f"The database {path} of the library is {state}, but {', and '.join(facts)}. Nothing was overwritten. {advice} "
        "To begin a new library instead, move these files away, and index the videos again."
    )
