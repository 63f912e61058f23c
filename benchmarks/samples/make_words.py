"""Make the material of `longview eval words` from the texts in `benchmarks/words/`: speech with the times of its words, and
transcripts with questions.

    python -m benchmarks.samples.make_words

It needs eSpeak NG (`apt install espeak-ng`); the files in `app/evaluation/words/` were made with version 1.52.0 and FFmpeg 7.1.
The same versions make the same files. eSpeak NG states the sample at which each word begins. A word ends where its sound ends:
at the next word, at the end of its clause, or before the silence that precedes them.
"""

import ctypes
import json
import random
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pysubs2
from numpy.typing import NDArray

from longview.core.timeline import Event, Span
from longview.video.ffmpeg import ffmpeg_path

SOURCE = Path(__file__).parent / "words"
TARGET = Path(__file__).parents[2] / "app" / "evaluation" / "words"
RATE_HZ = 22_050
"""Sampling rate of eSpeak NG."""
BITRATE = "16k"
"""Bit rate of Opus: three minutes have 300 KB."""
EDGE_S = 1.0
"""Silence before the first sentence and after the last one of a file, in seconds."""
PAUSES_S = (0.5, 3.0)
"""Minimum and maximum pause between sentences, in seconds."""
SILENT_AMPLITUDE = 200
"""Amplitude, of 32,768, below which a word has ended: 44 dB below the peaks."""
CHARACTER_S = 0.1
"""Time of a character in the transcripts, in seconds: about 105 words per minute."""
CUE_CHARACTERS = 60
"""Maximum length of a cue of the transcripts, in characters: 6 s."""
SENTENCE_GAP_S, PARAGRAPH_GAP_S = 2.0, 15.0
"""Pauses in the transcripts, in seconds."""


# -- speech -------------------------------------------------------------------------------------------------------

_SYNCHRONOUS, _CHARACTERS, _UTF8, _RATE = 2, 1, 1, 1
_END_OF_LIST, _WORD, _CLAUSE_END = 0, 1, 5


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class SpokenWord:
    """A word with its first sample and its end."""

    text: str
    start: int
    end: int


class Speaker:
    """eSpeak NG, which keeps its state in the process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0) != RATE_HZ:
            raise SystemExit("eSpeak NG cannot be initialised")
        self._blocks: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, int, int]] = []
        # The library keeps the address of the callback only.
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while events[number].type != _END_OF_LIST:
            self._events.append((events[number].type, events[number].text_position, events[number].sample))
            number += 1
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int) -> tuple[NDArray[np.int16], list[SpokenWord]]:
        """Return the samples, and the words in their order."""
        self._blocks, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise SystemExit(f"eSpeak NG has no voice {voice}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        # Breathy voices have noise in them.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        # With a no-break space between them, pairs like "of the" are two words for it.
        content = text.replace(" ", "\u00a0").encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._blocks)
        return samples, list(_words(text, samples, self._events))


def _words(text: str, samples: NDArray[np.int16], events: list[tuple[int, int, int]]) -> Iterator[SpokenWord]:
    starts = {position: sample for kind, position, sample in reversed(events) if kind == _WORD}
    edges = sorted({sample for kind, _, sample in events if kind in (_WORD, _CLAUSE_END)} | {len(samples)})
    for match in re.finditer(r"\S+", text):
        # Positions are counted from 1. A word with an apostrophe may be two words for eSpeak NG.
        own = [starts[position] for position in range(match.start() + 1, match.end() + 1) if position in starts]
        if not own:
            raise SystemExit(f"eSpeak NG states no time for the word {match[0]!r} of {text!r}")
        end = next(edge for edge in edges if edge > own[-1])
        loud = np.flatnonzero(np.abs(samples[own[0] : end].astype(np.int32)) > SILENT_AMPLITUDE)
        yield SpokenWord(match[0], own[0], own[0] + int(loud[-1]) + 1)


def make_speech() -> None:
    """Speak the texts of each language into one Opus file, and write the times of all words."""
    speaker = Speaker()
    parts = tomllib.loads((SOURCE / "speech.toml").read_text(encoding="utf-8"))["parts"]
    files, edge = [], np.zeros(round(EDGE_S * RATE_HZ), np.int16)
    for language in dict.fromkeys(part["language"] for part in parts):
        rng = random.Random(language)
        blocks, words, offset = [edge], [], len(edge)
        for part in parts:
            for sentence in part["sentences"] if part["language"] == language else ():
                samples, word_times = speaker.speak(sentence, part["voice"], part["words_per_minute"])
                words += [[_time_s(offset + word.start), _time_s(offset + word.end), word.text] for word in word_times]
                blocks += [samples, np.zeros(round(rng.uniform(*PAUSES_S) * RATE_HZ), np.int16)]
                offset += len(blocks[-2]) + len(blocks[-1])
        sound = np.concatenate([*blocks[:-1], edge])
        path = TARGET / f"{language}.opus"
        _encode(sound, path)
        duration_s = len(sound) / RATE_HZ
        print(f"{path.name}: {duration_s:.1f} s, {len(words)} words, shifted by {shift_s(sound, path) * 1000:.2f} ms")
        files.append({"file": path.name, "language": language, "duration_s": round(duration_s, 3), "words": words})
    _write_json(TARGET / "speech.json", files)


def _time_s(sample: int) -> float:
    return round(sample / RATE_HZ, 3)


def _encode(samples: NDArray[np.int16], path: Path) -> None:
    command = [ffmpeg_path(), "-y", "-v", "error", "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "pipe:",
               "-c:a", "libopus", "-b:a", BITRATE, "-application", "voip", "-flags", "+bitexact", "-fflags", "+bitexact",
               str(path)]  # fmt: skip
    subprocess.run(command, input=samples.tobytes(), check=True)


def shift_s(samples: NDArray[np.int16], path: Path) -> float:
    """Return by how much a file's sound is later than the samples, in seconds: where their correlation is greatest."""
    command = [ffmpeg_path(), "-v", "error", "-i", str(path), "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "pipe:"]
    decoded = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16).astype(float)
    size = 1 << (len(samples) + len(decoded)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(samples.astype(float), size)), size)
    peak = int(correlation.argmax())
    return (peak if peak < size // 2 else peak - size) / RATE_HZ


# -- transcripts --------------------------------------------------------------------------------------------------


QUESTION_MARKS = {"??": "plain", "?": "paraphrase", "!": "absent"}
"""Marks of questions: in words as a person would choose them, without those of the text, and about what is not in the text."""


@dataclass
class Transcript:
    """The cues of one text, and its questions with the times of their answers."""

    cues: list[Event] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)


def read_text(path: Path) -> Transcript:
    """Read a text with questions, and give each sentence a time by its length. The first line of each file describes it.

    Lines that begin with one of `QUESTION_MARKS` are questions. The answer of a question are the next lines with `>`.
    """
    result, time_s, is_asked = Transcript(), 2.0, False
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        if not line:
            time_s += PARAGRAPH_GAP_S
        elif line.split(" ")[0] in QUESTION_MARKS:
            mark, language, text = line.split(" ", 2)
            span: list[float] | None = None if mark == "!" else []
            result.questions.append(
                {"video": path.stem, "language": language, "kind": QUESTION_MARKS[mark], "text": text, "span": span}
            )
            is_asked = span is not None
        else:
            start_s = time_s
            for piece in _pieces(line.removeprefix("> ")):
                result.cues.append(Event(Span(time_s, time_s + CHARACTER_S * len(piece)), piece))
                time_s = result.cues[-1].span.end_s
            if line.startswith("> "):
                if not is_asked:
                    raise SystemExit(f"{path}: no question before {line!r}")
                span = result.questions[-1]["span"]
                result.questions[-1]["span"] = [span[0] if span else round(start_s, 2), round(time_s, 2)]
            time_s += SENTENCE_GAP_S
    return result


def _pieces(sentence: str) -> list[str]:
    """Divide a sentence into pieces of about the same length, each at most `CUE_CHARACTERS`."""
    count = -(-len(sentence) // CUE_CHARACTERS)
    pieces = [""]
    for word in sentence.split():
        if len(pieces[-1]) + len(word) / 2 > len(sentence) / count and len(pieces) < count:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {word}".strip()
    return pieces


def make_transcripts() -> None:
    """Write the transcripts as SubRip files, and the questions about them."""
    questions = []
    for path in sorted(SOURCE.glob("*.txt")):
        transcript = read_text(path)
        questions += transcript.questions
        subtitles = pysubs2.SSAFile()
        for cue in transcript.cues:
            subtitles.append(pysubs2.SSAEvent(round(cue.span.start_s * 1000), round(cue.span.end_s * 1000), cue.text))
        (TARGET / f"{path.stem}.srt").write_text(subtitles.to_string("srt"), encoding="utf-8")
        cues, question_count, minutes = len(transcript.cues), len(transcript.questions), transcript.cues[-1].span.end_s / 60
        print(f"{path.stem}.srt: {cues} cues, {minutes:.1f} min, {question_count} questions")
    _write_json(TARGET / "questions.json", questions)


def _write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main() -> None:
    """Make all files, and print their lengths."""
    TARGET.mkdir(parents=True, exist_ok=True)
    make_speech()
    make_transcripts()


if __name__ == "__main__":
    main()
