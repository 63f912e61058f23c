"""The ffmpeg program, with its filters `select` and `showinfo`: the fall-back, for what PyAV cannot decode or dies of.

Which frames are on screen at the wanted times is told by the packets, which are only read, not decoded. `select` lets
those frames through and `showinfo` says their times, so that no frame is taken for another. (The `fps` filter is half a
period off at low rates.)
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

from longview.video.backends.base import (
    CUT_OFF_S,
    HD_HEIGHT_PX,
    TOLERANCE_S,
    UNSPECIFIED,
    DecodedFrame,
    DecodeRequest,
    is_seekable,
    uses_dts,
)
from longview.video.errors import UnreadableVideo
from longview.video.ffmpeg import SDR_FILTERS, ffmpeg_path
from longview.video.guard import DEMUXER_OPTIONS, demuxer_url
from longview.video.probe import FFMPEG_ERRORS, VideoInfo, open_container

log = logging.getLogger(__name__)

BATCH = 500
"""Wanted times for one run: the filter names them all, and an argument may have 128 KiB."""
HEARTBEAT_S = 1.0
"""Between signs of life while ffmpeg works."""
CONFIG = re.compile(rb"config in time_base: (\d+)/(\d+)")
SHOWN = re.compile(rb"pts:\s*(-?\d+)")
"""The stamp in whole ticks: older FFmpeg writes `pts_time` with six digits only."""


def decode(video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
    """See `longview.video.backends.base.Reader`. Reads all packets of the file first.

    Raises:
        UnreadableVideo: the packets do not tell when pictures are shown.
    """
    with open_container(video.path) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        names_matrix = stream.codec_context.colorspace != UNSPECIFIED
        decoding_time = uses_dts(video)
        # In MPEG-4 a picture waits for one other, in H.264 for an unknown number.
        delay = int(stream.codec_context.has_b_frames)
        if decoding_time and delay and video.codec == "h264":
            raise UnreadableVideo("ffmpeg's filters are not told the times of reordered H.264 in AVI; use --reader pyav.")
        starts_s: list[float] = []
        last_shown_s = 0.0
        try:
            for count, packet in enumerate(container.demux(stream)):
                if count % 1000 == 0:
                    yield None
                stamp = packet.dts if decoding_time else packet.pts
                if stamp is None or packet.time_base is None or packet.is_discard or not packet.size:
                    continue
                if packet.is_keyframe or not request.key_frames_only:
                    starts_s.append(float(stamp * packet.time_base) - video.start_offset_s)
                    last_shown_s = float((packet.duration or 0) * packet.time_base)
        except FFMPEG_ERRORS:
            pass  # The file breaks off here; what comes before can be read.
    if not starts_s:
        raise UnreadableVideo(f"{video.path.name} does not say when its pictures are shown.")
    starts = np.unique(starts_s)
    if decoding_time and len(starts) > delay:
        # Pictures come out that many steps after their packets, the last ones when there are no more packets.
        starts = np.append(starts[delay:], starts[-1] + (starts[-1] - starts[-2]) * np.arange(1, delay + 1))
    end_s = starts[-1] + max(1 / video.fps_nominal, last_shown_s)
    shown_s = starts[(np.searchsorted(starts, np.asarray(request.times_s) + TOLERANCE_S, side="right") - 1).clip(min=0)]
    last_s = -np.inf
    for first in range(0, len(shown_s), BATCH):
        batch = np.unique(shown_s[first : first + BATCH]).tolist()
        found = _Frames(video, request, batch, names_matrix)
        try:
            for wanted_s, time_s in zip(request.times_s[first : first + BATCH], shown_s[first : first + BATCH], strict=True):
                if not request.key_frames_only and wanted_s > end_s + CUT_OFF_S:
                    yield DecodedFrame(wanted_s, None, None, end_of_stream_s=end_s)
                elif time_s > last_s:
                    last_s = time_s
                    rgb = yield from found.frame_at(time_s)
                    yield DecodedFrame(wanted_s, float(time_s) if rgb is not None else None, rgb)
        finally:
            found.close()


class _Frames:
    """One run of ffmpeg over the frames at the given times."""

    def __init__(self, video: VideoInfo, request: DecodeRequest, times_s: Sequence[float], names_matrix: bool) -> None:
        self._shape = (request.height, request.width, 3)
        self._offset_s = video.start_offset_s
        near_s = min((float(step) for step in np.diff(times_s)), default=1.0) / 2
        select = _any_of([time_s + video.start_offset_s for time_s in times_s], min(near_s, 2e-3))
        command = [ffmpeg_path(), "-nostdin", "-hide_banner", "-loglevel", "info", "-nostats", "-threads", str(request.threads)]
        for name, value in DEMUXER_OPTIONS.items():
            command += [f"-{name}", value]
        command += ["-max_pixels", str(request.max_pixels)]
        if request.key_frames_only:
            command += ["-skip_frame", "nokey"]
        if is_seekable(video) and times_s[0] > 1:
            command += ["-ss", f"{times_s[0] - 1:.6f}"]
        command += ["-copyts", "-i", demuxer_url(video.path), "-map", f"0:{video.stream_index}"]
        command += ["-vf", f"select='{select}',showinfo=checksum=0,{_pixels(video, request, names_matrix)}"]
        command += ["-fps_mode", "passthrough", "-frames:v", str(len(times_s)), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stderr is not None
        self._times: queue.Queue[tuple[float, bytes] | None] = queue.Queue(maxsize=2)
        self._current: tuple[float, bytes] | None = None
        self._is_at_end = False
        times: queue.Queue[float] = queue.Queue()
        threading.Thread(target=_read_times, args=(self._process.stderr, times), daemon=True).start()
        threading.Thread(target=self._read_frames, args=(self._process.stdout, times), daemon=True).start()

    def frame_at(self, time_s: float) -> Generator[None, None, NDArray[np.uint8] | None]:
        """Yields signs of life; returns the frame that starts at `time_s`, or None if it did not come out."""
        while not self._is_at_end:
            if self._current is None:
                try:
                    self._current = self._times.get(timeout=HEARTBEAT_S)
                except queue.Empty:
                    yield None
                    continue
                self._is_at_end = self._current is None
                continue
            found_s, pixels = self._current
            if found_s > time_s + 2e-3:
                return None
            self._current = None
            if found_s >= time_s - 2e-3:
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
                # showinfo speaks before the frame goes on to be scaled and written.
                self._times.put((times.get(timeout=60) - self._offset_s, pixels))
        except queue.Empty:
            log.info("ffmpeg gave a frame without its time")
        finally:
            self._times.put(None)


def _read_times(pipe: IO[bytes], times: "queue.Queue[float]") -> None:
    tick_s = 0.0
    for line in pipe:
        if b"Parsed_showinfo" not in line:
            continue
        if match := CONFIG.search(line):
            tick_s = int(match[1]) / int(match[2])
        elif match := SHOWN.search(line):
            times.put(int(match[1]) * tick_s)


def _any_of(times_s: Sequence[float], near_s: float) -> str:
    """A filter expression that is true within `near_s` of any of the increasing times: a tree, so that it costs log n."""
    if len(times_s) == 1:
        return f"lt(abs(t-{times_s[0]:.6f}),{near_s:.6f})"
    middle = len(times_s) // 2
    between = (times_s[middle - 1] + times_s[middle]) / 2
    return f"if(lt(t,{between:.6f}),{_any_of(times_s[:middle], near_s)},{_any_of(times_s[middle:], near_s)})"


def _pixels(video: VideoInfo, request: DecodeRequest, names_matrix: bool) -> str:
    """The filters from a turned frame to 8-bit RGB of the planned size."""
    stored_height = video.width if video.rotation_deg in (90, 270) else video.height
    matrix = "auto" if names_matrix or stored_height < HD_HEIGHT_PX else "bt709"
    scale = f"scale={request.width}:{request.height}:flags=area"
    if video.is_hdr:
        return f"{scale},{SDR_FILTERS}"
    return f"{scale}:in_color_matrix={matrix}"
