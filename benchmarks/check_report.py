"""The report of a check: rows of tables -> one Markdown file that a user can attach to an issue.

The file is written again after every row, under a temporary name that is then renamed, so that a crash keeps what was measured.
This module imports neither torch nor the engine: the process that writes the report must survive those that measure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longview.core.atomic import atomic_write

PASS, FAIL, NOT_RUN = "pass", "FAIL", "not run"
MAX_CELL_CHARACTERS = 400
"""Maximum length of a cell. Errors of CUDA repeat pages of advice."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    cells: tuple[str, ...]
    is_failure: bool = False
    output: str = ""
    """Output of a program, which follows the table."""


@dataclass(frozen=True)
class Section:
    """A table with a title and a text before it."""

    title: str
    columns: tuple[str, ...]
    text: str = ""


def check_row(name: str, is_right: bool, figures: str, output: str = "") -> Row:
    """Make a row of a table of checks: what was checked, whether it is right, and the figures."""
    return Row((name, PASS if is_right else FAIL, figures), is_failure=not is_right, output=output)


def failure_row(name: str, reason: str, columns: int) -> Row:
    """Make a row for what could not be finished, with the reason, in a table of `columns` columns."""
    cells = (name, f"{FAIL}: {reason}") if columns == 2 else (name, FAIL, reason, *[""] * (columns - 3))
    return Row(cells, is_failure=True)


class CheckReport:
    """A report with fixed sections, in a file."""

    def __init__(self, path: Path, title: str, sections: Sequence[Section]) -> None:
        """Write the report without rows, so that a path that cannot be written is noticed before anything is measured.

        Raises:
            OSError: the file cannot be written.
        """
        self.path = path
        self._title = title
        self._rows: dict[Section, list[Row]] = {section: [] for section in sections}
        self._write()

    @property
    def failures(self) -> int:
        """Number of rows that are failures."""
        return sum(row.is_failure for rows in self._rows.values() for row in rows)

    def add(self, section: Section, row: Row) -> None:
        """Append a row to a section, and write the file."""
        self._rows[section].append(row)
        self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as partial:
            partial.write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """Return the whole report."""
        failures = self.failures
        lines = [f"# {self._title}", "", f"{failures} of {sum(map(len, self._rows.values()))} rows failed."]
        for section, rows in self._rows.items():
            lines += ["", f"## {section.title}", *(["", section.text] if section.text else []), ""]
            lines += [line(section.columns), "|---" * len(section.columns) + "|"]
            lines += [line(row.cells) for row in rows] or [line((NOT_RUN, *[""] * (len(section.columns) - 1)))]
            for row in rows:
                if row.output:
                    lines += ["", f"Output of {row.cells[0]}:", "", *_indent(row.output)]
        # A report is published; the name of the user is not part of it.
        return "\n".join([*lines, ""]).replace(str(Path.home()), "~")


def line(cells: Sequence[str]) -> str:
    """Format one line of a table."""
    flat = (" ".join(_printable(cell).split()).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(_shorten(cell) for cell in flat) + " |"


def _shorten(cell: str) -> str:
    return cell if len(cell) <= MAX_CELL_CHARACTERS else cell[: MAX_CELL_CHARACTERS - 1] + "…"


def _indent(output: str) -> list[str]:
    # An indented block, because an output may contain fences.
    return [f"    {_printable(text)}" for text in output.splitlines()]


def _printable(text: str) -> str:
    """Replace control characters, which a model may write and a viewer of Markdown may not show."""
    return "".join(character if character.isprintable() else " " for character in text)


def number(value: float) -> str:
    """Format a small positive number with two digits."""
    return f"{value:.2g}" if math.isfinite(value) else str(value)
