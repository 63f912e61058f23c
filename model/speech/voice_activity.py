"""Voice activity: blocks of sound -> chunks of speech of at most 30 s, cut at silences.

The recogniser invents words for silence, music and noise, and spends most of its time on them. The detector (Silero, part of
faster-whisper) removes them first. It works on a bounded buffer: the library's own call needs the whole file in memory (3.3 GB
for an hour).
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longview.core.timeline import Span
from longview.video.decoding.audio import RATE_HZ, AudioBlock

MAX_CHUNK_S = 30.0
"""Maximum speech in one chunk, in seconds: the window of Whisper's encoder."""
MIN_SILENCE_S = 0.3
"""Minimum silence that divides speech, in seconds."""
MIN_SPEECH_S = 0.25
"""Minimum speech, in seconds: the detector's own default. Shorter sounds are clicks and breaths."""
MIN_VOICE_PROBABILITY = 0.12
"""Minimum mean probability of voice in a piece that is examined once more alone. After minutes of loud noise the detector takes a
quarter of it for speech; examined alone, such pieces have 0.05, and the quietest piece of a recording of 1961 has 0.22."""
PADDING_S = 0.2
"""Time before and after detected speech that belongs to it, in seconds; quiet consonants are not detected."""
DETECTOR_SAMPLES = 512
"""Number of samples for which the detector gives one probability."""
MAX_GAP_S = 5.0
"""Maximum silence between two pieces of one chunk, in seconds. Sound that is further apart may be in another language."""
MIN_BUFFER_S = 60.0
"""Sound that is examined at once, in seconds. It is more than a chunk, so that each examination finds the end of one."""
SETTLED_S = 1.0
"""Time before the end of the buffer from which detected speech may still change, in seconds."""


@dataclass(frozen=True)
class SpeechPart:
    """A continuous piece of speech inside a chunk."""

    offset_s: float
    """Its start in the samples of the chunk, in seconds."""
    span: Span
    """Its time in the video."""


@dataclass(frozen=True)
class SpeechChunk:
    """Pieces of speech, one after another without the silences between them."""

    samples: NDArray[np.float32]
    """Mono, 16 kHz, shape (n,)."""
    parts: tuple[SpeechPart, ...]
    """In order of time."""
    done_s: float
    """Time up to which all sound is in this chunk or an earlier one, or has no speech, in seconds."""

    @property
    def duration_s(self) -> float:
        """Length of the samples, in seconds."""
        return len(self.samples) / RATE_HZ

    def time_s(self, offset_s: float) -> float:
        """Return the time in the video of an offset in the samples, in seconds."""
        part = self.part_at(offset_s)
        return min(max(part.span.start_s + offset_s - part.offset_s, part.span.start_s), part.span.end_s)

    def part_at(self, offset_s: float) -> SpeechPart:
        """Return the part that an offset in the samples belongs to."""
        return next((part for part in reversed(self.parts) if part.offset_s <= offset_s), self.parts[0])


@dataclass(frozen=True)
class _Speech:
    samples: NDArray[np.float32]
    span: Span


def speech_chunks(blocks: Iterable[AudioBlock]) -> Iterator[SpeechChunk]:
    """Yield the speech of consecutive blocks in chunks of at most `MAX_CHUNK_S`, in order of time."""
    pending: list[_Speech] = []
    for speech in _detect_speech(blocks):
        if pending and not _fits(pending, speech):
            yield _join(pending, pending[-1].span.end_s)
            pending = []
        pending.append(speech)
    if pending:
        yield _join(pending, pending[-1].span.end_s)


def _fits(pending: list[_Speech], speech: _Speech) -> bool:
    duration_s = sum(item.span.duration_s for item in pending) + speech.span.duration_s
    return duration_s <= MAX_CHUNK_S and speech.span.start_s - pending[-1].span.end_s <= MAX_GAP_S


def _detect_speech(blocks: Iterable[AudioBlock]) -> Iterator[_Speech]:
    """Yield continuous pieces of speech, each at most `MAX_CHUNK_S` long."""
    buffer, start_s = np.zeros(0, np.float32), None
    for block in blocks:
        start_s = block.start_s if start_s is None else start_s
        buffer = np.concatenate([buffer, block.samples])
        if len(buffer) >= MIN_BUFFER_S * RATE_HZ:
            consumed_samples = yield from _pieces(buffer, start_s, is_last=False)
            buffer, start_s = buffer[consumed_samples:], start_s + consumed_samples / RATE_HZ
    if start_s is not None and len(buffer):
        yield from _pieces(buffer, start_s, is_last=True)


def _pieces(buffer: NDArray[np.float32], start_s: float, *, is_last: bool) -> Generator[_Speech, None, int]:
    """Yield the speech in a buffer that later sound cannot change; return the number of samples that are settled."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        min_speech_duration_ms=round(MIN_SPEECH_S * 1000),
        min_silence_duration_ms=round(MIN_SILENCE_S * 1000),
        speech_pad_ms=round(PADDING_S * 1000),
        max_speech_duration_s=MAX_CHUNK_S,
    )
    settled_samples = len(buffer) if is_last else len(buffer) - round(SETTLED_S * RATE_HZ)
    for item in get_speech_timestamps(buffer, options):
        start, end = int(item["start"]), min(int(item["end"]), len(buffer))
        if end > settled_samples:
            return start
        if end > start and _voice_probability(buffer[start:end]) >= MIN_VOICE_PROBABILITY:
            span = Span(start_s + start / RATE_HZ, start_s + end / RATE_HZ)
            yield _Speech(buffer[start:end].copy(), span)
    return settled_samples


def _voice_probability(samples: NDArray[np.float32]) -> float:
    """Return the mean probability of voice in samples that are examined alone."""
    from faster_whisper.vad import get_vad_model

    padding = -len(samples) % DETECTOR_SAMPLES
    return float(np.mean(get_vad_model()(np.pad(samples, (0, padding)))))


def _join(pieces: list[_Speech], done_s: float) -> SpeechChunk:
    parts, offset = [], 0
    for piece in pieces:
        parts.append(SpeechPart(offset / RATE_HZ, piece.span))
        offset += len(piece.samples)
    return SpeechChunk(np.concatenate([piece.samples for piece in pieces]), tuple(parts), done_s)
