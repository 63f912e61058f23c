"""What is measured once on this machine, in one file of its cache folder: named numbers, for each key.

The file can be deleted at any time, and every process writes to it. What it holds is checked when it is read; whatever cannot be
used counts as not measured.
"""

import json
import logging
import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longview.core.atomic import atomic_write

log = logging.getLogger(__name__)

SPEEDS_FILE = "speeds.json"
TIME_NAME = "measured_at"
"""Name of the time of a measurement among its numbers."""
MAX_FILE_BYTES = 1 << 20
"""Maximum size of the file, in bytes. One measurement takes about 200."""


def load_measurement(cache: Path | None, key: str) -> dict[str, float] | None:
    """Return the finite numbers that were measured before; None without them, or if the file cannot be used."""
    entry = _read(cache).get(key) if cache is not None else None
    if not isinstance(entry, dict):
        return None
    entry = {name: value for name, value in entry.items() if name != TIME_NAME}
    try:
        # In Python, true and false are numbers, too.
        values = {name: value for name, value in entry.items() if isinstance(value, int | float) and not isinstance(value, bool)}
        numbers = {name: float(value) for name, value in values.items()}
    except OverflowError:
        return None
    return numbers if len(numbers) == len(entry) and all(map(math.isfinite, numbers.values())) else None


def measured_at(cache: Path | None, key: str) -> datetime | None:
    """Return when something was measured, in UTC; None if it was not, or by a version that did not note the time."""
    entry = _read(cache).get(key) if cache is not None else None
    text = entry.get(TIME_NAME) if isinstance(entry, dict) else None
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        return time.astimezone(UTC) if time else None
    except (ValueError, OverflowError):
        return None


def save_measurement(cache: Path | None, key: str, numbers: Mapping[str, float]) -> None:
    """Keep a measurement for later processes. A cache that cannot be written is not an error: the next process measures again."""
    if cache is None:
        return
    entry = dict(numbers) | {TIME_NAME: datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(cache / SPEEDS_FILE) as temporary_path:
            temporary_path.write_text(json.dumps(_read(cache) | {key: entry}, indent=1), encoding="utf-8")
    except OSError as error:
        log.info("cannot keep what was measured in %s: %s", cache, error)


def _read(cache: Path) -> dict[str, Any]:
    """Read the file; {} if it cannot be used."""
    try:
        with (cache / SPEEDS_FILE).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        document = json.loads(content) if len(content) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def processor_name() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
