"""What can go wrong with a library, each as a sentence its owner can act on."""


class LibraryError(Exception):
    """Base of all errors of `indexing`. `code` is stable and meant for programs."""

    code = "library_error"


class UnknownVideo(LibraryError):
    """No video of the library has that id."""

    code = "unknown_video"


class AmbiguousVideo(LibraryError):
    """Several videos' ids begin like that."""

    code = "ambiguous_video"


class LibraryUnusable(LibraryError):
    """The library's folder or database cannot be read or written."""

    code = "library_unusable"
