"""Which files may be opened: local and regular, in a container that only holds its own data, within the limits."""

import stat
from dataclasses import dataclass
from pathlib import Path

from longview.video.errors import NotAVideo, TooLarge, VideoNotFound

PROTOCOLS = "file"
CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,mxf,ivf,h264,hevc,mpegvideo,m4v,dv,nut,live_flv"
"""FFmpeg demuxers that may be used. Playlists, concat scripts, SDP and image globs reach other files or hosts,
and `tty` shows any text as a picture, so they are refused even under a video's name."""
CODECS = (
    "h264,hevc,vvc,av1,vp8,vp9,vp6,vp6f,vp6a,mpeg1video,mpeg2video,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4v3,wmv1,wmv2,"
    "wmv3,vc1,h263,flv1,theora,prores,dnxhd,mjpeg,mjpegb,dvvideo,ffv1,huffyuv,ffvhuff,utvideo,rawvideo,v210,cinepak,"
    "svq1,svq3,rv30,rv40,qtrle,gif,cfhd,hap,png"
)
"""Codecs that may be decoded, by FFmpeg's canonical names: what cameras, editors and sites write. The hundreds of others
are game and fax formats whose decoders nobody watches over."""
DECODERS = (
    "libdav1d,av1,flv,msmpeg4,aac,aac_latm,mp1,mp2,mp2float,mp3,mp3float,ac3,eac3,dca,dts,truehd,opus,libopus,vorbis,"
    "flac,alac,wmav1,wmav2,wmapro,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_u8,"
    "pcm_s8,pcm_mulaw,pcm_alaw,pcm_bluray,pcm_dvd,adpcm_ima_wav,adpcm_ima_qt,adpcm_ms,adpcm_swf,adpcm_yamaha,nellymoser,"
    "speex,amrnb,amrwb,amr_nb,amr_wb,cook,gsm,gsm_ms,qdm2,mace3,mace6"
)
"""Decoders that FFmpeg may start by itself while it opens a file, besides those named as their codecs: sound that it
cannot look at would make it read on for seconds."""
DEMUXER_OPTIONS = {
    "protocol_whitelist": PROTOCOLS,
    "format_whitelist": CONTAINERS,
    "codec_whitelist": f"{CODECS},{DECODERS}",
}


@dataclass(frozen=True)
class Limits:
    """How large a video may be, and what decoding it may take. Every file is held to them, in a process of its own."""

    folders: tuple[Path, ...] = ()
    """Only files inside these may be opened; empty: any local file that may be read."""
    size_bytes: int = 1 << 40
    pixels: int = 8192 * 8192
    """Width times height as stored; a 700 KB file can declare 16000x16000."""
    frames: int = 10_000_000
    duration_s: float = 48 * 3600.0
    memory_bytes: int = 4 << 30
    """Address space of a decoding process; 8K needs about 2 GiB."""
    stall_s: float = 30.0
    """A decoding process that gives no sign of life for so long is killed."""
    seconds_per_second: float = 10.0
    """CPU seconds that a second of video may take to decode, beyond a minute that every file has."""


def check_path(path: Path | str, limits: Limits | None = None) -> Path:
    """The absolute, resolved path of a local regular file that is not empty.

    Raises:
        VideoNotFound: there is nothing there, or it may not be read.
        NotAVideo: it is a folder, a device, or empty.
        TooLarge: it has more bytes than the limits allow.
    """
    limits = limits or Limits()
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
    # After links are followed, or a link would lead out of the folders.
    if limits.folders and not any(resolved.is_relative_to(folder.expanduser().resolve()) for folder in limits.folders):
        allowed = ", ".join(map(str, limits.folders))
        raise VideoNotFound(f"{text} lies outside the folders that may be read ({allowed}); see the setting video_folders.")
    if stat.S_ISDIR(status.st_mode):
        raise NotAVideo(f"{text} is a folder; name the video files inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise NotAVideo(f"{text} is not a regular file.")
    if status.st_size == 0:
        raise NotAVideo(f"{text} is empty.")
    if status.st_size > limits.size_bytes:
        raise TooLarge(f"{text} has {status.st_size} bytes; the setting max_file_bytes allows {limits.size_bytes}.")
    try:
        with resolved.open("rb"):
            pass
    except OSError as error:
        raise VideoNotFound(f"{text} cannot be read: {error.strerror}.") from error
    return resolved


def check_stream(path: Path, *, codec: str, width: int, height: int, duration_s: float, frames: int, limits: Limits) -> None:
    """Hold what a file claims about its pictures to the limits, before one of them is decoded.

    Raises:
        NotAVideo: its codec may not be decoded.
        TooLarge: it claims more pixels, frames or seconds than the limits allow.
    """
    if codec not in CODECS.split(","):
        raise NotAVideo(f"{path} is encoded as {codec}, which is not among the codecs that are read; convert it to H.264 first.")
    if width * height > limits.pixels:
        raise TooLarge(f"{path} claims {width}x{height} pixels; the setting max_pixels allows {limits.pixels}.")
    if duration_s > limits.duration_s:
        raise TooLarge(f"{path} claims {duration_s:.0f} seconds; the setting max_duration_s allows {limits.duration_s:.0f}.")
    if frames > limits.frames:
        raise TooLarge(f"{path} claims {frames} frames; the setting max_frames allows {limits.frames}.")


def may_decode(codec: str) -> bool:
    """Whether FFmpeg may start a decoder for a codec, pictures or sound, by its canonical name."""
    return codec in f"{CODECS},{DECODERS}".split(",")


def demuxer_url(path: Path) -> str:
    """The path as FFmpeg should get it, so that no file name is taken for an option or another protocol."""
    return f"file:{path}"
