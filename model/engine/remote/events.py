"""What a server streams, as events: pieces of text and thoughts, and the reason of the end. What it sends is checked here."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReplyEvent:
    """One piece of a streamed reply."""

    text: str = ""
    thoughts: str = ""
    """Thoughts that the server separates from the reply."""
    finish_reason: str | None = None
    """`stop`: the model ended its reply. `length`: the token limit did. Only the last pieces have one."""
    prompt_tokens: int | None = None
    """Number of tokens of the prompt, as the server counted them; most servers report it with the last piece."""
    error: str | None = None
    """The server's text of an error that ended the reply."""


def as_text(value: Any) -> str:
    """Return a text of a server; "" for what is none."""
    return value if isinstance(value, str) else ""


def as_name(value: Any) -> str | None:
    """Return a name that a server states; None for what is none."""
    return value if isinstance(value, str) and value else None


def last_part(path: str | None) -> str:
    """Return the last part of an absolute path, because the same weights may lie elsewhere on another machine; else the text."""
    return (path or "").rstrip("/").rpartition("/")[2] if path and path.startswith("/") else path or ""


def as_count(value: Any) -> int | None:
    """Return a count that a server states; None for what is none."""
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return int(value) if is_count else None


def as_table(value: Any) -> dict[str, Any]:
    """Return a JSON object of a server; {} for what is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON list of a server; [] for what is none."""
    return value if isinstance(value, list) else []
