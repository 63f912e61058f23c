"""Decoding of an audio stream: packets -> decoded frames with plausible times, for `longview.video.decoding.audio`."""

import itertools
import logging
import math
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

import av
from av import Packet
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Stream

from longview.video.decoding.backends.base import CUT_OFF_S, IMPLAUSIBLE_S, is_seekable
from longview.video.errors import UnreadableVideo
from longview.video.probing.container import (
    ESTIMATED_CONTAINERS,
    FFMPEG_ERRORS,
    HEARTBEAT_S,
    INDEXLESS_CONTAINERS,
    open_container,
)
from longview.video.probing.guard import may_decode
from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)

SEEK_BACK_S = (1.0, 10.0)
"""Seconds by which to seek before the start: the first frames after a seek may be damaged or missing. The second value is for
files in which the first seek ends too late."""
MIN_LEAD_S = 0.5
"""Minimum time before the start at which a seek must end, in seconds."""
INDEXED_CONTAINERS = frozenset({"mov"})
"""Containers in which FFmpeg skips discarded streams without reading their data. In the others it would read on to the next
packet of the audio stream without a heartbeat."""
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Range of plausible sample rates, in hertz. At a lower rate, one packet would become hundreds of megabytes."""
MAX_STEP_S = 1.0
"""Maximum time between the end of a frame and the start of the next one, in seconds, that is not a jump."""
CONFIRMING_S = 2.0
"""Duration of the sound after a jump, in seconds, whose timestamps must agree with the jump."""
MAX_READ_ERRORS = 100
"""Maximum number of consecutive errors of the demuxer; a file with more is truncated."""


@dataclass(frozen=True)
class Sound:
    """A decoded frame of an audio stream."""

    frame: AudioFrame
    time_s: float
    """Start in seconds from the container's start."""
    follows_damage: bool
    """Whether sound before this frame could not be decoded."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frame.samples / self.frame.sample_rate

    @property
    def end_s(self) -> float:
        """End in seconds from the container's start."""
        return self.time_s + self.duration_s


class SoundReader:
    """A reader of the sound of an audio stream."""

    def __init__(self, video: VideoInfo, stream_index: int, start_s: float) -> None:
        self._video, self._stream_index, self._start_s = video, stream_index, start_s
        self.declared_end_s: float | None = None
        """End of the sound that the file declares, in seconds; None if it does not declare it. It is set by `read`."""

    def read(self) -> Generator[Sound | None, None, None]:
        """Yield the sound from some time before the start, in the order of the file, and None as a heartbeat.

        Times may overlap, and may have gaps.

        Raises:
            UnreadableVideo: there is no such stream, or its codec may not be decoded. NotAVideo: the file is no longer a video.
        """
        seeks_s = [self._start_s - back_s for back_s in SEEK_BACK_S if self._start_s > back_s and is_seekable(self._video)]
        for seek_s in [*seeks_s, None]:
            with open_container(self._video.path) as container:
                stream = self._stream(container)
                stream.codec_context.thread_count = 1
                self.declared_end_s = self._declared_end_s(container, stream)
                packets = self._packets(container, stream)
                if seek_s is not None:
                    first = self._seek(container, stream, packets, seek_s)
                    if first is None:
                        continue
                    packets = itertools.chain([first], packets)
                yield from self._plausible(self._decode(packets, stream))
                return

    def _stream(self, container: InputContainer) -> AudioStream:
        name, streams = self._video.path.name, [item for item in container.streams.audio if item.index == self._stream_index]
        if not streams:
            raise UnreadableVideo(f"{name} has no audio track in stream {self._stream_index}; add the file again.")
        codec = streams[0].codec_context.codec.canonical_name if streams[0].codec_context else "unknown"
        if not may_decode(codec):
            raise UnreadableVideo(f"{name} has sound in the codec {codec}, which is not supported; convert it to AAC first.")
        return streams[0]

    def _declared_end_s(self, container: InputContainer, stream: AudioStream) -> float | None:
        if container.format.name in INDEXLESS_CONTAINERS | ESTIMATED_CONTAINERS or not container.duration:
            return None
        end_s = math.inf
        if stream.duration and stream.time_base:
            end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - self._video.start_offset_s
        else:
            # FFmpeg and MKVToolNix write the duration of each stream into Matroska files as a tag, such as 00:01:02.500000000.
            with suppress(KeyError, ValueError):
                hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
                end_s = hours * 3600 + minutes * 60 + seconds - self._video.start_offset_s
        # A stream that declares a longer duration than its container is damaged.
        return end_s if end_s <= container.duration / av.time_base + 1 else None

    def _time_s(self, item: Packet | AudioFrame, tick_s: float) -> float | None:
        """Return the timestamp in seconds from the container's start."""
        return None if item.pts is None else item.pts * tick_s - self._video.start_offset_s

    # -- packets --------------------------------------------------------------------------------------------------

    def _seek(self, container: InputContainer, stream: AudioStream, packets: Iterator[Packet], seek_s: float) -> Packet | None:
        """Seek to a time, and return the first packet of the stream with a timestamp, or None if it starts too late."""
        tick_s = _tick_s(stream)
        try:
            container.seek(int((seek_s + self._video.start_offset_s) / tick_s), stream=stream, backward=True)
        except FFMPEG_ERRORS as error:
            log.info("%s: cannot seek: %s", self._video.path.name, error)
            return None
        for packet in packets:
            if packet.stream.index == stream.index and (time_s := self._time_s(packet, tick_s)) is not None:
                return packet if time_s <= self._start_s - MIN_LEAD_S else None
        return None

    def _packets(self, container: InputContainer, stream: AudioStream) -> Iterator[Packet]:
        """Yield the packets of all streams, or only of the audio stream if the others can be skipped."""
        if self.declared_end_s is not None and not INDEXED_CONTAINERS.isdisjoint(container.format.name.split(",")):
            for other in container.streams:
                if other.index != stream.index:
                    other.discard = Discard.all
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                for packet in container.demux():
                    errors = 0
                    yield packet
                return
            except FFMPEG_ERRORS as error:
                log.info("%s is truncated or damaged: %s", self._video.path.name, error)
                errors += 1

    # -- from packets to sound ------------------------------------------------------------------------------------

    def _decode(self, packets: Iterable[Packet], stream: AudioStream) -> Iterator[Sound | None]:
        """Decode the packets of the stream. Yield heartbeats."""
        is_damaged = False
        # Ends of the last packet of any stream, and of the last frame of this one.
        last_s, end_s = 0.0, 0.0
        tick_s = _tick_s(stream)
        heartbeat_at_s = time.monotonic()
        for packet in packets:
            if time.monotonic() - heartbeat_at_s > HEARTBEAT_S:
                heartbeat_at_s = time.monotonic()
                yield None
            if packet.stream.index != stream.index:
                if (time_s := self._time_s(packet, _tick_s(packet.stream))) is not None:
                    last_s = max(last_s, time_s)
                continue
            if (time_s := self._time_s(packet, tick_s)) is not None:
                packet_end_s = time_s + (packet.duration or 0) * tick_s
                last_s = max(last_s, packet_end_s)
                if packet_end_s < self._start_s - SEEK_BACK_S[0]:
                    continue
            is_damaged = is_damaged or packet.is_corrupt
            try:
                # Only the sound of a damaged packet is lost, not the rest of the file.
                frames = cast("list[AudioFrame]", packet.decode())
            except FFMPEG_ERRORS as error:
                log.debug("%s: packet at %s: %s", self._video.path.name, packet.pts, error)
                is_damaged = True
                continue
            for frame in frames:
                if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
                    is_damaged = True
                elif frame.samples:
                    # Only the first of several frames in a packet may have a timestamp.
                    time_s = self._time_s(frame, tick_s)
                    sound = Sound(frame, end_s if time_s is None else time_s, is_damaged)
                    yield sound
                    is_damaged, end_s = False, sound.end_s
        if self.declared_end_s is None and last_s < self._video.duration_s - CUT_OFF_S:
            # All streams end before the end of the video.
            self.declared_end_s = self._video.duration_s

    def _plausible(self, sounds: Iterable[Sound | None]) -> Generator[Sound | None, None, None]:
        """Drop frames long after the end, and correct timestamps that the next frames contradict.

        After a jump in time, frames are held until they continue for `CONFIRMING_S`.
        """
        clock_s = max(0.0, self._start_s - SEEK_BACK_S[0])
        waiting: list[Sound] = []
        is_damaged = False
        for sound in sounds:
            if sound is None:
                yield None
                continue
            if sound.time_s > max(self._video.duration_s, self.declared_end_s or 0.0, clock_s) + IMPLAUSIBLE_S:
                # One wrong timestamp must not become hours of silence.
                is_damaged = True
                continue
            if is_damaged:
                sound, is_damaged = replace(sound, follows_damage=True), False
            if waiting:
                held_s = sum(item.duration_s for item in waiting)
                if _continues(sound, waiting[-1].end_s):
                    waiting.append(sound)
                    if held_s + sound.duration_s < CONFIRMING_S:
                        continue
                    sound = waiting.pop()
                    clock_s = sound.time_s
                elif _continues(sound, clock_s + held_s) or sound.time_s < waiting[-1].end_s:
                    # The held timestamps are wrong: this frame continues the time before them, or steps back from them.
                    ends_s = itertools.accumulate((item.duration_s for item in waiting), initial=clock_s)
                    waiting = [replace(item, time_s=time_s) for item, time_s in zip(waiting, ends_s, strict=False)]
                    clock_s += held_s
                else:
                    clock_s = waiting[-1].end_s
                yield from waiting
                waiting = []
            if _continues(sound, clock_s):
                yield sound
                clock_s = sound.end_s
            else:
                waiting = [sound]
        yield from waiting


def _tick_s(stream: Stream) -> float:
    """Return the unit of a stream's timestamps, in seconds, as a float because `Fraction` is too slow for every packet."""
    return float(stream.time_base or 1)


def _continues(sound: Sound, end_s: float) -> bool:
    """Whether a frame follows one that ends at `end_s` without a jump."""
    return abs(sound.time_s - end_s) <= MAX_STEP_S
