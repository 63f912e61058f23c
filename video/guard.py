"""Which files may be opened: local, regular, not empty, and in a container that only holds its own data."""

import stat
from pathlib import Path

from video.errors import NotAVideo, VideoNotFound

PROTOCOLS = "file"
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,mxf,ivf,h264,hevc,mpegvideo,m4v,dv,nut,live_flv"
"""FFmpeg demuxers that may be used. Playlists, concat scripts, SDP and image globs reach other files or hosts,
and `tty` shows any text as a picture, so they are refused even under a video's name."""
DEMUXER_OPTIONS = {"protocol_whitelist": PROTOCOLS, "format_whitelist": CONTAINERS}


def checked_path(path: Path | str) -> Path:
    """The absolute, resolved path of a local regular file that is not empty.

    Raises:
        VideoNotFound: there is nothing there, or it may not be read.
        NotAVideo: it is a folder, a device, or empty.
    """
    text = str(path)
    if "\0" in text:
        raise VideoNotFound("A file name cannot contain a NUL character.")
    try:
        resolved = Path(text).expanduser().resolve()
        status = resolved.stat()
    except FileNotFoundError as error:
        raise VideoNotFound(f"There is no file at {text}.") from error
    except (OSError, RuntimeError) as error:
        raise VideoNotFound(f"{text} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise NotAVideo(f"{text} is a folder; name the video files inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise NotAVideo(f"{text} is not a regular file.")
    if status.st_size == 0:
        raise NotAVideo(f"{text} is empty.")
    try:
        with resolved.open("rb"):
            pass
    except OSError as error:
        raise VideoNotFound(f"{text} cannot be read: {error.strerror}.") from error
    return resolved


def demuxer_url(path: Path) -> str:
    """The path as FFmpeg should get it, so that no file name is taken for an option or another protocol."""
    return f"file:{path}"
