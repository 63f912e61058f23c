"""Pictures and copies of a video for people to look at: thumbnails, contact sheets, cuts, and light proxies for browsers."""

import logging
import math
import tempfile
from pathlib import Path

import ffmpeg
from PIL import Image, ImageDraw, ImageFont

from video.errors import ToolFailed
from video.ffmpeg import run, written_whole
from video.guard import DEMUXER_OPTIONS, demuxer_url
from video.probe import VideoInfo
from video.readers.base import is_seekable
from video.timeline import Span, format_time

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
ENCODING_SECONDS_PER_SECOND = 4.0
"""Deadline of a proxy or a cut, in seconds a second of video; more than ten times what a slow core needs."""


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
        run(graph, timeout_s=60 + ENCODING_SECONDS_PER_SECOND * video.duration_s)
    return target


def cut(video: VideoInfo, span: Span, target: Path, *, key_s: float | None) -> Span:
    """Write a part of a video as a file of its own. Returns the part that was written.

    `key_s`: where the last key frame at or before the span's start lies; the streams are then copied as they are, from
    there on, which takes no time and loses no quality. None: encode anew, exactly from frame to frame.

    Raises:
        ToolFailed: ffmpeg cannot read the original, or cannot write that kind of file.
    """
    written = span if key_s is None else Span(key_s, span.end_s)
    options: dict[str, object] = {"map_metadata": -1, "map_chapters": -1}
    if key_s is None:
        options |= {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "acodec": "aac"}
        options |= {"fps_mode": "vfr"}
    else:
        options |= {"c": "copy", "avoid_negative_ts": "make_zero"}
    if key_s is None and not is_seekable(video):
        # Read from the beginning: a seek would land somewhere, and what comes before the next key frame be lost.
        source, limit = _input(video), {"ss": span.start_s, "to": span.end_s}
    else:
        seek_s = written.start_s if key_s is None else key_s + _seek_lead_s(video)
        source, limit = _input(video, ss=seek_s), {"t": written.end_s - seek_s}
    streams = [source[str(video.stream_index)]] + ([source["a:0"]] if video.has_audio else [])
    with written_whole(target) as partial:
        timeout_s = 60 + ENCODING_SECONDS_PER_SECOND * (written.duration_s if is_seekable(video) else span.end_s)
        run(ffmpeg.output(*streams, str(partial), **options, **limit), timeout_s=timeout_s)
        if partial.stat().st_size == 0:
            raise ToolFailed(f"ffmpeg found no pictures between {format_time(span.start_s)} and {format_time(span.end_s)}.")
    return written


def _seek_lead_s(video: VideoInfo) -> float:
    """How much later than a key frame ffmpeg must be told to seek in order to land on it.

    A hair, or rounding would make it end at the one before; and in containers that are sought by decoding time, with
    B-frames, the 3/23 s that ffmpeg takes off by itself (fftools/ffmpeg_demux.c, `dts_heuristic`).
    """
    by_decoding_time = video.has_b_frames and "mov" not in video.container.split(",")
    return 0.001 + (3 / 23 if by_decoding_time else 0.0)


def contact_sheet(video: VideoInfo, target: Path, *, columns: int = 4, rows: int = 4, width: int = 320) -> list[float]:
    """Write one picture with `columns` x `rows` thumbnails, evenly spaced, each with its time. Returns the times in seconds.

    Raises:
        ToolFailed: no picture can be decoded.
    """
    count = columns * rows
    # In the middle of each part: the very first picture of a film is often black.
    times_s = [video.duration_s * (index + 0.5) / count for index in range(count)]
    height = round(width * video.height / video.width / 2) * 2
    with tempfile.TemporaryDirectory(prefix="longview-sheet-") as folder:
        for index, time_s in enumerate(times_s):
            thumbnail(video, time_s, Path(folder) / f"{index}.jpg", width=width)
        _labels([format_time(time_s) for time_s in times_s], columns, width, height).save(Path(folder) / "labels.png")
        # Thumbnails of one video can differ by a line or two where its size changes midway.
        tiles = ffmpeg.input(f"{folder}/%d.jpg", start_number=0, framerate=1).filter("scale", width, height)
        sheet = tiles.filter("tile", f"{columns}x{rows}").overlay(ffmpeg.input(f"{folder}/labels.png"))
        with written_whole(target) as partial:
            run(sheet.output(str(partial), vframes=1, update=1, **{"q:v": 3}), timeout_s=THUMBNAIL_TIMEOUT_S)
    return times_s


def _labels(texts: list[str], columns: int, width: int, height: int) -> Image.Image:
    """A transparent picture with a text in the corner of each tile. (ffmpeg's own `drawtext` needs an installed font.)"""
    labels = Image.new("RGBA", (columns * width, math.ceil(len(texts) / columns) * height))
    draw = ImageDraw.Draw(labels)
    font = ImageFont.load_default(size=max(10, width // 16))
    for index, text in enumerate(texts):
        corner = (index % columns * width + width // 40, index // columns * height + width // 40)
        draw.text(corner, text, fill="white", font=font, stroke_width=max(1, width // 160), stroke_fill="black")
    return labels


def _input(video: VideoInfo, **options: object) -> "ffmpeg.nodes.FilterableStream":
    return ffmpeg.input(demuxer_url(video.path), **DEMUXER_OPTIONS, **options)
