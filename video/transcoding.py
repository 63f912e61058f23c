"""Copies of a video for users: cuts, and small copies that browsers play. The program ffmpeg writes them."""

from pathlib import Path
from typing import Any

import ffmpeg

from longview.core.atomic import atomic_write
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.video.decoding.backends.base import is_seekable
from longview.video.errors import FFmpegFailed
from longview.video.ffmpeg import SDR_STEPS, run
from longview.video.probing.guard import DEMUXER_OPTIONS, Limits, demuxer_url, may_decode
from longview.video.probing.probe import VideoInfo, require_frames

BROWSER_CODECS = frozenset({"h264", "vp8", "vp9", "av1"})
BROWSER_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
BROWSER_SUFFIXES = frozenset({".mp4", ".m4v", ".webm"})
"""File name suffixes that all browsers play. FFmpeg does not distinguish MP4 from QuickTime, or WebM from Matroska."""
BROWSER_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})
BROWSER_SOUND = {
    ".mp3": frozenset({"mp3"}),
    ".m4a": frozenset({"aac"}),
    ".flac": frozenset({"flac"}),
    ".wav": frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"}),
    ".ogg": frozenset({"opus", "vorbis"}),
    ".opus": frozenset({"opus"}),
}
"""Codecs that current browsers play in files with only sound, by the suffix of the file name."""
BROWSER_COPY_HEIGHT_PX, BROWSER_COPY_WIDTH_PX = 480, 3840
"""Maximum size of a browser copy, in pixels. The width is that of panoramas; encoders refuse larger ones."""
MAX_PIXELS = Limits.pixels
VFR_OPTIONS: dict[str, object] = {"fps_mode": "vfr", "enc_time_base": "1/90000"}
"""ffmpeg options that encode every frame at its own timestamp. The default time base is one period of the declared frame rate,
and frames in between are dropped."""
MIN_CUT_FPS = 10
"""Minimum frame rate of a re-encoded cut, in frames per second, so that a frame lies near each edge of the cut."""
CUT_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".flv", ".ogv", ".mxf"})
"""File name suffixes of containers that are one file; a playlist, for example, would write further files."""
MAX_ENCODING_S_PER_S = 4.0
"""Deadline of a copy or a cut, in seconds per second of video; more than ten times what a slow core needs."""


def is_browser_playable(video: VideoInfo) -> bool:
    """Whether all current browsers play the file as it is."""
    if not video.has_frames:
        return video.audio_streams[0].codec in BROWSER_SOUND.get(video.path.suffix.lower(), ())
    return (
        video.codec in BROWSER_CODECS
        and video.pixel_format in BROWSER_PIXEL_FORMATS
        and video.path.suffix.lower() in BROWSER_SUFFIXES
        and bool(BROWSER_CONTAINERS & set(video.container.split(",")))
    )


def _to_sdr(frames: "ffmpeg.nodes.FilterableStream", video: VideoInfo) -> "ffmpeg.nodes.FilterableStream":
    """Tone-map HDR frames to SDR; return SDR frames unchanged."""
    if video.is_hdr:
        for name, options in SDR_STEPS:
            frames = frames.filter(name, **options)
    return frames


def _audio(source: "ffmpeg.nodes.FilterableStream", video: VideoInfo) -> list["ffmpeg.nodes.FilterableStream"]:
    """Return the first audio stream whose codec may be decoded, if there is one."""
    return [source[str(stream.index)] for stream in video.audio_streams if may_decode(stream.codec)][:1]


def make_browser_copy(video: VideoInfo, target: Path, *, max_pixels: int = MAX_PIXELS, progress: Progress = NO_PROGRESS) -> Path:
    """Write a small H.264 copy with the same timestamps, for browsers that cannot play the original. Returns `target`.

    Frames of more than `max_pixels` pixels are dropped; the frame size may change within a file. The copy of a file without
    pictures has only sound.

    Raises:
        FFmpegFailed: ffmpeg cannot read the original.
    """
    source = _input(video, max_pixels=max_pixels)
    streams = _audio(source, video)
    if video.has_frames:
        width = f"max(2,min({BROWSER_COPY_WIDTH_PX},round(oh*a/2)*2))"
        frames = source[str(video.stream_index)].filter("scale", width, f"max(2,min({BROWSER_COPY_HEIGHT_PX},trunc(ih/2)*2))")
        streams = [_to_sdr(frames, video), *streams]
    options = {
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": 26,
        "pix_fmt": "yuv420p",
        "acodec": "aac",
        "movflags": "+faststart",
    }
    with atomic_write(target) as temporary_path:
        graph = ffmpeg.output(*streams, str(temporary_path), **VFR_OPTIONS, **options)
        timeout_s = 60 + MAX_ENCODING_S_PER_S * video.duration_s
        run(graph, timeout_s=timeout_s, progress=progress, output_s=video.duration_s)
    return target


def cut_stream_copy(
    video: VideoInfo, span: Span, target: Path, *, key_frames_s: tuple[float, float], progress: Progress = NO_PROGRESS
) -> Span:
    """Write a span of a video to its own file without re-encoding: fast and lossless.

    `key_frames_s`: start of the last key frame at or before the span's start, where the cut begins, and start of the next key
    frame (`Decoder.key_frames_around`). Returns the span that was written. A few more frames may follow it, because packets
    are stored in decoding order.

    Raises:
        NoFrames: the file has only sound. FFmpegFailed: ffmpeg cannot read the original or write the container.
        Cancelled: the operation was cancelled.
    """
    require_frames(video)
    key_s, next_key_s = key_frames_s
    # ffmpeg seeks by decoding timestamps, minus 0.13 s in some containers (fftools/ffmpeg_demux.c, `dts_heuristic`), and minus
    # the shift of an edit list in others. A target midway between two key frames always seeks to the first of them.
    seek_s = (key_s + next_key_s) / 2
    source = _input(video, ss=seek_s)
    streams = [source[str(video.stream_index)]] + ([source["a:0"]] if video.has_audio else [])
    options = {"c": "copy", "avoid_negative_ts": "make_zero", "t": max(0.04, span.end_s - seek_s)}
    timeout_s = 60 + MAX_ENCODING_S_PER_S * span.duration_s
    _write_cut(streams, target, options, timeout_s=timeout_s, progress=progress)
    return Span(key_s, span.end_s)


def cut_reencode(
    video: VideoInfo,
    span: Span,
    target: Path,
    *,
    first_frame_s: float,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Re-encode a span of a video to its own file, with frame-accurate edges.

    `first_frame_s`: start of the frame that is on screen at the span's start; the cut begins with that frame.
    `max_pixels`: see `make_browser_copy`.

    Raises:
        NoFrames: the file has only sound. FFmpegFailed: ffmpeg cannot read the original or write the container.
        Cancelled: the operation was cancelled.
    """
    require_frames(video)
    # In a container without exact seeking, ffmpeg decodes from the beginning, and `trim` drops the frames before the cut.
    seek_s = max(0.0, first_frame_s - 0.5) if is_seekable(video) else 0.0
    seek: dict[str, object] = {"ss": seek_s} if seek_s else {}
    source = _input(video, max_pixels=max_pixels, **seek)
    start_s = span.start_s - seek_s
    frames = source[str(video.stream_index)].filter("trim", start=max(0.0, first_frame_s - seek_s - 0.001))
    # The first frame starts before the cut; it is shown from the cut's start.
    frames = frames.filter("setpts", f"max(0,PTS-{start_s:.6f}/TB)")
    # H.264 in yuv420p has even sizes only.
    frames = frames.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2", 0, 0)
    if video.fps_nominal < MIN_CUT_FPS:
        frames = frames.filter("fps", MIN_CUT_FPS)
    # The last frame is shown until the cut's end, even if the next frame of the original starts later.
    frames = frames.filter("tpad", stop_mode="clone", stop_duration=span.duration_s)
    audio = [stream.filter("atrim", start=start_s).filter("asetpts", f"PTS-{start_s:.6f}/TB") for stream in _audio(source, video)]
    options = {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "pix_fmt": "yuv420p", "acodec": "aac"}
    options |= VFR_OPTIONS | {"t": span.duration_s}
    decode_s = span.duration_s if is_seekable(video) else span.end_s
    timeout_s = 60 + MAX_ENCODING_S_PER_S * decode_s
    _write_cut([_to_sdr(frames, video), *audio], target, options, timeout_s=timeout_s, progress=progress)


def _write_cut(
    streams: list["ffmpeg.nodes.FilterableStream"],
    target: Path,
    options: dict[str, Any],
    *,
    timeout_s: float,
    progress: Progress,
) -> None:
    """Write a cut. `options`: those of ffmpeg for the output, with its length `t`, in seconds."""
    with atomic_write(target) as temporary_path:
        graph = ffmpeg.output(*streams, str(temporary_path), map_metadata=-1, map_chapters=-1, **options)
        run(graph, timeout_s=timeout_s, progress=progress, output_s=options["t"])
        # ffmpeg also exits successfully if the file has no frame.
        check = ffmpeg.input(demuxer_url(temporary_path), **DEMUXER_OPTIONS)["v:0"].output("pipe:", f="null", c="copy")
        try:
            run(check.global_args("-abort_on", "empty_output"), timeout_s=60, progress=progress)
        except FFmpegFailed as error:
            raise FFmpegFailed("No frame in that part of the video can be decoded; choose another span.") from error


def _input(video: VideoInfo, **options: object) -> "ffmpeg.nodes.FilterableStream":
    return ffmpeg.input(demuxer_url(video.path), **DEMUXER_OPTIONS, **options)
