"""Names of downloads: the title of the video, and what it is of it, such as source and language, so that players find it."""

import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

from longview.app.files.file_names import DEVICES, times_in_name
from longview.core.sources import source_label
from longview.core.timeline import Span
from longview.indexing.exports import export_format
from longview.indexing.records.video import VideoEntry
from longview.video.language_tags import language_code

MAX_TITLE_BYTES = 180
"""Maximum length of the title in a file name, in bytes of UTF-8. With what follows, it stays below the 255 of file systems."""
_RESERVED = frozenset('<>:"/\\|?*')
"""Characters that a file system may not store in a name."""
_RESERVED_IN_HEADER = frozenset('"\\%')
"""Characters of the plain form of a name that clients read in different ways (RFC 6266, appendix D)."""


def export_name(
    entry: VideoEntry, sources: Sequence[str], format: str, *, language: str | None, version: int | None = None
) -> str:
    """Return the name of an exported file: `Town meeting.speech.en.srt`.

    `language`: the chosen one; otherwise that of a single source, or its main one. `version`: that of an earlier track.
    """
    if language is None and len(sources) == 1:
        track = entry.track(sources[0])
        language = (track.language or next(iter(track.languages), None)) if track else None
    # A user may have stated a language in words.
    code = language_code(language) if language else None
    parts = [_file_title(entry.title), "-".join(source_label(source).replace(" ", "-") for source in sources), code]
    return ".".join(filter(None, (*parts, f"version-{version}" if version else None))) + export_format(format).suffix


def cut_name(title: str, span: Span, suffix: str) -> str:
    """Return the name of a part of a video as a file: `Town meeting 0.01.15.0-0.01.20.0.mp4`."""
    return f"{_file_title(title)} {times_in_name(span)}{suffix}"


def content_disposition(name: str) -> str:
    """Return the header of a download: the name as it is, and in ASCII for clients that read no other (RFC 6266, RFC 5987)."""
    plain = "".join(letter if letter.isascii() and letter not in _RESERVED_IN_HEADER else "_" for letter in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _file_title(title: str) -> str:
    """Return a title as the beginning of a file name on every system: no path, no option, no hidden file and no device."""
    letters = (
        " " if letter in _RESERVED or not letter.isprintable() else letter for letter in unicodedata.normalize("NFC", title)
    )
    text = " ".join("".join(letters).split()).lstrip(".-~ ")
    text = text.encode()[:MAX_TITLE_BYTES].decode(errors="ignore").rstrip(". ")
    return f"_{text}" if text.partition(".")[0].strip().upper() in DEVICES else text or "video"
