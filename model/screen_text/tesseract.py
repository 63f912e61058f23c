"""The program tesseract, for languages whose script the bundled model does not read: crops of lines -> their texts.

The program and its languages are installed by the user. It reads all lines of a frame in one call, because a call takes 0.2 s to
start.
"""

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.errors import ScreenTextFailed
from longview.model.screen_text.languages import UNREADABLE_LANGUAGES, printable_line, text_script_is_unreadable
from longview.model.screen_text.recognizer import Pixels, Reading, TextRecognizer

PROGRAM = "tesseract"
LISTING_TIMEOUT_S = 20.0
"""Maximum time to list the installed languages, in seconds."""
CALL_TIMEOUT_S, LINE_TIMEOUT_S = 20.0, 2.0
"""Maximum time of a call, and for each of its lines, in seconds. A line takes 0.1 s."""
MAX_SIDE_PX = 1280
"""Maximum side of a crop, in pixels: that of the frames."""
MAX_OUTPUT_BYTES = 1 << 22
"""Maximum size of an output file, in bytes; a hundred lines have 50 KB."""
WORD_LEVEL = "5"
"""Level of the rows of words in the table."""
ENGLISH = "eng"


def installed_languages() -> frozenset[str]:
    """Return the languages that the program of this machine reads, in its own codes; none if it is not installed."""
    if shutil.which(PROGRAM) is None:
        return frozenset()
    try:
        output = subprocess.run(
            [PROGRAM, "--list-langs"], capture_output=True, text=True, errors="replace", timeout=LISTING_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    # The first line is a heading.
    return frozenset(line.strip() for line in output.splitlines()[1:])


class TesseractRecognizer:
    """Reads the lines of a language with tesseract, and the lines in other scripts among them with the bundled model."""

    def __init__(self, language: str, bundled: TextRecognizer, *, has_english: bool) -> None:
        """`language`: a key of `UNREADABLE_LANGUAGES`. `has_english`: whether tesseract has English, too."""
        code = UNREADABLE_LANGUAGES[language]
        self._languages = f"{code}+{ENGLISH}" if has_english else code
        self._bundled = bundled

    def recognize_all(self, crops: Sequence[Pixels], progress: Progress = NO_PROGRESS) -> list[Reading]:
        """Return the texts of crops of one line each, RGB uint8 of shape (H, W, 3).

        Raises:
            ScreenTextFailed: the program or the model failed. Cancelled: the operation was cancelled.
        """
        if not crops:
            return []
        bundled_readings = self._bundled.recognize_all(crops, progress)
        own = self._call(crops, progress)
        # The bundled model leaves out what it does not know, and is sure of the rest.
        return [
            second if text_script_is_unreadable(second.text) or second.confidence > first.confidence else first
            for first, second in zip(bundled_readings, own, strict=True)
        ]

    def _call(self, crops: Sequence[Pixels], progress: Progress) -> list[Reading]:
        with TemporaryDirectory(prefix="longview-text-") as name:
            folder = Path(name)
            paths = [folder / f"{number}.png" for number in range(len(crops))]
            for path, crop in zip(paths, crops, strict=True):
                Image.fromarray(crop[:MAX_SIDE_PX, :MAX_SIDE_PX]).save(path, compress_level=1)
            listing = folder / "list.txt"
            listing.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
            # One line of text each; the text has the spaces, and the table the confidences.
            command = [PROGRAM, str(listing), str(folder / "out"), "-l", self._languages, "--psm", "7", "txt", "tsv"]
            _run(command, CALL_TIMEOUT_S + LINE_TIMEOUT_S * len(crops), progress)
            pages = _read(folder / "out.txt").split("\f")
            confidences = _page_confidences(_read(folder / "out.tsv"))
        texts = [printable_line(page) for page in pages[: len(crops)]]
        texts += [""] * (len(crops) - len(texts))
        return [Reading(text, confidences.get(number, 0.0) if text else 0.0) for number, text in enumerate(texts, start=1)]


def _run(command: list[str], timeout_s: float, progress: Progress) -> None:
    """Run the program; end it when it takes too long or the operation is cancelled."""
    end_s = time.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )
    except OSError as error:
        raise ScreenTextFailed(f"The program {PROGRAM} cannot be started: {error.strerror}; install it again.") from error
    with process:
        try:
            while True:
                try:
                    code = process.wait(CANCEL_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    progress.raise_if_cancelled()
                    if time.monotonic() > end_s:
                        raise ScreenTextFailed(f"The program {PROGRAM} took more than {timeout_s:.0f} s for one frame.") from None
        finally:
            process.kill()
    if code:
        raise ScreenTextFailed(f"The program {PROGRAM} failed with the exit code {code}; `{PROGRAM} --list-langs` checks it.")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OUTPUT_BYTES).decode(errors="replace")
    except OSError as error:
        raise ScreenTextFailed(f"The program {PROGRAM} wrote no result: {error.strerror}.") from error


def _page_confidences(table: str) -> dict[int, float]:
    """Return the mean confidence of the characters of each page, from 0 to 1, by its number from 1."""
    sums: dict[int, tuple[float, int]] = {}
    for row in csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row.get("level") != WORD_LEVEL:
            continue
        try:
            page, confidence = int(row["page_num"]), float(row["conf"])
        except (TypeError, ValueError, KeyError):
            continue
        size = len((row.get("text") or "").strip())
        total, count = sums.get(page, (0.0, 0))
        sums[page] = total + size * max(0.0, min(100.0, confidence)) / 100, count + size
    return {page: total / count for page, (total, count) in sums.items() if count}
