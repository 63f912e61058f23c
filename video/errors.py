"""What can go wrong with a video file, each as a sentence its owner can act on."""


class VideoError(Exception):
    """Base of all errors of `video`. `code` is stable and meant for programs."""

    code = "video_error"


class VideoNotFound(VideoError):
    """There is no file at that path."""

    code = "not_found"


class NotAVideo(VideoError):
    """The file exists but holds no video that may be opened."""

    code = "not_a_video"


class TooLarge(VideoError):
    """The file claims to be larger than the limits allow."""

    code = "too_large"


class UnreadableVideo(VideoError):
    """The file says it is a video, but its frames cannot be decoded."""

    code = "unreadable_video"


class DecoderDied(UnreadableVideo):
    """The process that decoded the file hung, crashed or took too much, and was stopped."""

    code = "decoder_died"


class ImpossiblePlan(VideoError):
    """The wishes for a sampling plan contradict each other, the video or the budget."""

    code = "impossible_plan"


class FFmpegFailed(VideoError):
    """ffmpeg is missing or refused to do what was asked."""

    code = "ffmpeg_failed"
