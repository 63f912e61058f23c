"""Pictures and copies of a video for people to look at: thumbnails, and light proxies for browsers."""

from pathlib import Path

import ffmpeg

from video.ffmpeg import run, written_whole
from video.guard import CONTAINERS, PROTOCOLS, demuxer_url
from video.probe import VideoInfo

BROWSER_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
BROWSER_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
BROWSER_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
"""Matroska and QuickTime files under other names are not played everywhere, though FFmpeg calls both formats one."""
BROWSER_PIXELS = frozenset({"yuv420p", "yuvj420p"})
PROXY_HEIGHT_PX = 480
THUMBNAIL_TIMEOUT_S = 60.0
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
        ToolFailed: the picture cannot be decoded.
    """
    with written_whole(target) as partial:
        picture = _input(video, ss=max(0.0, min(time_s, video.duration_s - 0.1))).filter("scale", width, -2)
        run(picture.output(str(partial), vframes=1, update=1, **{"q:v": 4}), timeout_s=THUMBNAIL_TIMEOUT_S)
        if partial.stat().st_size == 0:
            # Past the last frame of a file that claims to be longer: its first one.
            run(_input(video).filter("scale", width, -2).output(str(partial), vframes=1, update=1), timeout_s=THUMBNAIL_TIMEOUT_S)
    return target


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
