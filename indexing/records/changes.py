"""What has changed in a library, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Revision:
    """The state of a library after a change."""

    file_number: int
    """Number of the database file: the numbers of the changes of another database mean nothing."""
    number: int
    """Number of the last change; 0 if there was none."""


@dataclass(frozen=True)
class LibraryChanges:
    """What has changed since a revision, as the ids of the videos. One may be gone, or not in the library yet."""

    revision: Revision
    """The state with these changes."""
    videos: frozenset[str] = frozenset()
    """Videos of which something else has changed than the position."""
    positions: frozenset[str] = frozenset()
    """Videos of which the time has changed at which somebody stopped watching."""
    conversations: frozenset[str] = frozenset()
    """Videos about which something was asked or cleared."""
