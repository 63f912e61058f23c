"""The readings of a line in several frames: whether two are of the same text, and which of many is the best."""

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

from rapidfuzz.distance import Indel

from longview.core.timeline import Box
from longview.model.screen_text.languages import MAX_LINE_CHARACTERS

SIMILARITY = 0.8
"""Share of equal characters from which two readings may be of the same text. A misread line differs in one or two characters."""
SURE_CONFIDENCE = 0.93
"""Confidence from which a reading is taken as exact: two such readings that differ are of different texts. Of 122 exact
readings of damaged rendered lines, 99 % had as much, but so had 46 % of 28 wrong ones. A line that is misread so surely becomes
two segments."""
MIN_JOINT_CHARACTERS, MIN_JOINT_SHARE = 8, 0.34
"""Minimum number of equal characters at which two readings of a ticker are joined, and their share of the later one. The next
line in the same place may begin with the last word of the one before."""
MAX_CUT_CHARACTERS = 3
"""Maximum number of characters at an end of a ticker that are misread, because they are cut off by its border."""
MAX_CANDIDATES = 16
"""Maximum number of different readings of a line that are kept."""
_DIGITS = re.compile(r"\d++")


@dataclass(frozen=True)
class RecognizedLine:
    """A line of text in one frame."""

    text: str
    confidence: float
    """Mean probability of its characters, from 0 to 1."""
    box: Box


@dataclass
class _Candidate:
    """One of the texts that were read."""

    text: str
    weight: float
    confidence: float
    box: Box


class Readings:
    """The readings of a line. The text with the highest sum of confidences is the best."""

    def __init__(self, first: RecognizedLine, sightings: int = 1) -> None:
        self._candidates = [_Candidate(first.text, first.confidence * sightings, first.confidence, first.box)]

    def add(self, line: RecognizedLine, *, is_grown: bool = False) -> None:
        """Add a reading. `is_grown`: the line became longer, so that the earlier readings support this one."""
        if is_grown:
            weight = sum(item.weight for item in self._candidates) + line.confidence
            self._candidates = [_Candidate(line.text, weight, line.confidence, line.box)]
            return
        for item in self._candidates:
            if item.text == line.text:
                item.weight += line.confidence
                if line.confidence > item.confidence:
                    item.confidence, item.box = line.confidence, line.box
                return
        self._candidates.append(_Candidate(line.text, line.confidence, line.confidence, line.box))
        if len(self._candidates) > MAX_CANDIDATES:
            self._candidates.remove(min(self._candidates, key=lambda item: item.weight))

    @property
    def best(self) -> RecognizedLine:
        """The best reading, with its highest confidence and the box that it had then."""
        best = max(self._candidates, key=lambda item: item.weight)
        return RecognizedLine(best.text, best.confidence, best.box)


def normalized(text: str) -> str:
    """Return the letters and digits of a text in one form of case and width; all of it if it has none."""
    folded_text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded_text if letter.isalnum()) or folded_text


def similarity(first: str, second: str) -> float:
    """Return the share of equal characters of two normalised texts, in their order, from 0 to 1."""
    return Indel.normalized_similarity(first, second)


def differs_in_digits(first: str, second: str) -> bool:
    """Whether two texts have different digits, and nothing else differs."""
    return first != second and _DIGITS.sub("0", first) == _DIGITS.sub("0", second)


def joined_ticker(earlier: str, later: str) -> str | None:
    """Return the text of a ticker from an earlier text and a later reading, whose beginning is the end of the earlier one.

    None if they do not overlap, or if nothing new came in.
    """
    size = len(later)
    start = max(0, len(earlier) - size - MAX_CUT_CHARACTERS)
    tail = earlier[start:]
    match = SequenceMatcher(None, tail, later, autojunk=False).find_longest_match()
    is_at_end = match.a + match.size >= len(tail) - MAX_CUT_CHARACTERS
    is_at_start = match.b <= MAX_CUT_CHARACTERS
    text = earlier[: start + match.a] + later[match.b :]
    has_moved = match.a > match.b or len(text) > len(earlier) + MAX_CUT_CHARACTERS
    if match.size < max(MIN_JOINT_CHARACTERS, MIN_JOINT_SHARE * size) or not (is_at_end and is_at_start and has_moved):
        return None
    return text if len(text) <= MAX_LINE_CHARACTERS else None
