"""Errors of the library. Each message states the problem and what the user can do."""


class LibraryError(Exception):
    """Base of all errors of `indexing`. `code` is stable and meant for programs, and `http_status` that of a web reply."""

    code = "library_error"
    http_status = 400


class InvalidCursor(LibraryError):
    """The name of a page of a list that belongs to another list, or to none."""

    code = "invalid_cursor"


class UnknownVideo(LibraryError):
    """No video of the library has this id."""

    code = "unknown_video"
    http_status = 404


class AmbiguousVideo(LibraryError):
    """Several ids of the library have this prefix."""

    code = "ambiguous_video"
    http_status = 409


class TrackChanged(LibraryError):
    """Another run writes the same track at the same time."""

    code = "track_changed"
    http_status = 409


class SegmentsOutside(LibraryError):
    """A source has found segments outside of the video."""

    code = "segments_outside"


class UnknownVersion(LibraryError):
    """No track of this video has this number."""

    code = "unknown_version"
    http_status = 404


class UnknownJob(LibraryError):
    """The queue has no job with this number."""

    code = "unknown_job"
    http_status = 404


class NothingCleared(LibraryError):
    """No conversation about this video was cleared, or longer than a day ago."""

    code = "nothing_cleared"
    http_status = 404


class LibraryUnusable(LibraryError):
    """The library's folder or database cannot be read or written."""

    code = "library_unusable"
    http_status = 503


class LibraryFull(LibraryUnusable):
    """The disk of the library is full."""

    code = "no_space"
    http_status = 507


class LibraryReadOnly(LibraryUnusable):
    """The library can be read, and not written."""

    code = "library_read_only"


class LibraryDamaged(LibraryUnusable):
    """The library's database is damaged, or it is missing where other files of the library show that there was one."""

    code = "library_damaged"


class InvalidEncoder(LibraryError):
    """The weights of the sentence encoder are missing or damaged."""

    code = "invalid_encoder"
    http_status = 503


class ExportNotPossible(LibraryError):
    """The chosen format cannot represent what should be exported."""

    code = "export_not_possible"
    http_status = 400


class NothingToExport(ExportNotPossible):
    """There is nothing to export, or no such format."""

    http_status = 404
