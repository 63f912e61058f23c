"""PyAV: FFmpeg's libraries in this process. The default, because no wrong frame was ever found with it.

Packets are looked at before they are decoded. A packet whose picture is not on screen at any wanted time need not be
decoded if no other picture refers to it, and one that was wanted but did not come out is known to be missing.
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

from longview.video.backends.base import (
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
from longview.video.probe import FFMPEG_ERRORS, HDR_TRANSFERS, VideoInfo, open_container

log = logging.getLogger(__name__)

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)
"""How much earlier to seek when a seek lands after the target: it matches decoding times, not presentation times."""
SKIPS_UNREFERENCED = frozenset({"h264"})
"""Codecs whose decoder knows for certain which pictures no other refers to (nal_ref_idc 0, H.264 7.4.1). HEVC's
"sub-layer non-reference" pictures may be referred to from higher layers, so they do not count."""
HAS_HIDDEN_FRAMES = frozenset({"vp8", "vp9", "av1"})
"""Codecs with packets that hold no picture of their own: one that does not come out is not missing."""
MAX_NEXT_KEY_FRAME_S = 2.0
"""How far after a key frame the next one is of interest."""
MAX_LOOKAHEAD_PACKETS = 250
"""Packets that are read ahead, at most, to tell whether a picture is wanted."""
HEARTBEAT_S = 1.0
"""Between signs of life."""


def decode(video: VideoInfo, request: DecodeRequest) -> Iterator[DecodedFrame | None]:
    """See `longview.video.backends.base.Reader`. Seeks only where a key frame lies between here and the wanted time."""
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        stream.codec_context.thread_count = request.threads
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.options = stream.codec_context.options | {"max_pixels": str(request.max_pixels)}
        if request.key_frames_only:
            # Not by the demuxer's `discard`, which gave times that were wrong by 0.1 s.
            stream.codec_context.skip_frame = "NONKEY"
        pictures = _FrameWalker(container, stream, video, request)
        pixels = FrameConverter(request.height, request.width, video.rotation_deg, is_mirrored=video.is_mirrored)
        last_s = -np.inf
        for wanted_s in request.times_s:
            yield from pictures.seek_to(wanted_s)
            shown = pictures.current
            if shown is None or not pictures.is_intact(wanted_s):
                yield DecodedFrame(wanted_s, None, None)
            elif not request.key_frames_only and (end_s := pictures.end_s()) is not None and wanted_s > end_s + CUT_OFF_S:
                yield DecodedFrame(wanted_s, None, None, end_of_stream_s=end_s)
            elif (time_s := pictures.time_s(shown)) > last_s:
                last_s = time_s
                yield DecodedFrame(wanted_s, time_s, pixels.convert(shown))
        # A decoder with threads that still holds pictures was seen to crash when it is closed.
        stream.codec_context.flush_buffers()


def key_times(video: VideoInfo, times_s: list[float]) -> list[float]:
    """For each time where the last key frame at or before it begins, by the file's index; empty if it has none.

    Good for dividing work, not for telling people: the index of an MP4 counts decoding times, which with B-frames are
    some frames earlier than when the picture is shown (`key_frames_around` is exact).
    """
    if not is_seekable(video):
        return []
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        assert stream.time_base is not None
        _load_index(container, stream)
        entries = stream.index_entries
        found = []
        for time_s in times_s:
            index = entries.search_timestamp(int((time_s + video.start_offset_s) / stream.time_base)) if len(entries) else -1
            if index < 0:
                found.append(0.0)
            else:
                found.append(float(entries[index].timestamp * stream.time_base) - video.start_offset_s)
        return found if len(entries) > 1 else []


def key_frames_around(video: VideoInfo, time_s: float) -> tuple[float, float] | None:
    """When the last key frame at or before a time comes on screen, and when the next one does, at most 2 s after it.

    None if none can be sought out.
    """
    if not is_seekable(video):
        return None
    with open_container(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        assert stream.time_base is not None
        for backoff_s in BACKOFF_S:
            stamp = int((max(0.0, time_s - backoff_s) + video.start_offset_s) / stream.time_base)
            container.seek(stamp, stream=stream, backward=True)
            key_s: float | None = None
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                shown_s = float(packet.pts * stream.time_base) - video.start_offset_s
                if key_s is not None and (packet.is_keyframe or shown_s > key_s + MAX_NEXT_KEY_FRAME_S):
                    return key_s, min(shown_s, key_s + MAX_NEXT_KEY_FRAME_S)
                if packet.is_keyframe and key_s is None:
                    if shown_s > time_s + TOLERANCE_S:
                        break
                    key_s = shown_s
            else:
                if key_s is not None:
                    return key_s, key_s + MAX_NEXT_KEY_FRAME_S
    return None


def _load_index(container: InputContainer, stream: VideoStream) -> None:
    """Matroska reads its index of key frames only when someone seeks."""
    if len(stream.index_entries) <= 1:
        with suppress(*FFMPEG_ERRORS):
            container.seek(0)


class _FrameWalker:
    """Walks forward through a stream and keeps the picture on screen and the one after it."""

    def __init__(self, container: InputContainer, stream: VideoStream, video: VideoInfo, request: DecodeRequest) -> None:
        self._container, self._stream, self._video = container, stream, video
        assert stream.time_base is not None
        self._time_base = stream.time_base
        self._can_seek = is_seekable(video)
        if self._can_seek:
            _load_index(container, stream)
        self._uses_dts = uses_dts(video)
        # Without trustworthy times, or when all but key frames are left out anyway, packets say too little.
        self._looks_ahead = not self._uses_dts and not request.key_frames_only
        self._may_skip = self._looks_ahead and video.codec in SKIPS_UNREFERENCED
        self._requested_s = request.times_s
        self.current: VideoFrame | None = None
        self._current_is_intact = False
        self._next: VideoFrame | None = None
        self._next_is_intact = False
        self._reset()

    def _reset(self) -> None:
        """Forget what was read; what comes next comes after a seek, or first."""
        self._packets: Iterator[Packet] = self._demux()
        self._ahead: deque[Packet] = deque()
        self._passed_s: deque[float] = deque(maxlen=MAX_LOOKAHEAD_PACKETS)
        self._expected_s: list[float] = []
        self._failed_s: list[float] = []
        self._broken = False
        self._frames = self._decode()
        self.current, self._next = None, None
        self._began = False

    def time_s(self, frame: VideoFrame | Packet) -> float:
        """Presentation time on the player's clock."""
        assert frame.pts is not None
        return float(frame.pts * (frame.time_base or self._time_base)) - self._video.start_offset_s

    def seek_to(self, requested_s: float) -> Iterator[None]:
        """Make `now` the last frame that starts at or before `wanted_s`; the first one if none does. Yields signs of life."""
        if self._can_seek and self._has_key_frame_ahead(requested_s):
            yield from self._seek(requested_s)
        yield from self._advance(requested_s)

    def _advance(self, requested_s: float) -> Iterator[None]:
        if not self._began:
            yield from self._fetch()
        while self._next is not None and (self.current is None or self.time_s(self._next) <= requested_s + TOLERANCE_S):
            self.current, self._current_is_intact = self._next, self._next_is_intact
            yield from self._fetch()

    def _fetch(self) -> Iterator[None]:
        """Decode the next frame."""
        self._began, self._next = True, None
        for decoded in self._frames:
            if decoded is not None:
                self._next, self._next_is_intact = decoded
                return
            yield None

    def is_intact(self, requested_s: float) -> bool:
        """Whether `now` is undamaged and really the picture on screen at `wanted_s`."""
        assert self.current is not None
        now_s = self.time_s(self.current)
        lost = bool(self._failed_s) and any(now_s < failed_s <= requested_s + TOLERANCE_S for failed_s in self._failed_s)
        if self._looks_ahead and self._video.codec not in HAS_HIDDEN_FRAMES:
            index = bisect.bisect_right(self._expected_s, requested_s + TOLERANCE_S) - 1
            lost = lost or (index >= 0 and self._expected_s[index] > now_s + TOLERANCE_S)
        return self._current_is_intact and not lost

    def end_s(self) -> float | None:
        """When the last picture goes off the screen, once it has been reached; None before."""
        if self._next is not None or self.current is None:
            return None
        shown_s = float(self.current.duration * (self.current.time_base or self._time_base)) if self.current.duration else 0.0
        return self.time_s(self.current) + max(shown_s, 1 / self._video.fps_nominal)

    # -- from packets to frames -----------------------------------------------------------------------------------

    def _demux(self) -> Iterator[Packet]:
        try:
            yield from self._container.demux(self._stream)
        except FFMPEG_ERRORS as error:
            log.info("%s breaks off: %s", self._video.path.name, error)

    def _decode(self) -> Iterator[tuple[VideoFrame, bool] | None]:
        """Frames, each with whether it is undamaged; None as a sign of life."""
        last_pts, step = None, 1
        context = cast(CodecContext, self._stream.codec_context)
        signed = time.monotonic()
        while (packet := self._next_packet()) is not None:
            if time.monotonic() - signed > HEARTBEAT_S:
                signed = time.monotonic()
                yield None
            if self._looks_ahead and packet.pts is not None:
                wanted = self._is_requested(packet)
                self._passed_s.append(self.time_s(packet))
                if wanted and packet.size:
                    bisect.insort(self._expected_s, self.time_s(packet))
                if self._may_skip:
                    context.skip_frame = "DEFAULT" if wanted else "NONREF"
            try:
                # A damaged packet costs its own frames, not the rest of the file.
                frames = packet.decode()
            except FFMPEG_ERRORS as error:
                log.debug("%s: packet at %s: %s", self._video.path.name, packet.pts, error)
                # What refers to it is damaged too, up to the next key frame.
                self._broken = True
                if packet.pts is not None:
                    self._failed_s.append(self.time_s(packet))
                continue
            for frame in frames:
                if self._uses_dts:
                    # The last frames come out when nothing goes in any more; they follow at the same pace.
                    frame.pts = frame.dts if frame.dts is not None or last_pts is None else last_pts + step
                    if frame.pts is not None and last_pts is not None:
                        step = frame.pts - last_pts
                    last_pts = frame.pts
                if frame.pts is None or self.time_s(frame) >= self._video.duration_s + IMPLAUSIBLE_S:
                    continue
                self._broken = self._broken and not frame.key_frame
                yield frame, not (self._broken or frame.is_corrupt)

    def _next_packet(self) -> Packet | None:
        return self._ahead.popleft() if self._ahead else next(self._packets, None)

    def _is_requested(self, packet: Packet) -> bool:
        """Whether this packet's picture is on screen at a wanted time; yes, if packets do not tell."""
        if packet.is_discard:
            return False
        time_s = self.time_s(packet)
        if self.current is None:
            # Before the first picture the first one stands for the wanted time.
            return True
        index = bisect.bisect_left(self._requested_s, time_s - TOLERANCE_S)
        if index == len(self._requested_s):
            return False
        until_s = self._requested_s[index] + TOLERANCE_S
        if any(time_s < other_s <= until_s for other_s in self._passed_s):
            return False
        for other in self._lookahead():
            if other.pts is not None and time_s < self.time_s(other) <= until_s and not other.is_discard:
                return False
            if other.dts is not None and float(other.dts * self._time_base) - self._video.start_offset_s > until_s:
                # Whatever is decoded later is shown later.
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
        if not self._began:
            # Nothing was decoded yet: any key frame after the first is worth a seek.
            here_s = 0.0
        elif self._next is None:
            return False
        else:
            here_s = self.time_s(self._next)
        if here_s >= requested_s:
            return False
        entries: Any = self._stream.index_entries
        index = entries.search_timestamp(self._pts(requested_s)) if len(entries) else -1
        return index >= 0 and float(entries[index].timestamp * self._time_base) - self._video.start_offset_s > here_s

    def _seek(self, requested_s: float) -> Iterator[None]:
        for backoff_s in BACKOFF_S:
            yield from self._seek_to_pts(max(0, self._pts(requested_s - backoff_s)))
            if self._next is not None and self.time_s(self._next) <= requested_s + TOLERANCE_S:
                return
        # No key frame before the target can be reached by seeking: read in order from the beginning.
        yield from self._seek_to_pts(0)

    def _seek_to_pts(self, stamp: int) -> Iterator[None]:
        """Seek, and read the first frame; where a damaged file cannot be sought in, the next one from here."""
        try:
            self._container.seek(stamp, stream=self._stream, backward=True)
        except FFMPEG_ERRORS as error:
            log.info("%s: cannot seek: %s", self._video.path.name, error)
        self._reset()
        yield from self._fetch()


class FrameConverter:
    """From frames to 8-bit sRGB of the planned size, turned as a player turns it; HDR is tone-mapped.

    Colour matrix and range are those that the frame names.
    """

    def __init__(self, height: int, width: int, rotation_deg: int, *, is_mirrored: bool) -> None:
        self._on_side = rotation_deg in (90, 270)
        self._size = {"width": height, "height": width} if self._on_side else {"width": width, "height": height}
        self._quarter_turns, self._is_mirrored = -rotation_deg // 90, is_mirrored
        # One for all frames: preparing to map tones takes a second.
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """uint8 of shape (height, width, 3)."""
        options: dict[str, Any] = dict(self._size)
        if frame.colorspace == UNSPECIFIED and frame.format.name.startswith(("yuv", "nv", "p0")):
            options["src_colorspace"] = Colorspace.ITU709 if frame.height >= HD_HEIGHT_PX else Colorspace.ITU601
        if frame.color_trc in HDR_TRANSFERS:
            # Since FFmpeg 8, libswscale maps tones and gamut when it is told of another transfer and other primaries.
            options |= {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
        scaled = self._reformatter.reformat(frame, format="rgb24", interpolation=Interpolation.AREA, threads=1, **options)
        picture = cast("NDArray[np.uint8]", scaled.to_ndarray())
        picture = picture[:, ::-1] if self._is_mirrored else picture
        return np.ascontiguousarray(np.rot90(picture, self._quarter_turns))
