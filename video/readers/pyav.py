"""PyAV: FFmpeg's libraries in this process. The default, because no wrong frame was ever found with it."""

import logging
from collections.abc import Iterator, Sequence
from typing import cast

import av
import numpy as np
from av import Packet
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from video.decoder import PicturesEnd
from video.probe import VideoInfo, opened

log = logging.getLogger(__name__)

TOLERANCE_S = 6e-4
"""A frame this much later than the wanted time still counts as shown: container times are rounded to milliseconds,
which takes up to half a millisecond, and a little more in floating point."""
IMPLAUSIBLE_S = 10.0
"""A frame that claims a time this far behind the video's end has a damaged time; believed, it would hide the rest."""
CUT_OFF_S = 1.0
"""Wanted times so much later than the end of the last picture mean that the file is cut off."""
WITHOUT_PRESENTATION_TIMES = ("avi",)
"""Containers that only know decoding times: what FFmpeg makes of them as presentation times jumps with B-frames."""
UNSEEKABLE = ("mpegts", "mpeg")
"""Containers in which a seek was seen to land on a wrong frame: read in order."""
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)
"""How much earlier to seek when a seek lands after the target: it matches decoding times, not presentation times."""


def read(video: VideoInfo, times_s: Sequence[float], height: int, width: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """See `video.decoder.Reader`. Seeks only where a key frame lies between here and the wanted time."""
    with opened(video.path) as container:
        stream = cast(VideoStream, container.streams[video.stream_index])
        stream.thread_type = "AUTO"
        pictures = _Pictures(container, stream, video)
        last_s = -np.inf
        for wanted_s in times_s:
            shown = pictures.shown_at(wanted_s)
            if shown is None:
                break
            time_s = pictures.time_s(shown)
            if time_s > last_s:
                last_s = time_s
                yield time_s, _upright(shown, height, width, video.rotation_deg)
            end_s = pictures.end_s()
            if end_s is not None and wanted_s > end_s + CUT_OFF_S:
                raise PicturesEnd(end_s)


class _Pictures:
    """Walks forward through a stream and keeps the picture on screen and the one after it."""

    def __init__(self, container: InputContainer, stream: VideoStream, video: VideoInfo) -> None:
        self._container, self._stream, self._video = container, stream, video
        names = video.container.split(",")
        self._can_seek = not any(name in UNSEEKABLE for name in names)
        self._counts_decoding_time = any(name in WITHOUT_PRESENTATION_TIMES for name in names)
        self._frames = self._decoded()
        self._now: VideoFrame | None = None
        self._next: VideoFrame | None = next(self._frames, None)

    def time_s(self, frame: VideoFrame) -> float:
        """Presentation time on the player's clock."""
        assert frame.pts is not None and frame.time_base is not None
        return float(frame.pts * frame.time_base) - self._video.start_offset_s

    def shown_at(self, wanted_s: float) -> VideoFrame | None:
        """The last frame that starts at or before `wanted_s`; the first one if none does; None if there is none at all."""
        if self._can_seek and self._key_frame_ahead(wanted_s):
            self._seek(wanted_s)
        while self._next is not None and (self._now is None or self.time_s(self._next) <= wanted_s + TOLERANCE_S):
            self._now, self._next = self._next, next(self._frames, None)
        return self._now

    def end_s(self) -> float | None:
        """When the last picture goes off the screen, once it has been reached; None before."""
        if self._next is not None or self._now is None:
            return None
        assert self._now.time_base is not None
        shown_s = float(self._now.duration * self._now.time_base) if self._now.duration else 1 / self._video.fps_nominal
        return self.time_s(self._now) + shown_s

    def _packets(self) -> Iterator[Packet]:
        try:
            yield from self._container.demux(self._stream)
        except (av.error.FFmpegError, ValueError) as error:
            log.info("%s breaks off: %s", self._video.path.name, error)

    def _decoded(self) -> Iterator[VideoFrame]:
        last_pts, step = None, 1
        for packet in self._packets():
            try:
                # A damaged packet costs its own frames, not the rest of the file.
                frames = packet.decode()
            except (av.error.FFmpegError, ValueError) as error:
                log.debug("%s: packet at %s: %s", self._video.path.name, packet.pts, error)
                continue
            for frame in frames:
                if not isinstance(frame, VideoFrame):
                    continue
                if self._counts_decoding_time:
                    # The last frames come out when nothing goes in any more; they follow at the same pace.
                    frame.pts = frame.dts if frame.dts is not None or last_pts is None else last_pts + step
                    if frame.pts is not None and last_pts is not None:
                        step = frame.pts - last_pts
                    last_pts = frame.pts
                if frame.pts is not None and self.time_s(frame) < self._video.duration_s + IMPLAUSIBLE_S:
                    yield frame

    def _stamp(self, time_s: float) -> int:
        assert self._stream.time_base is not None
        return int((time_s + self._video.start_offset_s) / self._stream.time_base)

    def _key_frame_ahead(self, wanted_s: float) -> bool:
        if self._next is None or self.time_s(self._next) >= wanted_s:
            return False
        entries = self._stream.index_entries
        index = entries.search_timestamp(self._stamp(wanted_s)) if len(entries) else -1
        if index < 0:
            return False
        assert self._stream.time_base is not None
        key_s = float(entries[index].timestamp * self._stream.time_base) - self._video.start_offset_s
        return key_s > self.time_s(self._next)

    def _seek(self, wanted_s: float) -> None:
        here_s = self.time_s(self._now) if self._now is not None else -np.inf
        for backoff_s in BACKOFF_S:
            first = self._first_from(max(0, self._stamp(wanted_s - backoff_s)))
            if first is not None and self.time_s(first) <= wanted_s + TOLERANCE_S:
                break
        else:
            # No key frame before the target can be reached by seeking: read in order from the beginning.
            first = self._first_from(0)
        if first is not None and self.time_s(first) < here_s:
            log.debug("%s: a seek to %.3f went back to %.3f", self._video.path.name, wanted_s, self.time_s(first))
        self._now, self._next = None, first

    def _first_from(self, stamp: int) -> VideoFrame | None:
        """The first frame after a seek; where a damaged file cannot be sought in, the next one from here."""
        try:
            self._container.seek(stamp, stream=self._stream, backward=True)
        except (av.error.FFmpegError, ValueError) as error:
            log.info("%s: cannot seek: %s", self._video.path.name, error)
        self._frames = self._decoded()
        return next(self._frames, None)


def _upright(frame: VideoFrame, height: int, width: int, rotation_deg: int) -> NDArray[np.uint8]:
    """RGB of the planned size, turned as a player turns it."""
    on_side = rotation_deg in (90, 270)
    scaled = frame.reformat(
        width=height if on_side else width, height=width if on_side else height, format="rgb24", interpolation=Interpolation.AREA
    )
    picture = cast("NDArray[np.uint8]", scaled.to_ndarray())
    return np.ascontiguousarray(np.rot90(picture, -rotation_deg // 90)) if rotation_deg else picture
