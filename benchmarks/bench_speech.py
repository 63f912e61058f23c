"""Time and memory of speech recognition, compared with the plain calls of faster-whisper on the same model.

    python -m benchmarks.bench_speech [--minutes N] [--threads N]

The sound is the English recording of `longview eval words`, repeated with silence and music between. Each row runs in a process
of its own. Its wall and CPU time include the loading of the model, but no imports. Its CPU time and peak memory include the
processes that it starts. Where other programs share the CPU, the CPU time is the one to compare.

Ratios are relative to the first row, `WhisperModel.transcribe` with its voice activity filter and the times of words.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_decode import PeakMemory
from longview.app.evaluation.sounds import music, silence, write_wav
from longview.app.evaluation.word_material import read_sound, recordings
from longview.app.evaluation.word_metrics import TimedWord, WordScores
from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.settings import Settings
from longview.model.speech.weights import find_speech_model
from longview.video.decoding.audio import RATE_HZ
from longview.video.decoding.decoder import Decoder

SILENCE_S, MUSIC_S = 15.0, 20.0
"""Silence before and after the music between two repetitions, and the music, in seconds."""
TIMEOUT_S = 7200.0

Words = list[tuple[str, float, float]]
"""Text, start and end of each word."""


def make_sound(path: Path, duration_s: float) -> tuple[float, list[TimedWord]]:
    """Write the sound; return the duration of a repetition, and all words that end in it."""
    english = recordings()[0]
    speech = read_sound(Decoder(processes=1), english.path)
    period = np.concatenate([speech, silence(SILENCE_S), music(MUSIC_S), silence(SILENCE_S)])
    period_s, size = len(period) / RATE_HZ, round(duration_s * RATE_HZ)
    write_wav(path, np.tile(period, -(-size // len(period)))[:size])
    words = [
        TimedWord(word.text, word.start_s + number * period_s, word.end_s + number * period_s)
        for number in range(-(-size // len(period)))
        for word in english.words
        if word.start_s is not None and word.end_s is not None and word.end_s + number * period_s < duration_s
    ]
    return period_s, words


# -- one row: runs in its own process -----------------------------------------------------------------------------


def recognize_longview(path: Path, threads: int) -> Words:
    """Index the speech of a file, as `longview index --sources speech` does."""
    with tempfile.TemporaryDirectory() as folder:
        app = Longview(Settings(library=Path(folder), device="cpu", cpu_threads=threads))
        entry = app.index(path, IndexOptions(sources=("speech",))).result().entry
        segments = app.segments(entry, "speech")
        app.parts.decoder.close()
    return [(word.text, word.span.start_s, word.span.end_s) for segment in segments for word in segment.words]


def recognize_plain(path: Path, threads: int, *, is_batched: bool = False) -> Words:
    """Call the library with the file, as its documentation does."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = find_speech_model()
    whisper = WhisperModel(model.name, device="cpu", compute_type="int8", cpu_threads=threads, files=model.read_files())
    pipeline = BatchedInferencePipeline(whisper) if is_batched else whisper
    segments, _ = pipeline.transcribe(str(path), vad_filter=True, beam_size=5, word_timestamps=True)
    return [(word.word, word.start, word.end) for segment in segments for word in segment.words or ()]


ROWS: dict[str, Callable[[Path, int], Words]] = {
    "faster-whisper": recognize_plain,
    "faster-whisper, batched": lambda path, threads: recognize_plain(path, threads, is_batched=True),
    "Longview": recognize_longview,
}
"""The first row is the one to which the others are compared."""


def run_row(row: str, path: Path, threads: int) -> None:
    """Print the wall and CPU seconds and the words of a row as JSON."""
    import faster_whisper  # noqa: F401 (the import is not part of the time)

    before, start = os.times(), time.perf_counter()
    words = ROWS[row](path, threads)
    wall_s, after = time.perf_counter() - start, os.times()
    cpu_s = sum(getattr(after, name) - getattr(before, name) for name in ("user", "system", "children_user", "children_system"))
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "words": words}))


# -- measurement --------------------------------------------------------------------------------------------------


def measure_row(row: str, path: Path, threads: int) -> dict[str, Any]:
    """Run one row in a process; return its `wall_s`, `cpu_s`, `words` and `peak_bytes`."""
    command = [sys.executable, "-m", "benchmarks.bench_speech", "--row", row, "--path", str(path), "--threads", str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = PeakMemory(process.pid)
    peak.start()
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    peak.join()
    if process.returncode:
        raise SystemExit(f"{row} failed with exit code {process.returncode}")
    return json.loads(stdout.splitlines()[-1]) | {"peak_bytes": peak.peak_bytes}


def word_error_rate(true_words: list[TimedWord], recognized: Words, period_s: float) -> float:
    """Return the word error rate, aligned repetition by repetition: the time of an alignment grows with the square."""
    scores = WordScores()
    last = max(word.end_s or 0.0 for word in true_words)
    for number in range(int(last // period_s) + 1):
        start_s, end_s = number * period_s, (number + 1) * period_s
        scores.add(
            [word for word in true_words if start_s <= (word.end_s or 0.0) < end_s],
            [TimedWord(*word) for word in recognized if start_s <= word[1] < end_s],
        )
    return scores.word_error_rate or 0.0


def main(arguments: list[str] | None = None) -> None:
    """Make the sound, run all rows, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of sound")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the model")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row:
        run_row(options.row, options.path, options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        period_s, true_words = make_sound(path, 60 * options.minutes)
        print(f"{find_speech_model().identity}, {options.minutes:g} min of sound, {options.threads} thread(s)\n")
        print("| recogniser | wall s per minute | ratio | CPU s per minute | ratio | peak MB | ratio | word error rate |")
        print("|---|---|---|---|---|---|---|---|")
        base: dict[str, Any] | None = None
        for row in ROWS:
            result = measure_row(row, path, options.threads)
            base = base or result
            ratios = {name: result[name] / base[name] for name in ("wall_s", "cpu_s", "peak_bytes")}
            print(
                f"| {row} | {result['wall_s'] / options.minutes:.2f} | {ratios['wall_s']:.2f} "
                f"| {result['cpu_s'] / options.minutes:.2f} | {ratios['cpu_s']:.2f} "
                f"| {result['peak_bytes'] / 1e6:.0f} | {ratios['peak_bytes']:.2f} "
                f"| {word_error_rate(true_words, result['words'], period_s):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
