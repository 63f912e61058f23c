"""Tests with damaged files: each gives frames, sound or a typed error in time, and leaks neither processes nor memory."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from longview.video.decoding.audio import RATE_HZ
from longview.video.decoding.decoder import Decoder
from longview.video.errors import DecoderDied, VideoError
from longview.video.probing.guard import Limits
from tests.support import media_samples
from tests.support.barcodes import run_ffmpeg

SOURCES = ("h264.mp4", "hevc10.mkv", "vp9.webm", "mpeg4.avi", "mpeg2.ts", "flash.flv", "theora.ogv")
LIMITS = Limits(stall_s=10.0, memory_bytes=2 << 30)
MAX_EXCESS_S = 30.0
"""Maximum time by which the sound may outlast the duration that the damaged header declares, in seconds."""
MAX_GROWTH_BYTES = 64 << 20
"""Maximum memory growth of the parent process over all files; a leaked frame buffer per file would be far more."""
Damage = Callable[[bytes, bytes, random.Random], bytes]
"""Function from a file, another file and a random generator to a damaged file."""


def flip_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change a few bytes anywhere."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 4, 30, 300])):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def flip_header_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change a few bytes in the header."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 3, 10])):
        damaged[rng.randrange(min(2048, len(damaged)))] = rng.randrange(256)
    return bytes(damaged)


def truncate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Insert a piece of this file or of another one at a random position, or overwrite the bytes there."""
    source = rng.choice([data, other])
    begin, length = rng.randrange(len(source)), rng.randrange(1, 20_000)
    position = rng.randrange(len(data))
    return data[:position] + source[begin : begin + length] + data[position + rng.choice([0, length]) :]


SOUND_SOURCES = {
    "a.mp3": ("-c:a", "libmp3lame"),
    "a.m4a": ("-c:a", "aac"),
    "a.ts": ("-c:a", "mp2"),
    "a.opus": ("-c:a", "libopus"),
    "a.mka": ("-c:a", "flac"),
}
DAMAGES: tuple[Damage, ...] = (flip_bytes, flip_header_bytes, truncate, splice)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")
    return {name: media_samples.make(folder, name).read_bytes() for name in SOURCES}


@pytest.mark.parametrize(
    ("seed", "files"),
    [pytest.param(1, 200, id="200 files"), pytest.param(2, 1000, id="1000 files", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(1800)
def test_damaged_file_gives_frames_or_a_typed_error(sources: dict[str, bytes], tmp_path: Path, seed: int, files: int) -> None:
    rng = random.Random(seed)
    decoder = Decoder(LIMITS, processes=2)
    parent = psutil.Process()
    before = {child.pid for child in parent.children(recursive=True)}
    outcomes: dict[str, int] = {}
    bad_messages: list[str] = []
    memory_bytes = 0
    for number in range(files):
        name = SOURCES[number % len(SOURCES)]
        damage = DAMAGES[number // len(SOURCES) % len(DAMAGES)]
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(damage(sources[name], sources[rng.choice(SOURCES)], rng))
        start_s = time.monotonic()
        try:
            video = decoder.probe(path)
            # A damaged header may declare a duration of days.
            requested_s = [video.duration_s * index / 12 for index in range(12)]
            chunks = list(decoder.frames_played_at(video, requested_s, 96, 128))
            times_s = np.concatenate([chunk.times_s for chunk in chunks])
            assert (np.diff(times_s) > 0).all()
            assert all(chunk.frames.shape[1:] == (96, 128, 3) for chunk in chunks)
            outcome = "frames"
        except VideoError as error:
            bad_messages += [f"{damage.__name__} {name}: {error}"] if path.name not in str(error) else []
            # An unhandled exception in the worker process ends it with this code.
            bad_messages += [f"{damage.__name__} {name}: {error}"] if "exit code 1)" in str(error) else []
            outcome = "stopped" if isinstance(error.__cause__, DecoderDied) else "refused"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        # Each of the two backends may hang once; everything else is fast.
        assert time.monotonic() - start_s < 2 * LIMITS.stall_s + 20, f"{damage.__name__} {name} {number}"
        path.unlink()
        if number == files // 4:
            memory_bytes = parent.memory_info().rss
    assert parent.memory_info().rss - memory_bytes < MAX_GROWTH_BYTES
    assert bad_messages == []
    # Most damage only loses frames; without any frames, the test would only cover error messages.
    assert outcomes["frames"] > files * 0.5
    assert len([child for child in parent.children(recursive=True) if child.pid not in before]) <= 2
    decoder.close()
    assert [child for child in parent.children(recursive=True) if child.pid not in before] == []


def test_damaged_sound_gives_consecutive_blocks_or_an_error(tmp_path: Path) -> None:
    sources: dict[str, bytes] = {}
    for name, options in SOUND_SOURCES.items():
        run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=12:a=0.2:r=44100:seed=1", *options, str(tmp_path / name))
        sources[name] = (tmp_path / name).read_bytes()
    rng, decoder, decoded = random.Random(3), Decoder(LIMITS, processes=1), 0
    bad_messages: list[str] = []
    for number in range(60):
        name = list(sources)[number % len(sources)]
        damage = DAMAGES[number // len(sources) % len(DAMAGES)]
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(damage(sources[name], sources[rng.choice(list(sources))], rng))
        try:
            video = decoder.probe(path)
            blocks = list(decoder.audio(video, video.audio_streams[0].index))
        except VideoError as error:
            is_typed = path.name in str(error) and not isinstance(error.__cause__, DecoderDied)
            bad_messages += [] if is_typed else [f"{damage.__name__} {name}: {error}"]
            continue
        decoded += 1
        assert [block.start_s for block in blocks] == [10.0 * index for index in range(len(blocks))]
        sound = np.concatenate([block.samples for block in blocks])
        assert np.isfinite(sound).all() and np.abs(sound).max() <= 1
        # One wrong timestamp must not make hours of silence. (A wrong time scale stretches the file, and its duration with it.)
        assert len(sound) <= (video.duration_s + MAX_EXCESS_S) * RATE_HZ, f"{damage.__name__} {name}"
    assert bad_messages == []
    assert decoded > 40
    decoder.close()
