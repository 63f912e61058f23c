"""Checks of untrusted files: only local regular files in self-contained containers, within the limits, are opened."""

import errno
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from longview.video.errors import NotAVideo, TooLarge, VideoNotFound

PROTOCOLS = "file"
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,mxf,ivf,h264,hevc,mpegvideo,m4v,dv,nut,live_flv,mp3,wav,flac,aac"
"""Names of the FFmpeg demuxers that may be used; the last four are for files with only sound. Playlists, concat scripts, SDP and
image globs reach other files or hosts, and `tty` renders any text as video, so they are refused under any file name."""
CODECS = (
    "h264,hevc,vvc,av1,vp8,vp9,vp6,vp6f,vp6a,mpeg1video,mpeg2video,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4v3,wmv1,wmv2,"
    "wmv3,vc1,h263,flv1,theora,prores,dnxhd,mjpeg,mjpegb,dvvideo,ffv1,huffyuv,ffvhuff,utvideo,rawvideo,v210,cinepak,"
    "svq1,svq3,rv30,rv40,qtrle,gif,cfhd,hap,png"
)
"""Codecs that may be decoded, by FFmpeg's canonical names: those that cameras, editors and websites write. The hundreds of
others are mostly game and fax formats, whose decoders get little review."""
DECODERS = (
    "libdav1d,av1,flv,msmpeg4,aac,aac_latm,mp1,mp2,mp2float,mp3,mp3float,ac3,eac3,dca,dts,truehd,opus,libopus,vorbis,"
    "flac,alac,wmav1,wmav2,wmapro,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_u8,"
    "pcm_s8,pcm_mulaw,pcm_alaw,pcm_bluray,pcm_dvd,adpcm_ima_wav,adpcm_ima_qt,adpcm_ms,adpcm_swf,adpcm_yamaha,nellymoser,"
    "speex,amrnb,amrwb,amr_nb,amr_wb,cook,gsm,gsm_ms,qdm2,mace3,mace6"
)
"""Further decoders that FFmpeg may start while it opens a file, beside those with the names of `CODECS`. If FFmpeg cannot
decode the audio, it reads ahead for seconds of video."""
DEMUXER_OPTIONS = {
    "protocol_whitelist": PROTOCOLS,
    "format_whitelist": CONTAINERS,
    "codec_whitelist": f"{CODECS},{DECODERS}",
}
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts"),
    *(".mpg", ".mpeg", ".flv", ".ogv", ".gif", ".wmv", ".mxf"),
)
"""Usual suffixes of video files in `CONTAINERS`, in lower case. They are for the selection of files; a file is opened by its
content."""
SOUND_SUFFIXES = (".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".aac", ".wma")
"""Usual suffixes of files with only sound, in lower case."""
MEDIA_SUFFIXES = VIDEO_SUFFIXES + SOUND_SUFFIXES
"""Usual suffixes of all files that can be indexed, in lower case."""
ADDRESS_SLASHES = re.compile(r":/++")
WEB_ADDRESS = re.compile(r"(https?|ftps?|rtsp|rtmp):/", re.IGNORECASE)
SHOWN_CHARACTERS = 60
"""Maximum number of characters of a path that is too long in a message."""


@dataclass(frozen=True)
class Limits:
    """Limits on the size of a video and on the resources of its decoding process."""

    folders: tuple[Path, ...] = ()
    """Folders whose files may be opened; if empty, any readable local file may be."""
    size_bytes: int = 1 << 40
    pixels: int = 8192 * 8192
    """Maximum width times height, as stored and as displayed; a file of 700 KB can declare 16000x16000 pixels."""
    frames: int = 10_000_000
    duration_s: float = 48 * 3600.0
    memory_bytes: int = 4 << 30
    """Maximum address space of a decoding process, in bytes; 8K video needs about 2 GiB."""
    stall_s: float = 30.0
    """Maximum time between two heartbeats of a decoding process, in seconds, before it is killed."""
    seconds_per_second: float = 10.0
    """Maximum CPU time per second of video, in seconds, in addition to one minute per file."""


def check_path(path: Path | str, limits: Limits | None = None) -> Path:
    """Return the absolute, resolved path of a non-empty local regular file.

    Raises:
        VideoNotFound: the file does not exist, or may not be read.
        NotAVideo: it is a folder, a device, or empty.
        TooLarge: it has more bytes than the limit.
    """
    limits = limits or Limits()
    text = str(path)
    if "\0" in text:
        raise VideoNotFound("A file name cannot contain a NUL character; correct the path.")
    try:
        # `resolve` does not say which of its errors is a loop of links.
        status = Path(text).expanduser().stat()
        resolved_path = Path(text).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise VideoNotFound(_missing_reason(text, error)) from error
    # This check uses the resolved path, because a symbolic link can point outside the folders.
    if limits.folders and not any(resolved_path.is_relative_to(folder.expanduser().resolve()) for folder in limits.folders):
        folder_names = ", ".join(map(str, limits.folders))
        raise VideoNotFound(f"{text} is outside the folders that may be read ({folder_names}); see the setting video_folders.")
    if stat.S_ISDIR(status.st_mode):
        raise NotAVideo(f"{text} is a folder; specify the video files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise NotAVideo(f"{text} is not a regular file; specify a video file.")
    if status.st_size == 0:
        raise NotAVideo(f"{text} is empty; choose another file.")
    if status.st_size > limits.size_bytes:
        raise TooLarge(f"{text} has {status.st_size} bytes; the setting max_file_bytes allows {limits.size_bytes}.")
    try:
        with resolved_path.open("rb"):
            pass
    except OSError as error:
        raise VideoNotFound(f"{text} cannot be read: {error.strerror}.") from error
    return resolved_path


def _missing_reason(text: str, error: OSError | RuntimeError) -> str:
    """Return a sentence that says why there is no file at a path."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOENT, errno.ENOTDIR) and WEB_ADDRESS.match(text):
        # A `Path` has joined the two slashes.
        address = ADDRESS_SLASHES.sub("://", text, count=1)
        return f"{address} is a web address; download the video first, and specify the path of its file."
    if code == errno.ENAMETOOLONG:
        return f"The path {text[:SHOWN_CHARACTERS]}… is too long; no file has that name."
    if code == errno.ELOOP:
        return f"{text} is a loop of symbolic links; specify the path of the video file itself."
    if code == errno.ENOENT and Path(text).expanduser().is_symlink():
        return f"{text} is a symbolic link that leads nowhere; specify the path of the video file itself."
    if code == errno.ENOENT:
        return f"There is no file at {text}."
    return f"{text} cannot be read: {getattr(error, 'strerror', None) or error}."


def check_stream(path: Path, *, codec: str, width: int, height: int, duration_s: float, frames: int, limits: Limits) -> None:
    """Check what a file declares about its video stream against the limits, before any frame is decoded.

    Raises:
        NotAVideo: its codec may not be decoded.
        TooLarge: it declares more pixels, frames or seconds than the limits allow.
    """
    if codec not in CODECS.split(","):
        raise NotAVideo(f"{path} uses the codec {codec}, which is not supported; convert it to H.264 first.")
    if width * height > limits.pixels:
        raise TooLarge(f"{path} declares {width}x{height} pixels; the setting max_pixels allows {limits.pixels}.")
    check_duration(path, duration_s, limits)
    if frames > limits.frames:
        raise TooLarge(f"{path} declares {frames} frames; the setting max_frames allows {limits.frames}.")


def check_duration(path: Path, duration_s: float, limits: Limits) -> None:
    """Check the duration of a video or of sound, in seconds.

    Raises:
        TooLarge: it exceeds the limit.
    """
    if duration_s > limits.duration_s:
        raise TooLarge(f"{path} declares {duration_s:.0f} seconds; the setting max_duration_s allows {limits.duration_s:.0f}.")


def may_decode(codec: str) -> bool:
    """Whether FFmpeg may start a decoder for a video or audio codec, given by its canonical name."""
    return codec in f"{CODECS},{DECODERS}".split(",")


def demuxer_url(path: Path) -> str:
    """Return the path as a `file:` URL, so that FFmpeg takes no file name for an option or another protocol."""
    return f"file:{path}"
