"""Errors about video files. Each message states the problem and what the file's owner can do."""


class VideoError(Exception):
    """Base class of all errors of `video`. `code` is stable and meant for programs, and `http_status` that of a web reply."""

    code = "video_error"
    http_status = 422


class VideoNotFound(VideoError):
    """No file that may be opened exists at the path."""

    code = "not_found"
    http_status = 404


class NotAVideo(VideoError):
    """The file exists but contains no video or sound that may be opened."""

    code = "not_a_video"


class TooLarge(VideoError):
    """The file exceeds the limits, by its size or by what its header declares."""

    code = "too_large"
    http_status = 413


class UnreadableVideo(VideoError):
    """The file contains a video or sound that cannot be decoded."""

    code = "unreadable_video"


class DecoderDied(UnreadableVideo):
    """The decoding process hung, crashed or exceeded its limits, and was terminated."""

    code = "decoder_died"


class UnreadableSubtitles(VideoError):
    """The file or stream contains no subtitles, or no transcript, that can be read."""

    code = "unreadable_subtitles"


class ImpossiblePlan(VideoError):
    """The options of a sampling plan contradict each other, the video or the token budget."""

    code = "impossible_plan"
    http_status = 400


class ContextTooShort(ImpossiblePlan):
    """The shortest window does not fit into the context."""


class NoFrames(VideoError):
    """The file has sound but no pictures, and the operation needs frames."""

    code = "no_frames"


class NoSuchTrack(VideoError):
    """The file has no audio or subtitle track that the choice names."""

    code = "no_such_track"


class FFmpegFailed(VideoError):
    """The ffmpeg program failed or rejected its arguments."""

    code = "ffmpeg_failed"
