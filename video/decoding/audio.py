"""Sound of a file as blocks of mono samples, on the clock that players show, and the choice of an audio track.

`audio_blocks` runs in the decoding process (`longview.video.decoding.worker`); `Decoder.audio` in
`longview.video.decoding.decoder` is its client.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from longview.core.timeline import Span, merge_spans
from longview.video.decoding.audio_frames import Sound, SoundReader
from longview.video.decoding.backends.base import CUT_OFF_S
from longview.video.errors import NoSuchTrack, UnreadableVideo
from longview.video.language_tags import language_code
from longview.video.probing.container import FFMPEG_ERRORS
from longview.video.probing.probe import StreamInfo, VideoInfo

RATE_HZ = 16_000
"""Sample rate of the blocks, in hertz; speech models expect it."""
BLOCK_S = 10.0
"""Duration of a block, in seconds."""
BLOCK_SAMPLES = round(BLOCK_S * RATE_HZ)
MAX_JITTER_S = 0.05
"""Maximum difference between a timestamp and the end of the sound before, in seconds, that is ignored. Some containers round
timestamps, and encoders write packets early or late."""
MAX_DAMAGED_JITTER_S = 0.005
"""The same after damage, in seconds: a lost packet may have less than 50 ms of sound, and silence must replace it."""


@dataclass(frozen=True)
class AudioBlock:
    """A part of the sound of a file."""

    start_s: float
    """Time of the first sample, in seconds from the container's start."""
    samples: NDArray[np.float32]
    """Mono samples of shape (n,), 16,000 per second, from -1 to 1."""
    damaged: tuple[Span, ...] = ()
    """Spans that cannot be decoded; their samples are silence. If the file is cut off, the last span reaches from the end of the
    samples to the end that the file declares."""


def audio_blocks(
    video: VideoInfo, stream_index: int, *, start_s: float = 0.0, end_s: float | None = None
) -> Iterator[AudioBlock | None]:
    """Decode the sound from `start_s` to `end_s` or its end, in blocks of 10 s; the last block may be shorter.

    Each block starts where the one before ends. Gaps in the timestamps become silence, and sound that overlaps with the sound
    before is cut, so that all times are true. In between, None is yielded as a heartbeat.

    Raises:
        UnreadableVideo: there is no such stream, or none of its sound can be decoded. NotAVideo: the file is no longer a video.
    """
    reader = SoundReader(video, stream_index, start_s)
    writer = _BlockWriter(start_s, end_s)
    run: _Run | None = None
    with closing(reader.read()) as sounds:
        for sound in sounds:
            if sound is None:
                yield None
                continue
            if run is None or not run.continues_with(sound):
                time_s, index = sound.time_s, writer.index(sound.time_s)
                if run is not None:
                    yield from writer.write(run.index, run.finish())
                    if run.is_near(sound):
                        # Only the format changes.
                        time_s, index = run.end_s, run.index
                run = _Run(sound.frame, time_s, index)
                yield from writer.fill(index, is_damaged=sound.follows_damage)
            yield from writer.write(run.index, run.convert(sound.frame))
            if writer.is_complete:
                break
    if run is None and not start_s:
        raise UnreadableVideo(f"No sound of {video.path.name} can be decoded; the track is damaged or empty.")
    if run is not None:
        yield from writer.write(run.index, run.finish())
    yield from writer.finish(reader.declared_end_s)


class _Run:
    """The conversion of consecutive frames of one format to mono samples at 16 kHz."""

    def __init__(self, frame: AudioFrame, start_s: float, index: int) -> None:
        self._format = _format(frame)
        self._resampler: av.AudioResampler | None = None
        self.end_s = start_s
        """End of the converted frames, in seconds."""
        self.index = index
        """Index of the next sample, counted from the start of the first block."""

    def is_near(self, sound: Sound) -> bool:
        """Whether the frame starts where the frames before end, except for jitter."""
        max_jitter_s = MAX_DAMAGED_JITTER_S if sound.follows_damage else MAX_JITTER_S
        return abs(sound.time_s - self.end_s) <= max_jitter_s

    def continues_with(self, sound: Sound) -> bool:
        """Whether a frame belongs to this run."""
        return self._format == _format(sound.frame) and self.is_near(sound)

    def convert(self, frame: AudioFrame) -> NDArray[np.float32]:
        """Return the samples that are complete after this frame; the resampler delays the last ones."""
        self.end_s += frame.samples / frame.sample_rate
        if self._resampler is not None:
            return self._samples(self._resampler.resample(frame))
        options = {"rematrix_maxval": "1.0"}  # Without it, the sum of loud channels exceeds 1.
        self._resampler = av.AudioResampler("flt", "mono", RATE_HZ, options=options)
        try:
            return self._samples(self._resampler.resample(frame))
        except FFMPEG_ERRORS:
            # FFmpeg does not know where the speakers of this many channels are. `_samples` mixes them.
            self._resampler = av.AudioResampler("flt", frame.layout.name, RATE_HZ)
            return self._samples(self._resampler.resample(frame))

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples."""
        assert self._resampler is not None
        return self._samples(self._resampler.resample(None))

    def _samples(self, frames: list[AudioFrame]) -> NDArray[np.float32]:
        parts = [cast("NDArray[np.float32]", frame.to_ndarray()).reshape(frame.samples, -1) for frame in frames]
        samples = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
        self.index += len(samples)
        return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _BlockWriter:
    """A writer of samples into consecutive blocks. Its methods yield each block when it is complete."""

    def __init__(self, start_s: float, end_s: float | None) -> None:
        self._start_s, self._end_s = start_s, end_s
        self._end = None if end_s is None else self.index(end_s)
        # Index of the next sample.
        self._next = 0
        self._begin_block()

    def index(self, time_s: float) -> int:
        """Return the index of the sample at a time, counted from the start of the first block."""
        return round((time_s - self._start_s) * RATE_HZ)

    @property
    def is_complete(self) -> bool:
        """Whether all samples up to the requested end are written."""
        return self._end is not None and self._next >= self._end

    def write(self, index: int, samples: NDArray[np.float32]) -> Iterator[AudioBlock]:
        """Write the samples at an index, without those before it that are written already."""
        yield from self._append(samples[max(0, self._next - index) :])

    def fill(self, index: int, *, is_damaged: bool) -> Iterator[AudioBlock]:
        """Write silence up to an index."""
        index = index if self._end is None else min(index, self._end)
        silence = np.zeros(min(max(0, index - self._next), BLOCK_SAMPLES), np.float32)
        while index > self._next:
            count = min(index - self._next, BLOCK_SAMPLES - self._size)
            if is_damaged:
                self._damaged.append(Span(self._time_s(self._next), self._time_s(self._next + count)))
            yield from self._append(silence[:count])

    def finish(self, declared_end_s: float | None) -> Iterator[AudioBlock]:
        """Complete the last block. If the file is cut off before `declared_end_s`, the rest is damaged."""
        written_s = self._time_s(self._next)
        end_s = min((item for item in (declared_end_s, self._end_s) if item is not None), default=written_s)
        if not self.is_complete and declared_end_s is not None and end_s - written_s > CUT_OFF_S:
            self._damaged.append(Span(written_s, end_s))
        if self._size or self._damaged:
            yield self._take()

    def _append(self, samples: NDArray[np.float32]) -> Iterator[AudioBlock]:
        if self._end is not None:
            samples = samples[: max(0, self._end - self._next)]
        while len(samples):
            count = min(len(samples), BLOCK_SAMPLES - self._size)
            self._block[self._size : self._size + count] = samples[:count]
            self._size += count
            self._next += count
            samples = samples[count:]
            if self._size == BLOCK_SAMPLES:
                yield self._take()

    def _take(self) -> AudioBlock:
        start_s = self._time_s(self._next - self._size)
        samples = self._block[: self._size]
        # Float formats may contain any value.
        np.clip(np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0, out=samples)
        block = AudioBlock(start_s, samples, merge_spans(self._damaged, gap_s=1 / RATE_HZ))
        self._begin_block()
        return block

    def _begin_block(self) -> None:
        self._block, self._size = np.zeros(BLOCK_SAMPLES, np.float32), 0
        self._damaged: list[Span] = []

    def _time_s(self, index: int) -> float:
        return self._start_s + index / RATE_HZ


def select_audio_stream(video: VideoInfo, choice: str | int | None) -> StreamInfo:
    """Select an audio track: by its number, counted from 1, by its language (ISO 639-1 or 639-2), or the main one for None.

    The main track is the default one, or else the first that is neither a commentary nor an audio description.

    Raises:
        NoSuchTrack: no track matches the choice; the message lists the tracks.
    """
    streams = video.audio_streams
    if not streams:
        raise NoSuchTrack(f"{video.path.name} has no sound; choose another file.")
    if choice is None:
        return _first_main(tuple(stream for stream in streams if stream.is_default) or streams)
    if isinstance(choice, int):
        matches = streams[choice - 1 : choice] if choice > 0 else ()
    else:
        matches = tuple(stream for stream in streams if _is_same_language(stream.language, choice))
    if not matches:
        tracks = ", ".join(f"{number}: {_description(stream)}" for number, stream in enumerate(streams, 1))
        raise NoSuchTrack(f"{video.path.name} has no audio track {choice}; choose one of these: {tracks}.")
    return _first_main(matches)


def _first_main(streams: tuple[StreamInfo, ...]) -> StreamInfo:
    return next((stream for stream in streams if not stream.is_commentary), streams[0])


def _description(stream: StreamInfo) -> str:
    notes = [*([stream.title] if stream.title else []), *(["commentary"] if stream.is_commentary else [])]
    return (stream.language or "unknown language") + (f" ({', '.join(notes)})" if notes else "")


def _is_same_language(tag: str | None, choice: str) -> bool:
    return tag is not None and (tag == choice or (language_code(tag) or tag) == (language_code(choice) or choice))
