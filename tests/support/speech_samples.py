"""Speech with known words and times, which is part of the package; see `benchmarks/samples/make_words.py`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import longview.app.evaluation
from longview.core.timeline import Span, Word
from longview.model.errors import ModelError
from longview.model.speech.weights import find_speech_model
from longview.video.ffmpeg import ffmpeg_path


def _has_speech_model() -> bool:
    try:
        find_speech_model()
    except ModelError:
        return False
    return True


HAS_SPEECH_MODEL = _has_speech_model()
if os.environ.get("LONGVIEW_NEED_SPEECH") and not HAS_SPEECH_MODEL:
    raise RuntimeError("The bundled speech model is not installed, but LONGVIEW_NEED_SPEECH is set.")
needs_speech_model = pytest.mark.skipif(not HAS_SPEECH_MODEL, reason="the bundled speech model is not installed")
"""Mark of tests that recognise speech: its packages may have vanished from the registry."""

WORDS = Path(longview.app.evaluation.__file__).parent / "words"


def spoken_words(language: str, end_s: float) -> list[Word]:
    """Return the words that are spoken before a time in the sample of a language, with their true times."""
    samples = json.loads((WORDS / "speech.json").read_text("utf-8"))
    words = next(item["words"] for item in samples if item["language"] == language)
    # The start or the end of some words is unknown.
    return [Word(Span(start, end or start), text) for start, end, text in words if start is not None and start < end_s]


def make_talk(target: Path, *pieces: tuple[str, float], gap_s: float = 6.0, pictures: bool = False) -> Path:
    """Write a file with the first seconds of the samples of some languages, with silence after each.

    `pictures`: with a test pattern, which no checkpoint of shapes knows, at 5 frames per second.
    """
    inputs, filters = [], []
    for number, (language, duration_s) in enumerate(pieces):
        inputs += ["-i", str(WORDS / f"{language}.opus")]
        filters.append(f"[{number}:a]atrim=end={duration_s},apad=pad_dur={gap_s}[a{number}]")
    streams = "".join(f"[a{number}]" for number in range(len(pieces)))
    graph = ";".join([*filters, f"{streams}concat=n={len(pieces)}:v=0:a=1[sound]"])
    video: list[str] = []
    if pictures:
        total_s = sum(duration_s + gap_s for _, duration_s in pieces)
        inputs += ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=5:duration={total_s}"]
        video = ["-map", f"{len(pieces)}:v", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    command = [ffmpeg_path(), "-y", "-v", "error", *inputs, "-filter_complex", graph, *video, "-map", "[sound]", "-c:a", "aac"]
    subprocess.run([*command, str(target)], check=True, timeout=60)
    return target
