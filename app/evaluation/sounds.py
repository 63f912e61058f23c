"""Sounds without speech, synthesised from fixed seeds, and WAV files of sounds.

Sounds are mono samples, 16,000 per second, float32 of shape (n,), from -1 to 1. A recogniser must not recognise words in them,
and must recognise the words of speech that they are mixed with.
"""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longview.video.decoding.audio import RATE_HZ

Sound = NDArray[np.float32]

PEAK = 0.5
"""Largest amplitude of a synthesised sound."""
BEAT_S = 0.5
"""Time of a beat of the music, in seconds."""
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
"""Chords of the music in semitones above A3: A major, F sharp minor, D major, E major. Each lasts four beats."""
ROOT_HZ = 220.0
"""Frequency of A3."""


def silence(duration_s: float) -> Sound:
    """Return silence."""
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def white_noise(duration_s: float) -> Sound:
    """Return noise with the same power at all frequencies."""
    return _scale(np.random.default_rng(1).standard_normal(round(duration_s * RATE_HZ)))


def pink_noise(duration_s: float) -> Sound:
    """Return noise whose power falls by 3 dB per octave, like that of rain or of many voices."""
    size = round(duration_s * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / RATE_HZ)
    spectrum[1:] /= np.sqrt(frequencies[1:])
    spectrum[frequencies < 20.0] = 0
    return _scale(np.fft.irfft(spectrum, size))


def hum_and_clicks(duration_s: float) -> Sound:
    """Return mains hum of 50 Hz with its harmonics, and a click twice a second on average."""
    rng = np.random.default_rng(3)
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    sound = np.sum([np.sin(2 * np.pi * 50.0 * harmonic * times_s) / harmonic for harmonic in (1, 2, 3, 5)], axis=0)
    click = rng.standard_normal(RATE_HZ // 100) * np.exp(-np.arange(RATE_HZ // 100) / 30)
    for start in rng.integers(0, len(times_s) - len(click), round(2 * duration_s)):
        _add(sound, start, 3 * click)
    return _scale(sound)


def music(duration_s: float) -> Sound:
    """Return music: chords, a melody of two notes per beat, and drums."""
    rng = np.random.default_rng(4)
    sound = np.zeros(round(duration_s * RATE_HZ) + 4 * RATE_HZ)
    for beat in range(int(duration_s / BEAT_S)):
        chord = CHORDS[beat // 4 % len(CHORDS)]
        start = round(beat * BEAT_S * RATE_HZ)
        if beat % 4 == 0:
            for semitones in chord:
                _add(sound, start, 0.3 * _note(semitones, 4 * BEAT_S))
        for half in (0, 1):
            melody = int(rng.choice(chord)) + 12
            _add(sound, start + half * round(BEAT_S / 2 * RATE_HZ), 0.4 * _note(melody, BEAT_S / 2))
        _add(sound, start, _bass_drum() if beat % 2 == 0 else 0.5 * _snare_drum(rng))
    return _scale(sound[: round(duration_s * RATE_HZ)])


SOUNDS: dict[str, Callable[[float], Sound]] = {
    "silence": silence,
    "white noise": white_noise,
    "pink noise": pink_noise,
    "music": music,
    "hum and clicks": hum_and_clicks,
}
"""Sounds without speech by name. Each function takes the duration in seconds."""


def mix(speech: Sound, background: Sound, level_db: float) -> Sound:
    """Add a background to speech. `level_db`: power of the background relative to that of the speech without its pauses."""
    loud = speech[np.abs(speech) > 0.01 * np.abs(speech).max()]
    scale = np.sqrt(np.mean(loud**2) / np.mean(background**2)) * 10 ** (level_db / 20)
    mixed = speech + scale * background[: len(speech)]
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)


def write_wav(path: Path, sound: Sound) -> Path:
    """Write a sound as a WAV file of 16 bits; return its path."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _scale(sound: NDArray[np.float64]) -> Sound:
    return (PEAK * sound / np.abs(sound).max()).astype(np.float32)


def _add(sound: NDArray[np.float64], start: int, part: NDArray[np.float64]) -> None:
    sound[start : start + len(part)] += part


def _note(semitones: int, duration_s: float) -> NDArray[np.float64]:
    """Return a plucked note with four harmonics."""
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    frequency_hz = ROOT_HZ * 2 ** (semitones / 12)
    harmonics = [np.sin(2 * np.pi * frequency_hz * number * times_s) / number**2 for number in (1, 2, 3, 4)]
    attack = np.minimum(1.0, times_s / 0.01)
    return np.sum(harmonics, axis=0) * attack * np.exp(-2.0 * times_s / duration_s)


def _bass_drum() -> NDArray[np.float64]:
    times_s = np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * 60.0 * times_s) * np.exp(-15.0 * times_s)


def _snare_drum(rng: np.random.Generator) -> NDArray[np.float64]:
    times_s = np.arange(round(0.15 * RATE_HZ)) / RATE_HZ
    return rng.standard_normal(len(times_s)) * np.exp(-25.0 * times_s)
