"""Names of videos: which video a person means by an id, a title, the name of a file, or the beginning of an id or a title."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from longview.app.errors import BadRequest
from longview.indexing.errors import AmbiguousVideo

MAX_TITLE_CHARS = 300
"""Maximum length of a title that a person gives, in characters."""
MAX_CANDIDATES = 8
"""Maximum number of videos that an error about an ambiguous name lists."""
MAX_SHOWN_CHARS = 80
"""Maximum length of a title or a reference in such an error, in characters."""


class Named(Protocol):
    """A video with its names: one of the library, or one that was removed."""

    @property
    def video_id(self) -> str:
        """The id."""

    @property
    def title(self) -> str:
        """The title, which another video may have, too."""

    @property
    def path(self) -> Path:
        """The path of the file."""


N = TypeVar("N", bound=Named)


def with_id(reference: str, videos: Iterable[N]) -> N | None:
    """Return the video with this whole id; None if there is none."""
    video_id = _key(reference)
    return next((video for video in videos if video.video_id == video_id), None)


def with_title(reference: str, videos: Sequence[N]) -> N | None:
    """Return the only video with this title, or else the only one whose file has this name; None if there is none.

    Case does not matter, nor how accents and Hangul are encoded: macOS decomposes them in the names of files.

    Raises:
        AmbiguousVideo: several videos have it.
    """
    key = _key(reference)
    if not key:
        return None
    matches = [video for video in videos if _key(video.title) == key]
    return _only(reference, matches or [video for video in videos if _key(_file_name(video)) == key])


def with_beginning(reference: str, videos: Sequence[N]) -> N | None:
    """Return the only video whose id or title begins like this; None if there is none.

    A short text, such as a year, may by chance be the beginning of the id of another video. That is an error, and no guess.

    Raises:
        AmbiguousVideo: several videos begin like this.
    """
    key = _key(reference)
    if not key:
        return None
    return _only(reference, [video for video in videos if video.video_id.startswith(key) or _key(video.title).startswith(key)])


_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))


def is_same_title(one: str, other: str) -> bool:
    """Whether two titles name the same videos."""
    return _key(one) == _key(other)


def checked_title(title: str) -> str:
    """Return a title as the library stores it: in composed Unicode, and without spaces around it.

    Raises:
        BadRequest: it is empty or too long, or has characters that cannot be printed.
    """
    # Spaces of other widths, as French and Japanese have, are spaces; emoji and Persian have joiners.
    spaced = (" " if unicodedata.category(letter) == "Zs" else letter for letter in unicodedata.normalize("NFC", title))
    title = "".join(spaced).strip()
    if not title:
        raise BadRequest("The title is empty; write one of at least one character.")
    if not title.translate(_JOINERS).isprintable():
        raise BadRequest("The title has characters that cannot be printed, such as line breaks; leave them out.")
    if len(title) > MAX_TITLE_CHARS:
        raise BadRequest(f"The title has {len(title):,} characters; at most {MAX_TITLE_CHARS} are allowed.")
    return title


def shortened(text: str) -> str:
    """Return the beginning of a long title or reference, for a message."""
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1].rstrip() + "…"


def _only(reference: str, videos: Sequence[N]) -> N | None:
    if len(videos) < 2:
        return videos[0] if videos else None
    candidates = [f"{shortened(video.title)} ({video.video_id}, {video.path})" for video in videos[:MAX_CANDIDATES]]
    more = [f"and {len(videos) - MAX_CANDIDATES:,} more"] if len(videos) > MAX_CANDIDATES else []
    raise AmbiguousVideo(
        f"“{shortened(reference)}” names {len(videos):,} videos: {'; '.join([*candidates, *more])}. Write the id of one of them."
    )


def _key(text: str) -> str:
    """Return a text in the form in which names are compared (canonical caseless matching, Unicode 3.13)."""
    folded_text = unicodedata.normalize("NFD", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded_text).split())


def _file_name(video: Named) -> str:
    # The library's own copies of uploads are called ID-NAME.
    return video.path.name.removeprefix(f"{video.video_id}-")
