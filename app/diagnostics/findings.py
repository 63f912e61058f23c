"""Findings of a check."""

from dataclasses import dataclass
from typing import Literal

Area = Literal["database", "vectors", "caches", "weights", "originals"]


@dataclass(frozen=True)
class Finding:
    """Something that is broken."""

    area: Area
    problem: str
    """What is broken, as a sentence."""
    advice: str
    """What is lost, what can be rebuilt, and what to do, as sentences."""
    is_repairable: bool = False
    repaired: str | None = None
    """What was done about it; None: it is still broken."""
    code: str = ""
    """Code of the error that was found; "": it was found without one."""
