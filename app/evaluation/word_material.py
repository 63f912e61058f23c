"""The material of the words suite: speech with the times of its words, and transcripts with questions about them.

`benchmarks/samples/make_words.py` makes the files in the folder `words`, which are a part of the package.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from longview.app.evaluation.sounds import Sound, silence, write_wav
from longview.app.evaluation.word_metrics import TimedWord
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.video.decoding.decoder import Decoder
from longview.video.subtitles.parsers import read_subtitles

FOLDER = Path(__file__).parent / "words"
SLIDES_FILE = Path(__file__).parent.parent / "samples" / "narrated-slides.mp4"
TRANSCRIPT_END_S = 10.0
"""Silence after the last cue of a transcript, in seconds."""


@dataclass(frozen=True)
class Recording:
    """A file with speech whose words and times are known."""

    path: Path
    language: str
    duration_s: float
    words: tuple[TimedWord, ...]


@dataclass(frozen=True)
class Question:
    """A question about one of the transcripts."""

    video: str
    """Name of the transcript."""
    language: str
    kind: Literal["plain", "paraphrase", "absent"]
    """In words as a person would choose them; without the words of the text; or about what the text does not say."""
    text: str
    truth: Span | None
    """Span of its answer; None: the transcript does not answer it, though it fits its subject."""


@dataclass(frozen=True)
class ShownLine:
    """A line of text that is shown for a time."""

    text: str
    span: Span


def recordings() -> list[Recording]:
    """Return the spoken files, one per language; English comes first."""
    rows = json.loads((FOLDER / "speech.json").read_text(encoding="utf-8"))
    return [
        Recording(
            FOLDER / row["file"],
            row["language"],
            row["duration_s"],
            tuple(TimedWord(text, start_s, end_s) for start_s, end_s, text in row["words"]),
        )
        for row in rows
    ]


def questions() -> list[Question]:
    """Return the questions about the transcripts."""
    rows = json.loads((FOLDER / "questions.json").read_text(encoding="utf-8"))
    return [
        Question(row["video"], row["language"], row["kind"], row["text"], Span(*row["span"]) if row["span"] else None)
        for row in rows
    ]


def slides() -> list[ShownLine]:
    """Return the lines of the narrated sample, whose file is `SLIDES_FILE`."""
    rows = json.loads(SLIDES_FILE.with_suffix(".json").read_text(encoding="utf-8"))["slides"]
    return [ShownLine(text, Span(row["start_s"], row["end_s"])) for row in rows for text in row["lines"]]


def read_sound(decoder: Decoder, path: Path, progress: Progress = NO_PROGRESS) -> Sound:
    """Return the samples of a file, decoded as speech recognition decodes them."""
    video = decoder.probe(path)
    return np.concatenate([block.samples for block in decoder.audio(video, video.audio_streams[0].index, progress=progress)])


def write_transcripts(folder: Path) -> Iterator[Path]:
    """Write each transcript as subtitles of a silent sound file into a folder; yield the sound files."""
    # Files of the same content would be one video of the library, so each length is another.
    for number, source in enumerate(sorted(FOLDER.glob("*.srt"))):
        shutil.copy(source, folder / f"{source.stem}.en.srt")
        end_s = max(segment.span.end_s for segment in read_subtitles(source).segments)
        yield write_wav(folder / f"{source.stem}.wav", silence(end_s + TRANSCRIPT_END_S + number))
