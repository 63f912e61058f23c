"""PyAV backend: FFmpeg's libraries in this process. It is the default because it has never returned a wrong frame in the tests.

Packets are inspected before they are decoded. A packet whose frame is not on screen at any requested time is not decoded if
no other frame refers to it. A requested packet whose frame the decoder does not output is reported as missing, and so are all
frames from a damaged key frame to the next undamaged one. Only damage that FFmpeg detects counts: its decoders of HEVC, VP8, VP9
and AV1 output some damaged frames without a flag.
"""

import bisect
import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import numpy as np
from av import Packet
from av.codec.context import CodecContext
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from longview.video.decoding.backends.base import (
    CUT_OFF_S,
    HD_HEIGHT_PX,
    IMPLAUSIBLE_S,
    TOLERANCE_S,
    UNSPECIFIED,
    DecodedFrame,
    DecodeRequest,
    is_seekable,
    uses_dts,
)
from longview.video.probing.container import FFMPEG_ERRORS, open_container
from longview.video.probing.probe import HDR_TRANSFERS, VideoInfo

log = logging.getLogger(__name__)

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)
"""Seconds by which to seek earlier if a seek ends after the target, because FFmpeg compares decoding timestamps."""
SKIPPABLE_CODECS = frozenset({"h264"})
"""Codecs whose packets state that no other frame refers to a frame (nal_ref_idc 0, H.264 7.4.1). HEVC is excluded because
higher layers may refer to its "sub-layer non-reference" pictures."""
HIDDEN_FRAME_CODECS = frozenset({"vp8", "vp9", "av1"})
"""Codecs with packets that contain no visible frame; a frame that the decoder does not output may not be missing."""
MAX_NEXT_KEY_FRAME_S = 2.0
"""Maximum time from a key frame to the next one that `key_frames_around` returns, in seconds."""
MAX_LOOKAHEAD_PACKETS = 250
"""Maximum number of packets that are read ahead to determine whether a frame is requested."""
HEARTBEAT_S = 1.0
"""Interval between two heartbeats, in seconds."""


def decode(video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
    """See `longview.video.decoding.backends.base.Backend`. Seeks only if a key frame lies between the current and the requested
    time."""
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        stream.codec_context.thread_count = request.threads
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = stream.codec_context.options | {"max_pixels": str(request.max_pixels)}
        if request.key_frames_only:
            # The demuxer's `discard` is not used because its timestamps were wrong by 0.1 s.
            stream.codec_context.skip_frame = "NONKEY"
        frames = _FrameWalker(container, stream, video, request)
        converter = FrameConverter(request.height, request.width, video.rotation_deg, is_mirrored=video.is_mirrored)
        last_s = -np.inf
        for requested_s in request.times_s:
            yield from frames.seek_to(requested_s)
            frame = frames.current
            if frame is None or not frames.is_intact(requested_s):
                yield DecodedFrame(requested_s, None, None)
            elif not request.key_frames_only and (end_s := frames.end_s()) is not None and requested_s > end_s + CUT_OFF_S:
                yield DecodedFrame(requested_s, None, None, end_of_stream_s=end_s)
            elif (time_s := frames.time_s(frame)) > last_s:
                last_s = time_s
                yield DecodedFrame(requested_s, time_s, converter.convert(frame))
        # Closing a multi-threaded decoder that still contains frames was observed to crash.
        stream.codec_context.flush_buffers()


def key_times(video: VideoInfo, times_s: list[float]) -> list[float]:
    """Return, for each time, the start of the last key frame at or before it by the file's index; empty without an index.

    The result is accurate enough to divide the work, but not to show it to users. The index of an MP4 file contains decoding
    timestamps, which with B-frames are some frames earlier (`key_frames_around` is exact).
    """
    if not is_seekable(video):
        return []
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        assert stream.time_base is not None
        _load_index(container, stream)
        entries = stream.index_entries
        keys_s = []
        for time_s in times_s:
            index = entries.search_timestamp(int((time_s + video.start_offset_s) / stream.time_base)) if len(entries) else -1
            if index < 0:
                keys_s.append(0.0)
            else:
                keys_s.append(float(entries[index].timestamp * stream.time_base) - video.start_offset_s)
        return keys_s if len(entries) > 1 else []


def key_frames_around(video: VideoInfo, time_s: float) -> tuple[float, float] | None:
    """Return the starts of the last key frame at or before a time and of the next one, which is at most 2 s later.

    Returns None if no key frame can be reached by seeking.
    """
    if not is_seekable(video):
        return None
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        assert stream.time_base is not None
        for backoff_s in BACKOFF_S:
            target_pts = int((max(0.0, time_s - backoff_s) + video.start_offset_s) / stream.time_base)
            container.seek(target_pts, stream=stream, backward=True)
            key_s: float | None = None
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                packet_s = float(packet.pts * stream.time_base) - video.start_offset_s
                if key_s is not None and (packet.is_keyframe or packet_s > key_s + MAX_NEXT_KEY_FRAME_S):
                    return key_s, min(packet_s, key_s + MAX_NEXT_KEY_FRAME_S)
                if packet.is_keyframe and key_s is None:
                    if packet_s > time_s + TOLERANCE_S:
                        break
                    key_s = packet_s
            else:
                if key_s is not None:
                    return key_s, key_s + MAX_NEXT_KEY_FRAME_S
    return None


def _load_index(container: InputContainer, stream: VideoStream) -> None:
    """Load the key frame index. FFmpeg reads that of a Matroska file only at the first seek."""
    if len(stream.index_entries) <= 1:
        with suppress(*FFMPEG_ERRORS):
            container.seek(0)


class _FrameWalker:
    """A forward iterator over the frames of a stream, with the frame on screen and the one after it."""

    def __init__(self, container: InputContainer, stream: VideoStream, video: VideoInfo, request: DecodeRequest) -> None:
        self._container, self._stream, self._video = container, stream, video
        assert stream.time_base is not None
        self._time_base = stream.time_base
        self._can_seek = is_seekable(video)
        if self._can_seek:
            _load_index(container, stream)
        self._uses_dts = uses_dts(video)
        # Packets are not inspected if their timestamps are unreliable, or if only key frames are decoded.
        self._inspects_packets = not self._uses_dts and not request.key_frames_only
        self._may_skip = self._inspects_packets and video.codec in SKIPPABLE_CODECS
        self._requested_times_s = request.times_s
        self.current: VideoFrame | None = None
        self._current_is_intact = False
        self._next: VideoFrame | None = None
        self._next_is_intact = False
        self._reset()

    def _reset(self) -> None:
        """Discard all state, after a seek or at the beginning."""
        self._packets: Iterator[Packet] = self._demux()
        self._ahead: deque[Packet] = deque()
        self._passed_times_s: deque[float] = deque(maxlen=MAX_LOOKAHEAD_PACKETS)
        self._expected_times_s: list[float] = []
        self._failed_times_s: set[float] = set()
        self._is_broken = False
        self._frames = self._decode()
        self.current, self._next = None, None
        self._has_begun = False

    def time_s(self, frame: VideoFrame | Packet) -> float:
        """Return the presentation timestamp in seconds from the container's start."""
        assert frame.pts is not None
        return float(frame.pts * (frame.time_base or self._time_base)) - self._video.start_offset_s

    def seek_to(self, requested_s: float) -> Iterator[None]:
        """Set `current` to the last frame that starts at or before `requested_s`, or else to the first. Yield heartbeats."""
        if self._can_seek and self._has_key_frame_ahead(requested_s):
            yield from self._seek(requested_s)
        yield from self._advance(requested_s)

    def _advance(self, requested_s: float) -> Iterator[None]:
        if not self._has_begun:
            yield from self._fetch()
        while self._next is not None and (self.current is None or self.time_s(self._next) <= requested_s + TOLERANCE_S):
            self.current, self._current_is_intact = self._next, self._next_is_intact
            yield from self._fetch()

    def _fetch(self) -> Iterator[None]:
        """Decode the next frame. Yield heartbeats."""
        self._has_begun, self._next = True, None
        for item in self._frames:
            if item is not None:
                self._next, self._next_is_intact = item
                return
            yield None

    def is_intact(self, requested_s: float) -> bool:
        """Whether `current` is undamaged, and no missing frame is on screen at `requested_s` instead."""
        assert self.current is not None
        current_s, limit_s = self.time_s(self.current), requested_s + TOLERANCE_S
        is_missing = any(current_s < failed_s <= limit_s for failed_s in self._failed_times_s)
        if self._inspects_packets and self._video.codec not in HIDDEN_FRAME_CODECS:
            index = bisect.bisect_right(self._expected_times_s, limit_s) - 1
            is_missing = is_missing or (index >= 0 and self._expected_times_s[index] > current_s + TOLERANCE_S)
        return self._current_is_intact and not is_missing

    def end_s(self) -> float | None:
        """Return the end of the last frame if it is the current one, else None."""
        if self._next is not None or self.current is None:
            return None
        duration_s = float(self.current.duration * (self.current.time_base or self._time_base)) if self.current.duration else 0.0
        return self.time_s(self.current) + max(duration_s, 1 / self._video.fps_nominal)

    # -- from packets to frames -----------------------------------------------------------------------------------

    def _demux(self) -> Iterator[Packet]:
        try:
            yield from self._container.demux(self._stream)
        except FFMPEG_ERRORS as error:
            log.info("%s is truncated or damaged: %s", self._video.path.name, error)

    def _decode(self) -> Iterator[tuple[VideoFrame, bool] | None]:
        """Yield frames, each with whether it is undamaged, and None as a heartbeat."""
        last_pts, period_pts = None, 1
        context = cast(CodecContext, self._stream.codec_context)
        heartbeat_at_s = time.monotonic()
        while (packet := self._next_packet()) is not None:
            if time.monotonic() - heartbeat_at_s > HEARTBEAT_S:
                heartbeat_at_s = time.monotonic()
                yield None
            if self._inspects_packets and packet.pts is not None:
                is_requested = self._is_requested(packet)
                self._passed_times_s.append(self.time_s(packet))
                if is_requested and packet.size:
                    bisect.insort(self._expected_times_s, self.time_s(packet))
                if self._may_skip:
                    context.skip_frame = "DEFAULT" if is_requested else "NONREF"
            try:
                # Only the frames of a damaged packet are lost, not the rest of the file.
                frames = packet.decode()
            except FFMPEG_ERRORS as error:
                log.debug("%s: packet at %s: %s", self._video.path.name, packet.pts, error)
                # Later frames may refer to its frame, up to the next key frame.
                self._is_broken = True
                if packet.pts is not None:
                    self._failed_times_s.add(self.time_s(packet))
                continue
            for frame in frames:
                if self._uses_dts:
                    # The last frames are output after the last packet, without timestamps; the frame period is extrapolated.
                    frame.pts = frame.dts if frame.dts is not None or last_pts is None else last_pts + period_pts
                    if frame.pts is not None and last_pts is not None:
                        period_pts = frame.pts - last_pts
                    last_pts = frame.pts
                if frame.pts is None or self.time_s(frame) >= self._video.duration_s + IMPLAUSIBLE_S:
                    continue
                if frame.key_frame:
                    # Later frames copy from a damaged key frame, and the decoder does not report them as damaged.
                    self._is_broken = frame.is_corrupt or self.time_s(frame) in self._failed_times_s
                yield frame, not (self._is_broken or frame.is_corrupt)

    def _next_packet(self) -> Packet | None:
        return self._ahead.popleft() if self._ahead else next(self._packets, None)

    def _is_requested(self, packet: Packet) -> bool:
        """Whether this packet's frame is on screen at a requested time; true if the packets do not determine it."""
        if packet.is_discard:
            return False
        time_s = self.time_s(packet)
        if self.current is None:
            # The first frame is the result for all requested times before it.
            return True
        index = bisect.bisect_left(self._requested_times_s, time_s - TOLERANCE_S)
        if index == len(self._requested_times_s):
            return False
        until_s = self._requested_times_s[index] + TOLERANCE_S
        if any(time_s < other_s <= until_s for other_s in self._passed_times_s):
            return False
        for other in self._lookahead():
            if other.pts is not None and time_s < self.time_s(other) <= until_s and not other.is_discard:
                return False
            if other.dts is not None and float(other.dts * self._time_base) - self._video.start_offset_s > until_s:
                # Packets that are decoded later are also shown later.
                return True
        return True

    def _lookahead(self) -> Iterator[Packet]:
        yield from tuple(self._ahead)
        while len(self._ahead) < MAX_LOOKAHEAD_PACKETS and (packet := next(self._packets, None)) is not None:
            self._ahead.append(packet)
            yield packet

    # -- seeking --------------------------------------------------------------------------------------------------

    def _pts(self, time_s: float) -> int:
        return int((time_s + self._video.start_offset_s) / self._time_base)

    def _has_key_frame_ahead(self, requested_s: float) -> bool:
        if not self._has_begun:
            # No frame has been decoded yet, so a seek to any key frame after the first one saves time.
            current_s = 0.0
        elif self._next is None:
            return False
        else:
            current_s = self.time_s(self._next)
        if current_s >= requested_s:
            return False
        entries: Any = self._stream.index_entries
        index = entries.search_timestamp(self._pts(requested_s)) if len(entries) else -1
        return index >= 0 and float(entries[index].timestamp * self._time_base) - self._video.start_offset_s > current_s

    def _seek(self, requested_s: float) -> Iterator[None]:
        for backoff_s in BACKOFF_S:
            yield from self._seek_to_pts(max(0, self._pts(requested_s - backoff_s)))
            if self._next is not None and self.time_s(self._next) <= requested_s + TOLERANCE_S:
                return
        # No seek ends before the target, so the stream is read from the beginning.
        yield from self._seek_to_pts(0)

    def _seek_to_pts(self, pts: int) -> Iterator[None]:
        """Seek, and decode the next frame; if a damaged file does not allow seeking, decode from the current position."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
        except FFMPEG_ERRORS as error:
            log.info("%s: cannot seek: %s", self._video.path.name, error)
        self._reset()
        yield from self._fetch()


class FrameConverter:
    """A converter of frames to upright 8-bit sRGB of the requested size. HDR is tone-mapped.

    Colour matrix and range are those that the frame specifies.
    """

    def __init__(self, height: int, width: int, rotation_deg: int, *, is_mirrored: bool) -> None:
        is_on_side = rotation_deg in (90, 270)
        self._size = {"width": height, "height": width} if is_on_side else {"width": width, "height": height}
        self._quarter_turns, self._is_mirrored = -rotation_deg // 90, is_mirrored
        # All frames share one reformatter, because the setup of tone mapping takes a second.
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return the frame as RGB uint8 of shape (height, width, 3)."""
        options: dict[str, Any] = dict(self._size)
        if frame.colorspace == UNSPECIFIED and frame.format.name.startswith(("yuv", "nv", "p0")):
            options["src_colorspace"] = Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601
        if frame.color_trc in HDR_TRANSFERS:
            # Since FFmpeg 8, libswscale maps tones and gamut if transfer and primaries of the output differ.
            options |= {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
        scaled_frame = self._reformatter.reformat(frame, format="rgb24", interpolation=Interpolation.AREA, threads=1, **options)
        pixels = cast("NDArray[np.uint8]", scaled_frame.to_ndarray())
        pixels = pixels[:, ::-1] if self._is_mirrored else pixels
        return np.ascontiguousarray(np.rot90(pixels, self._quarter_turns))
