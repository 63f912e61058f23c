"""Errors of the library. Each message states the problem and what the user can do."""


class LibraryError(Exception):
    """Base of all errors of `indexing`. `code` is stable and meant for programs."""

    code = "library_error"


class UnknownVideo(LibraryError):
    """No video of the library has this id."""

    code = "unknown_video"


class AmbiguousVideo(LibraryError):
    """Several ids of the library have this prefix."""

    code = "ambiguous_video"


class TrackChanged(LibraryError):
    """Another run writes the same track at the same time."""

    code = "track_changed"


class UnknownVersion(LibraryError):
    """No track of this video has this number."""

    code = "unknown_version"


class LibraryUnusable(LibraryError):
    """The library's folder or database cannot be read or written."""

    code = "library_unusable"


class ExportNotPossible(LibraryError):
    """The chosen format cannot represent what should be exported."""

    code = "export_not_possible"
