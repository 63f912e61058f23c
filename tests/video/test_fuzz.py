"""Damaged files: every one gives frames or a typed error, in time, and leaves no process and no memory behind."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from longview.video.decoder import Decoder
from longview.video.errors import DecoderDied, VideoError
from longview.video.guard import Limits
from tests import media_samples

SOURCES = ("h264.mp4", "hevc10.mkv", "vp9.webm", "mpeg4.avi", "mpeg2.ts", "flash.flv", "theora.ogv")
LIMITS = Limits(stall_s=10.0, memory_bytes=2 << 30)
GROWTH_BYTES_MAX = 64 << 20
"""Of this process over all files; a leaked frame buffer a file would be far more."""
Damage = Callable[[bytes, bytes, random.Random], bytes]
"""From a file, another file and chance to a damaged file."""


def flipped(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, anywhere."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 4, 30, 300])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def flipped_in_the_head(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A few bytes changed where the file describes itself."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 3, 10])):
        changed[chance.randrange(min(2048, len(changed)))] = chance.randrange(256)
    return bytes(changed)


def truncated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data))]


def spliced(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """A piece of another file, or of this one from elsewhere, in the middle."""
    source = chance.choice([data, other])
    begin, length = chance.randrange(len(source)), chance.randrange(1, 20_000)
    at = chance.randrange(len(data))
    return data[:at] + source[begin : begin + length] + data[at + chance.choice([0, length]) :]


DAMAGES: tuple[Damage, ...] = (flipped, flipped_in_the_head, truncated, spliced)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sources")
    return {name: media_samples.make(folder, name).read_bytes() for name in SOURCES}


@pytest.mark.parametrize(
    ("seed", "files"),
    [pytest.param(1, 200, id="200 files"), pytest.param(2, 1000, id="1000 files", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(1800)
def test_a_damaged_file_gives_frames_or_a_typed_error(sources: dict[str, bytes], tmp_path: Path, seed: int, files: int) -> None:
    chance = random.Random(seed)
    decoder = Decoder(LIMITS, processes=2)
    me = psutil.Process()
    before = {child.pid for child in me.children(recursive=True)}
    outcomes: dict[str, int] = {}
    untold: list[str] = []
    memory_bytes = 0
    for number in range(files):
        name = SOURCES[number % len(SOURCES)]
        damage = DAMAGES[number // len(SOURCES) % len(DAMAGES)]
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(damage(sources[name], sources[chance.choice(SOURCES)], chance))
        begun = time.monotonic()
        try:
            video = decoder.probe(path)
            # A file may now claim to last for days; where in it we look must not matter.
            wanted_s = [video.duration_s * index / 12 for index in range(12)]
            chunks = list(decoder.frames_played_at(video, wanted_s, 96, 128))
            times_s = np.concatenate([chunk.times_s for chunk in chunks])
            assert (np.diff(times_s) > 0).all()
            assert all(chunk.frames.shape[1:] == (96, 128, 3) for chunk in chunks)
            outcome = "frames"
        except VideoError as error:
            untold += [f"{damage.__name__} {name}: {error}"] if path.name not in str(error) else []
            # A mistake of ours in the process would end it with this code.
            untold += [f"{damage.__name__} {name}: {error}"] if "exit code 1)" in str(error) else []
            outcome = "stopped" if isinstance(error.__cause__, DecoderDied) else "refused"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        # Each of two readers may stand still once; nothing else may take long.
        assert time.monotonic() - begun < 2 * LIMITS.stall_s + 20, f"{damage.__name__} {name} {number}"
        path.unlink()
        if number == files // 4:
            memory_bytes = me.memory_info().rss
    assert me.memory_info().rss - memory_bytes < GROWTH_BYTES_MAX
    assert untold == []
    # Most damage costs only frames; if nothing came through, the test would be one of error messages.
    assert outcomes["frames"] > files * 0.5
    assert len([child for child in me.children(recursive=True) if child.pid not in before]) <= 2
    decoder.close()
    assert [child for child in me.children(recursive=True) if child.pid not in before] == []
