"""Pictures and copies of a video for people to look at: thumbnails, contact sheets, cuts, and light proxies for browsers.

Pictures come from the decoder, which knows what is on screen at a time and what cannot be read; copies are made by ffmpeg.
"""

from pathlib import Path

import ffmpeg
from PIL import Image, ImageDraw, ImageFont

from longview.video.atomic import atomic_write
from longview.video.backends.base import TOLERANCE_S, is_seekable
from longview.video.decoder import Decoder
from longview.video.errors import FFmpegFailed, UnreadableVideo
from longview.video.ffmpeg import SDR_STEPS, run
from longview.video.guard import DEMUXER_OPTIONS, Limits, demuxer_url, may_decode
from longview.video.probe import VideoInfo
from longview.video.time_text import format_time
from longview.video.timeline import Span

BROWSER_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
BROWSER_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
BROWSER_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
"""Matroska and QuickTime files under other names are not played everywhere, though FFmpeg calls both formats one."""
BROWSER_PIXELS = frozenset({"yuv420p", "yuvj420p"})
BROWSER_COPY_HEIGHT_PX = 480
MAX_PIXELS = Limits.pixels
EVERY_FRAME: dict[str, object] = {"fps_mode": "vfr", "enc_time_base": "1/90000"}
"""Encode every frame at its own time. By default the encoder counts in steps of the claimed frame rate, and drops what falls
between them."""
SLOW_FPS = 10
"""Cuts of slower videos get so many frames a second, so that they have one near each of their edges."""
CUT_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".flv", ".ogv", ".mxf"})
"""Containers that are one file; a playlist, say, would leave its parts lying about."""
SHEET_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_ENCODING_S_PER_S = 4.0
"""Deadline of a proxy or a cut, in seconds a second of video; more than ten times what a slow core needs."""


def is_browser_playable(video: VideoInfo) -> bool:
    """Whether all current browsers play the file as it is."""
    return (
        video.codec in BROWSER_CODECS
        and video.pixel_format in BROWSER_PIXELS
        and video.path.suffix.lower() in BROWSER_SUFFIXES
        and bool(BROWSER_CONTAINERS & set(video.container.split(",")))
    )


def thumbnail(decoder: Decoder, video: VideoInfo, time_s: float, target: Path, *, width: int = 320) -> Path:
    """Write a JPEG of what is on screen at a time. Returns `target`.

    Raises:
        UnreadableVideo: no picture can be decoded.
    """
    wanted_s = max(0.0, min(time_s, video.duration_s))
    try:
        picture = _frame_at(decoder, video, wanted_s, width)
    except UnreadableVideo:
        # Far past the last picture of a file that claims to be longer.
        picture = _frame_at(decoder, video, 0.0, width)
    with atomic_write(target) as partial:
        picture.save(partial, "JPEG", quality=85)
    return target


def _frame_at(decoder: Decoder, video: VideoInfo, time_s: float, width: int) -> Image.Image:
    chunks = list(decoder.frames_played_at(video, [time_s], _height(video, width), width))
    return Image.fromarray(chunks[-1].frames[-1])


def _height(video: VideoInfo, width: int) -> int:
    """Of a picture of that width in the displayed shape: few programs heed pixels that are not square."""
    return max(2, round(width * video.height / video.width / 2) * 2)


def _sdr(pictures: "ffmpeg.nodes.FilterableStream", video: VideoInfo) -> "ffmpeg.nodes.FilterableStream":
    """The pictures for screens without HDR."""
    if video.is_hdr:
        for name, options in SDR_STEPS:
            pictures = pictures.filter(name, **options)
    return pictures


def _sound(source: "ffmpeg.nodes.FilterableStream", video: VideoInfo) -> list["ffmpeg.nodes.FilterableStream"]:
    """The first sound track, if it is one that may be decoded."""
    has_sound = bool(video.audio_streams) and may_decode(video.audio_streams[0].codec)
    return [source["a:0"]] if has_sound else []


def make_browser_copy(video: VideoInfo, target: Path, *, max_pixels: int = MAX_PIXELS) -> Path:
    """Write a small H.264 copy with the same clock, for browsers that cannot play the original. Returns `target`.

    Frames of more than `pixels_max` pixels are left out: a file may change its size midway.

    Raises:
        ToolFailed: ffmpeg cannot read the original.
    """
    source = _input(video, max_pixels=max_pixels)
    pictures = source[str(video.stream_index)].filter("scale", -2, f"min({BROWSER_COPY_HEIGHT_PX},trunc(ih/2)*2)")
    streams = [_sdr(pictures, video), *_sound(source, video)]
    options = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": 26,
        "pix_fmt": "yuv420p",
        "acodec": "aac",
        "movflags": "+faststart",
    }
    with atomic_write(target) as partial:
        graph = ffmpeg.output(*streams, str(partial), **EVERY_FRAME, **options)
        run(graph, timeout_s=60 + MAX_ENCODING_S_PER_S * video.duration_s)
    return target


def cut_stream_copy(video: VideoInfo, span: Span, target: Path, *, key_frames_s: tuple[float, float]) -> Span:
    """Write a part of a video as a file of its own, streams as they are: in no time and without loss.

    `keys_s`: where the last key frame at or before the span's start lies, with which the part begins, and the next one
    (`Decoder.key_frames_around`). Returns what was written; at its end come a few frames more, which are stored before those
    that they are shown after.

    Raises:
        ToolFailed: ffmpeg cannot read the original, or cannot write that kind of file.
    """
    key_s, next_key_s = key_frames_s
    # ffmpeg seeks by decoding times, less 0.13 s in some containers (fftools/ffmpeg_demux.c, `dts_heuristic`), less what an edit
    # list takes off in others: well after a key frame, and well before the next one, it always lands on it.
    seek_s = (key_s + next_key_s) / 2
    source = _input(video, ss=seek_s)
    streams = [source[str(video.stream_index)]] + ([source["a:0"]] if video.has_audio else [])
    options = {"c": "copy", "avoid_negative_ts": "make_zero", "t": max(0.04, span.end_s - seek_s)}
    _write_part(streams, target, options, timeout_s=60 + MAX_ENCODING_S_PER_S * span.duration_s)
    return Span(key_s, span.end_s)


def cut_reencode(video: VideoInfo, span: Span, target: Path, *, first_frame_s: float, max_pixels: int = MAX_PIXELS) -> None:
    """Write a part of a video as a file of its own, encoded anew, from frame to frame.

    `shown_s`: when the picture that is on screen at the span's start came on; it is what the part begins with.
    `pixels_max`: see `proxy`.

    Raises:
        ToolFailed: ffmpeg cannot read the original, or cannot write that kind of file.
    """
    # Where seeking lands somewhere, everything before is decoded and dropped.
    seek_s = max(0.0, first_frame_s - 0.5) if is_seekable(video) else 0.0
    seek: dict[str, object] = {"ss": seek_s} if seek_s else {}
    source = _input(video, max_pixels=max_pixels, **seek)
    start_s = span.start_s - seek_s
    pictures = source[str(video.stream_index)].filter("trim", start=max(0.0, first_frame_s - seek_s - 0.001))
    # The first picture came on before the cut, and is there from its very start.
    pictures = pictures.filter("setpts", f"max(0,PTS-{start_s:.6f}/TB)")
    if video.fps_nominal < SLOW_FPS:
        pictures = pictures.filter("fps", SLOW_FPS)
    # The last one stays to the end, also where the next would have come later.
    pictures = pictures.filter("tpad", stop_mode="clone", stop_duration=span.duration_s)
    sound = [track.filter("atrim", start=start_s).filter("asetpts", f"PTS-{start_s:.6f}/TB") for track in _sound(source, video)]
    options = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "acodec": "aac"}
    options |= EVERY_FRAME | {"t": span.duration_s}
    read_s = span.duration_s if is_seekable(video) else span.end_s
    timeout_s = 60 + MAX_ENCODING_S_PER_S * read_s
    _write_part([_sdr(pictures, video), *sound], target, options, timeout_s=timeout_s)


def _write_part(
    streams: list["ffmpeg.nodes.FilterableStream"], target: Path, options: dict[str, object], *, timeout_s: float
) -> None:
    with atomic_write(target) as partial:
        run(ffmpeg.output(*streams, str(partial), map_metadata=-1, map_chapters=-1, **options), timeout_s=timeout_s)
        # ffmpeg calls a file without one picture a success.
        written = ffmpeg.input(demuxer_url(partial), **DEMUXER_OPTIONS)["v:0"].output("pipe:", f="null", c="copy")
        try:
            run(written.global_args("-abort_on", "empty_output"), timeout_s=60)
        except FFmpegFailed as error:
            raise FFmpegFailed("There is no readable picture in that part of the video.") from error


def contact_sheet(
    decoder: Decoder, video: VideoInfo, target: Path, *, columns: int = 4, rows: int = 4, width: int = 320
) -> tuple[list[float], list[float]]:
    """Write one picture with `columns` x `rows` thumbnails, evenly spaced, each with its time.

    Returns the times in seconds, and those among them whose pictures cannot be read; their tiles stay black.

    Raises:
        UnreadableVideo: no picture can be decoded.
    """
    count = columns * rows
    # In the middle of each part: the very first picture of a film is often black.
    times_s = [video.duration_s * (index + 0.5) / count for index in range(count)]
    height = _height(video, width)
    sheet = Image.new("RGB", (columns * width, rows * height))
    shown: list[tuple[float, Image.Image]] = []
    unreadable: list[Span] = []
    for chunk in decoder.frames_played_at(video, times_s, height, width):
        shown += [(time_s, Image.fromarray(frame)) for time_s, frame in zip(chunk.times_s.tolist(), chunk.frames, strict=True)]
        unreadable += chunk.undecodable
    lost_s = [time_s for time_s in times_s if any(span.contains(time_s) or span.start_s == time_s for span in unreadable)]
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(10, width // 16))
    for index, time_s in enumerate(times_s):
        left, top = index % columns * width, index // columns * height
        # The picture on screen then: the last that came on, or the first if none had yet.
        on_screen = [picture for at_s, picture in shown if at_s <= time_s + TOLERANCE_S] or [shown[0][1]]
        if time_s not in lost_s:
            sheet.paste(on_screen[-1], (left, top))
        label = format_time(time_s) + (" unreadable" if time_s in lost_s else "")
        corner = (left + width // 40, top + width // 40)
        draw.text(corner, label, fill="white", font=font, stroke_width=max(1, width // 160), stroke_fill="black")
    with atomic_write(target) as partial:
        sheet.save(partial)
    return times_s, lost_s


def _input(video: VideoInfo, **options: object) -> "ffmpeg.nodes.FilterableStream":
    return ffmpeg.input(demuxer_url(video.path), **DEMUXER_OPTIONS, **options)
