"""Pictures and copies of a video for people to look at: thumbnails, and light proxies for browsers."""

import logging
from pathlib import Path

import ffmpeg

from video.errors import ToolFailed
from video.ffmpeg import run, written_whole
from video.guard import CONTAINERS, PROTOCOLS, demuxer_url
from video.probe import VideoInfo

log = logging.getLogger(__name__)

BROWSER_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
BROWSER_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
BROWSER_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
"""Matroska and QuickTime files under other names are not played everywhere, though FFmpeg calls both formats one."""
BROWSER_PIXELS = frozenset({"yuv420p", "yuvj420p"})
PROXY_HEIGHT_PX = 480
THUMBNAIL_TIMEOUT_S = 60.0
LOOKBACKS_S = (1.0, 30.0, 600.0)
"""How long before a time its picture may have begun; tried in turn, because the first is enough for all but slide shows."""
PROXY_SECONDS_PER_SECOND = 4.0
"""Deadline of a proxy, in seconds a second of video; more than ten times what a slow core needs."""


def browser_plays(video: VideoInfo) -> bool:
    """Whether all current browsers play the file as it is."""
    return (
        video.codec in BROWSER_CODECS
        and video.pixel_format in BROWSER_PIXELS
        and video.path.suffix.lower() in BROWSER_SUFFIXES
        and bool(BROWSER_CONTAINERS & set(video.container.split(",")))
    )


def thumbnail(video: VideoInfo, time_s: float, target: Path, *, width: int = 320) -> Path:
    """Write a JPEG of what is on screen at a time. Returns `target`.

    Raises:
        ToolFailed: no picture can be decoded.
    """
    wanted_s = max(0.0, min(time_s, video.duration_s))
    with written_whole(target) as partial:
        for lookback_s in LOOKBACKS_S:
            start_s = max(0.0, wanted_s - lookback_s)
            # Not by `-t`, which counts from the first picture that comes, not from where the seek went.
            until_wanted = _pictures(video, width, ss=start_s).filter("trim", end=wanted_s - start_s + 0.001)
            try:
                _write_last(until_wanted, partial)
                return target
            except ToolFailed as error:
                if start_s == 0:
                    break
                log.debug("%s: no picture began in the %g s before %.3f: %s", video.path.name, lookback_s, wanted_s, error)
        # Before the first picture, or far past the last one of a file that claims to be longer.
        _write_last(_pictures(video, width), partial, vframes=1)
    return target


def _pictures(video: VideoInfo, width: int, **options: object) -> "ffmpeg.nodes.FilterableStream":
    return _input(video, **options)[str(video.stream_index)].filter("scale", width, -2)


def _write_last(pictures: "ffmpeg.nodes.FilterableStream", target: Path, **limits: int) -> None:
    """Write each picture over the one before; that which is left was on screen last."""
    options = {"update": 1, "fps_mode": "passthrough", "q:v": 4} | limits
    run(pictures.output(str(target), **options), timeout_s=THUMBNAIL_TIMEOUT_S)


def proxy(video: VideoInfo, target: Path) -> Path:
    """Write a small H.264 copy with the same clock, for browsers that cannot play the original. Returns `target`.

    Raises:
        ToolFailed: ffmpeg cannot read the original.
    """
    source = _input(video)
    streams = [source[str(video.stream_index)].filter("scale", -2, f"min({PROXY_HEIGHT_PX},trunc(ih/2)*2)")]
    if video.has_audio:
        streams.append(source["a:0"])
    options = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": 26,
        "pix_fmt": "yuv420p",
        "acodec": "aac",
        "movflags": "+faststart",
    }
    with written_whole(target) as partial:
        graph = ffmpeg.output(*streams, str(partial), fps_mode="vfr", **options)
        run(graph, timeout_s=60 + PROXY_SECONDS_PER_SECOND * video.duration_s)
    return target


def _input(video: VideoInfo, **options: object) -> "ffmpeg.nodes.FilterableStream":
    return ffmpeg.input(demuxer_url(video.path), protocol_whitelist=PROTOCOLS, format_whitelist=CONTAINERS, **options)
