"""Names of files that users pass in, and of those that are written for them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longview.app.errors import BadRequest, NoSpace
from longview.core.atomic import FULL_DISK_ERRORS
from longview.core.time_format import format_time
from longview.core.timeline import Span

MAX_ID_CHARACTERS = 40
"""Maximum length of a reference that may be an id: the number of digits of a content hash."""
MAX_NAME_BYTES = 255
"""Maximum length of the name of a file in usual file systems, in bytes."""
DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{kind}{number}" for kind in ("COM", "LPT") for number in range(10))})
"""Names that Windows takes for devices, whatever follows after a dot."""
_UNSAFE_IN_STEM = re.compile(r"[^\w.-]++")
_UNSAFE_IN_SUFFIX = re.compile(r"[^\w.]++")


def require_utf8(path: Path) -> None:
    """Check that the library can store a path.

    Raises:
        BadRequest: it is not valid UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        printable = str(path).encode(errors="replace").decode()
        raise BadRequest(
            f"The name of {printable} is not valid UTF-8, so the library cannot store it; rename the file."
        ) from error


def require_sent_name(name: str) -> None:
    """Check the name of a file that a client sends.

    Raises:
        BadRequest: no file can have it.
    """
    try:
        is_name = 0 < len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        is_name = False
    # Control characters would change what terminals and logs show.
    if not is_name or Path(name).name != name or any(ord(character) < ord(" ") or character == "\x7f" for character in name):
        raise BadRequest(
            f"The name of a file has at most {MAX_NAME_BYTES} bytes, no slash and no control characters; rename the file."
        )


def is_file_name(reference: str) -> bool:
    """Whether a reference names an existing file, and not a library entry."""
    try:
        return Path(reference).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def is_path(reference: str) -> bool:
    """Whether a reference without a file is a path: an id is short and has neither slash nor dot."""
    has_separator = "/" in reference or os.sep in reference
    return has_separator or bool(Path(reference).suffix) or len(reference) > MAX_ID_CHARACTERS or Path(reference).is_symlink()


def new_target(target: Path, suffixes: frozenset[str]) -> Path:
    """Return the path of a file that is to be written and does not exist.

    Raises:
        BadRequest: it exists, or its suffix is none of these. NoSpace: the disk is full.
    """
    target = target.expanduser()
    if target.suffix.lower() not in suffixes:
        kinds = " ".join(sorted(suffixes))
        raise BadRequest(f"{target.name} does not have a suffix that can be written here; use one of {kinds}.")
    with write_errors(target):
        if target.exists():
            raise BadRequest(f"{target} already exists and was not overwritten; choose another name.")
    return target


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn the errors of the operating system while a file is written into expected errors.

    Raises:
        NoSpace: the disk is full. BadRequest: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK_ERRORS:
            raise NoSpace(f"The disk is full: there is no space for {target}; delete other files.") from error
        raise BadRequest(f"{target} cannot be written: {error.strerror}.") from error


def safe_name(name: str) -> str:
    """Return a file name without characters that mean something to a file system or a shell, at most 80 characters long."""
    stem, suffix = Path(name).stem, Path(name).suffix
    clean = _UNSAFE_IN_STEM.sub("_", stem).strip("._-")[:60] or "video"
    return clean + _UNSAFE_IN_SUFFIX.sub("", suffix)[:12].lower()


def times_in_name(span: Span) -> str:
    """Return a span as part of a file name, without the colons that some file systems refuse: `0.01.15.0-0.01.20.0`."""
    return f"{format_time(span.start_s)}-{format_time(span.end_s)}".replace(":", ".")
