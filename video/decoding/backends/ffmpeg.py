"""ffmpeg backend: the fallback for files that PyAV cannot decode or crashes on.

The timestamps of the packets, which are read but not decoded, determine the frames on screen at the requested times. The
filter `select` passes those frames, and `showinfo` prints their timestamps, so that no two frames can be confused. (The `fps`
filter is off by half a period at low frame rates.)

Unlike PyAV, the program does not state which frames are damaged: it only logs `corrupt decoded frame`, without a timestamp, and
no filter exposes the flag. `-err_detect explode` would drop a damaged key frame, but not the frames that copy from it. So frames
from a damaged key frame to the next one are returned as if they were intact.
"""

import logging
import queue
import re
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import IO

import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from longview.video.decoding.backends.base import (
    CUT_OFF_S,
    HD_HEIGHT_PX,
    TOLERANCE_S,
    UNSPECIFIED,
    DecodedFrame,
    DecodeRequest,
    is_seekable,
    uses_dts,
)
from longview.video.errors import FFmpegFailed, UnreadableVideo
from longview.video.ffmpeg import SDR_FILTERS, ffmpeg_path
from longview.video.probing.container import FFMPEG_ERRORS, open_container
from longview.video.probing.guard import DEMUXER_OPTIONS, demuxer_url
from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)

MAX_BATCH = 500
"""Maximum number of requested times per ffmpeg process: the filter lists them all, in an argument of at most 128 KiB."""
HEARTBEAT_S = 1.0
"""Interval between two heartbeats, in seconds."""
TIME_BASE = re.compile(rb"config in time_base: (\d+)/(\d+)")
PTS = re.compile(rb"pts:\s*+(-?\d++)")
"""Timestamp in units of the time base; older FFmpeg prints `pts_time` with only six digits."""


def decode(video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
    """See `longview.video.decoding.backends.base.Backend`. Reads all packets of the file first.

    Raises:
        UnreadableVideo: the packets have no usable presentation timestamps, or ffmpeg cannot be started.
    """
    with open_container(video.path) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        has_matrix = stream.codec_context.colorspace != UNSPECIFIED
        has_only_dts = uses_dts(video)
        # Number of frames by which the output lags behind the packets: one for MPEG-4 with B-frames, unknown for H.264.
        delay = int(stream.codec_context.has_b_frames)
        if has_only_dts and delay and video.codec == "h264":
            raise UnreadableVideo("The ffmpeg backend does not support H.264 with B-frames in AVI; use --backend pyav.")
        starts_s: list[float] = []
        last_duration_s = 0.0
        try:
            for count, packet in enumerate(container.demux(stream)):
                if count % 1000 == 0:
                    yield None
                timestamp = packet.dts if has_only_dts else packet.pts
                if timestamp is None or packet.time_base is None or packet.is_discard or not packet.size:
                    continue
                if packet.is_keyframe or not request.key_frames_only:
                    starts_s.append(float(timestamp * packet.time_base) - video.start_offset_s)
                    last_duration_s = float((packet.duration or 0) * packet.time_base)
        except FFMPEG_ERRORS:
            pass  # The file is damaged from here on; the frames before can be decoded.
    if not starts_s:
        raise UnreadableVideo(f"{video.path.name} has no timestamps.")
    starts = np.unique(starts_s)
    if has_only_dts and len(starts) > delay:
        # Frames are output `delay` periods after their packets, the last ones after the last packet.
        starts = np.append(starts[delay:], starts[-1] + (starts[-1] - starts[-2]) * np.arange(1, delay + 1))
    end_s = starts[-1] + max(1 / video.fps_nominal, last_duration_s)
    on_screen_s = starts[(np.searchsorted(starts, np.asarray(request.times_s) + TOLERANCE_S, side="right") - 1).clip(min=0)]
    last_s = -np.inf
    for first in range(0, len(on_screen_s), MAX_BATCH):
        batch = np.unique(on_screen_s[first : first + MAX_BATCH]).tolist()
        try:
            process = _FFmpegProcess(video, request, batch, has_matrix=has_matrix)
        except (FFmpegFailed, OSError) as error:
            raise UnreadableVideo(f"The ffmpeg backend cannot be used. {error}") from error
        try:
            requested_times_s = request.times_s[first : first + MAX_BATCH]
            for requested_s, time_s in zip(requested_times_s, on_screen_s[first : first + MAX_BATCH], strict=True):
                if not request.key_frames_only and requested_s > end_s + CUT_OFF_S:
                    yield DecodedFrame(requested_s, None, None, end_of_stream_s=end_s)
                elif time_s > last_s:
                    last_s = time_s
                    pixels = yield from process.frame_at(time_s)
                    yield DecodedFrame(requested_s, float(time_s) if pixels is not None else None, pixels)
        finally:
            process.close()


class _FFmpegProcess:
    """One ffmpeg process that decodes the frames at the given times."""

    def __init__(self, video: VideoInfo, request: DecodeRequest, times_s: Sequence[float], *, has_matrix: bool) -> None:
        self._shape = (request.height, request.width, 3)
        self._offset_s = video.start_offset_s
        tolerance_s = min((float(period_s) for period_s in np.diff(times_s)), default=1.0) / 2
        select = _any_of([time_s + video.start_offset_s for time_s in times_s], min(tolerance_s, 2e-3))
        command = [ffmpeg_path(), "-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-threads", str(request.threads)]
        for name, value in DEMUXER_OPTIONS.items():
            command += [f"-{name}", value]
        command += ["-max_pixels", str(request.max_pixels)]
        if request.key_frames_only:
            command += ["-skip_frame", "nokey"]
        if is_seekable(video) and times_s[0] > 1:
            command += ["-ss", f"{times_s[0] - 1:.6f}"]
        command += ["-copyts", "-i", demuxer_url(video.path), "-map", f"0:{video.stream_index}"]
        command += ["-vf", f"select='{select}',showinfo=checksum=0,{_scale_filters(video, request, has_matrix=has_matrix)}"]
        command += ["-fps_mode", "passthrough", "-frames:v", str(len(times_s)), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stderr is not None
        self._frames: queue.Queue[tuple[float, bytes] | None] = queue.Queue(maxsize=2)
        self._current: tuple[float, bytes] | None = None
        self._is_at_end = False
        times: queue.Queue[float] = queue.Queue()
        threading.Thread(target=_read_times, args=(self._process.stderr, times), daemon=True).start()
        threading.Thread(target=self._read_frames, args=(self._process.stdout, times), daemon=True).start()

    def frame_at(self, time_s: float) -> Generator[None, None, NDArray[np.uint8] | None]:
        """Yield heartbeats; return the frame that starts at `time_s`, or None if ffmpeg did not output it."""
        while not self._is_at_end:
            if self._current is None:
                try:
                    self._current = self._frames.get(timeout=HEARTBEAT_S)
                except queue.Empty:
                    yield None
                    continue
                self._is_at_end = self._current is None
                continue
            frame_s, pixels = self._current
            if frame_s > time_s + 2e-3:
                return None
            self._current = None
            if frame_s >= time_s - 2e-3:
                return np.frombuffer(pixels, np.uint8).reshape(self._shape)
        return None

    def close(self) -> None:
        """Stop ffmpeg."""
        self._process.kill()
        self._process.wait()

    def _read_frames(self, pipe: IO[bytes], times: "queue.Queue[float]") -> None:
        size = self._shape[0] * self._shape[1] * 3
        try:
            while len(pixels := pipe.read(size)) == size:
                # showinfo prints the timestamp before the frame is scaled and written.
                self._frames.put((times.get(timeout=60) - self._offset_s, pixels))
        except queue.Empty:
            log.info("ffmpeg output a frame without a timestamp")
        finally:
            self._frames.put(None)


def _read_times(pipe: IO[bytes], times: "queue.Queue[float]") -> None:
    time_base_s = 0.0
    for line in pipe:
        if b"Parsed_showinfo" not in line:
            continue
        if match := TIME_BASE.search(line):
            time_base_s = int(match[1]) / int(match[2])
        elif match := PTS.search(line):
            times.put(int(match[1]) * time_base_s)


def _any_of(times_s: Sequence[float], tolerance_s: float) -> str:
    """Return a filter expression that is true within `tolerance_s` of any of the times, which increase, as a balanced tree."""
    if len(times_s) == 1:
        return f"lt(abs(t-{times_s[0]:.6f}),{tolerance_s:.6f})"
    middle = len(times_s) // 2
    between = (times_s[middle - 1] + times_s[middle]) / 2
    return f"if(lt(t,{between:.6f}),{_any_of(times_s[:middle], tolerance_s)},{_any_of(times_s[middle:], tolerance_s)})"


def _scale_filters(video: VideoInfo, request: DecodeRequest, *, has_matrix: bool) -> str:
    """Return the filters that convert an upright frame to 8-bit RGB of the requested size."""
    stored_height = video.width if video.rotation_deg in (90, 270) else video.height
    matrix = "auto" if has_matrix or stored_height < HD_HEIGHT_PX else "bt709"
    scale = f"scale={request.width}:{request.height}:flags=area"
    if video.is_hdr:
        return f"{scale},{SDR_FILTERS}"
    return f"{scale}:in_color_matrix={matrix}"
