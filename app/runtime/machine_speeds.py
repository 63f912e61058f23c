"""How fast this machine has done each kind of work: numbers that finished runs leave in one file of the machine's cache.

Each is the ratio of a measured time to that on the machine of reference, two x86-64 cores with AVX-512, or the share of the runs
in which something happened. Both are weighted towards the last runs. The file can be deleted at any time; whatever cannot be used
of it counts as not learnt, and a file that cannot be written is not an error.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, TypeAdapter, with_config

from longview.core.atomic import atomic_write
from longview.model.engine.costs.machine_cache import processor_name

log = logging.getLogger(__name__)

FILE = "work_speeds.json"
MAX_DIGITS = 6
"""Digits from which a number of threads is none."""
MAX_FILE_BYTES = 1 << 20
"""Maximum size of the file that is read, in bytes."""
MAX_ENTRIES = 500
"""Maximum number of values in the file; those that were learnt first are left out. One takes about 200 bytes."""
MAX_NAME_CHARACTERS = 400
LOCK_TIMEOUT_S = 2.0
"""Maximum time that a run waits for another one that writes the file, in seconds. Without the lock nothing is learnt from it."""
DEFAULT_WEIGHT = 1.0
"""Weight of the value that holds before anything was learnt."""
OLD_SHARE = 0.5
"""Share of the weight of all earlier runs that is left after a new one."""
MAX_WEIGHT = 1000.0
"""Maximum weight of the earlier runs together."""
MAX_RATIO = 50.0
"""Maximum factor between this machine and that of reference; what is further away was not measured rightly."""
MACHINE = "machine"
"""Name of the ratio of all work on the CPU."""


@with_config(ConfigDict(strict=True, extra="ignore", allow_inf_nan=False))
@dataclass(frozen=True)
class _Entry:
    """A value that was learnt."""

    value: Annotated[float, Field(ge=0.0, le=MAX_RATIO)]
    weight: Annotated[float, Field(gt=0.0, le=MAX_WEIGHT)]
    learnt_at: Annotated[str, Field(max_length=40)] = ""
    """Time of the last run, as ISO 8601 in UTC."""


_ENTRY = TypeAdapter(_Entry)


class MachineSpeeds:
    """The speeds of this machine. Safe for several threads and processes."""

    def __init__(self, cache: Path, *, threads: int | None = None) -> None:
        """`cache`: the cache folder of the machine, which need not exist. `threads`: CPU threads of the models, if set."""
        self._path = cache / FILE
        self.cores = os.cpu_count() or 1
        self.threads = threads or _threads_of_environment()
        """CPU threads of the models; None: each library chooses."""
        self._machine = f"{processor_name()} | {self.cores} cores" + (f" | {self.threads} threads" if self.threads else "")

    def ratio(self, name: str, default: float | None = None, *, default_weight: float = DEFAULT_WEIGHT) -> float:
        """Return how much longer a kind of work takes here than on the machine of reference.

        Before it was learnt it is `default`, or what other work on the CPU has told of the machine.
        `default_weight`: weight of the default next to what was learnt, in seconds on the machine of reference.
        """
        return self._value(f"{name} | ratio", self.machine_ratio if default is None else default, default_weight)

    @property
    def machine_ratio(self) -> float:
        """How much longer work on the CPU takes here than on the machine of reference, by all that was learnt."""
        return self._value(f"{MACHINE} | ratio", 1.0)

    def knows(self, name: str) -> bool:
        """Whether a ratio was learnt under a name."""
        return self._key(f"{name} | ratio") in self._read()

    def learn_ratio(self, name: str, measured_s: float, reference_s: float, *, cpu_ratio: float | None = None) -> None:
        """Keep what a run took, and what it would take on the machine of reference, in seconds. Short runs count less.

        `cpu_ratio`: for work on the CPU, the ratio of a machine as fast as that of reference with as many threads. Such a run
        tells how long other work takes here, too.
        """
        if reference_s > 0.0 and 1 / MAX_RATIO <= measured_s / reference_s <= MAX_RATIO:
            self._learn(f"{name} | ratio", measured_s / reference_s, reference_s)
            if cpu_ratio is not None:
                self._learn(f"{MACHINE} | ratio", measured_s / reference_s / cpu_ratio, reference_s)

    def share(self, name: str, default: float) -> float:
        """Return in how many runs something happens, from 0 to 1. `default`: see `DEFAULT_WEIGHT`."""
        return min(1.0, self._value(f"{name} | share", default))

    def learn_share(self, name: str, *, happened: bool) -> None:
        """Keep whether something happened in a run."""
        self._learn(f"{name} | share", float(happened), 1.0)

    def _value(self, name: str, default: float, default_weight: float = DEFAULT_WEIGHT) -> float:
        entry = self._read().get(self._key(name))
        if entry is None:
            return default
        return (default * default_weight + entry.value * entry.weight) / (default_weight + entry.weight)

    def _learn(self, name: str, value: float, weight: float) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._path}.lock", timeout=LOCK_TIMEOUT_S):
                entries = self._read()
                key = self._key(name)
                entries[key] = _join(entries.pop(key, None), value, min(weight, MAX_WEIGHT / 2))
                newest = dict(list(entries.items())[-MAX_ENTRIES:])
                with atomic_write(self._path) as temporary_path:
                    document = {key: asdict(entry) for key, entry in newest.items()}
                    temporary_path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        # `filelock` raises the last one on systems whose files have no locks.
        except (OSError, Timeout, NotImplementedError) as error:
            log.info("cannot keep what was learnt in %s: %s", self._path, error)

    def _key(self, name: str) -> str:
        return f"{self._machine} | {name}"[:MAX_NAME_CHARACTERS]

    def _read(self) -> dict[str, _Entry]:
        """Return the valid entries of the file, those that were learnt last at the end."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            document: Any = json.loads(content) if len(content) <= MAX_FILE_BYTES else None
        except (OSError, ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return {}
        entries: dict[str, _Entry] = {}
        for key, fields in document.items():
            try:
                entries[key] = _ENTRY.validate_json(json.dumps(fields))
            except (ValueError, RecursionError):
                continue
        return entries


def _threads_of_environment() -> int | None:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and 0 < len(text) < MAX_DIGITS and int(text) else None


def _join(earlier: _Entry | None, value: float, weight: float) -> _Entry:
    """Join a new value with the earlier ones."""
    learnt_at = datetime.now(UTC).isoformat(timespec="seconds")
    if earlier is None:
        return _Entry(value, weight, learnt_at)
    old_weight = earlier.weight * OLD_SHARE
    total = old_weight + weight
    return _Entry((earlier.value * old_weight + value * weight) / total, min(total, MAX_WEIGHT), learnt_at)
