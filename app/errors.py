"""Errors of the application, and the list of all expected errors: each has a code and a sentence for the user."""

from longview.indexing.errors import LibraryError
from longview.model.errors import ModelError
from longview.video.errors import VideoError


class AppError(Exception):
    """Base of all errors of `app`. `code` is stable and meant for programs, and `http_status` that of a web reply."""

    code = "app_error"
    http_status = 400


class BadRequest(AppError):
    """A request with a value that is invalid or missing."""

    code = "bad_request"


class VideoGone(AppError):
    """A video of the library whose file was moved, deleted or changed."""

    code = "video_gone"
    http_status = 404


class JobStopped(AppError):
    """A job of the queue that somebody has cancelled or paused."""

    code = "job_stopped"


class BackupUnusable(AppError):
    """A back-up that is damaged, is none, or was written by a newer version."""

    code = "backup_unusable"


class NoSpace(AppError):
    """The disk is full."""

    code = "no_space"
    http_status = 507


class ServerBusy(AppError):
    """A server that has as much to do as it accepts."""

    code = "server_busy"
    http_status = 503


class UnknownUpload(AppError):
    """An upload that was never begun, that was given up, or that has expired."""

    code = "unknown_upload"
    http_status = 404


class UnknownCut(AppError):
    """A cut that was never begun, that was removed, or that has expired."""

    code = "unknown_cut"
    http_status = 404


class UploadConflict(AppError):
    """A request that contradicts what has arrived of an upload."""

    code = "upload_conflict"
    http_status = 409


class UploadIncomplete(UploadConflict):
    """An upload whose parts have not all arrived."""

    code = "upload_incomplete"


class UploadDamaged(AppError):
    """Bytes of an upload that are not those that were sent."""

    code = "upload_damaged"
    http_status = 422


class UnsupportedFile(AppError):
    """An upload whose name is not that of a video or sound file."""

    code = "unsupported_file"
    http_status = 415


class TooManyUploads(AppError):
    """More unfinished uploads than a server keeps."""

    code = "too_many_uploads"
    http_status = 429


class OutputFailed(AppError):
    """Stdout cannot be written: its disk is full, or it is closed."""

    code = "output_failed"


class PortBusy(AppError):
    """A port on which another program listens."""

    code = "port_busy"


class SourceFault(AppError):
    """A source of evidence that failed with an error that it does not expect."""

    code = "source_fault"


EXPECTED_ERRORS = (AppError, VideoError, ModelError, LibraryError)
"""Their messages say what is wrong and what to do; any other exception is a bug."""
