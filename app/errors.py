"""Errors of the application itself, and what all expected errors have in common: a code and a sentence for the user."""

from longview.indexing.errors import LibraryError
from longview.model.errors import ModelError
from longview.video.errors import VideoError


class AppError(Exception):
    """Base of all errors of `app`. `code` is stable and meant for programs."""

    code = "app_error"


class BadRequest(AppError):
    """What was asked for makes no sense as it stands."""

    code = "bad_request"


class VideoGone(AppError):
    """A video of the library whose original was moved, deleted or changed."""

    code = "video_gone"


class NoSpace(AppError):
    """The disk is full."""

    code = "no_space"


class PortBusy(AppError):
    """Another program listens on the port."""

    code = "port_busy"


EXPECTED_ERRORS = (AppError, VideoError, ModelError, LibraryError)
"""Each says in its message what is wrong and what to do; anything else is a mistake of ours."""
