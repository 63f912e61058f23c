"""Merging of recognised lines over time: what was read in single frames -> segments, each with one span, text and box.

A line continues if the next frame has a similar text in the same place, or the same text in another place (scrolling credits, a
terminal, a sign that the camera passes). Special lines:
- A line that is typed grows; its longest text is kept.
- A ticker moves through a box; its readings are joined.
- A clock or counter changes its digits every few seconds. It is one segment, "first text … last text", because thousands of
  segments of a second would hide all others.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from longview.core.timeline import Box, Segment, Span
from longview.model.screen_text.languages import text_language
from longview.model.screen_text.readings import (
    SIMILARITY,
    SURE_CONFIDENCE,
    Readings,
    RecognizedLine,
    differs_in_digits,
    joined_ticker,
    normalized,
    similarity,
)

SOURCE = "screen_text"
MIN_CONFIDENCE = 0.8
"""Minimum confidence of a line that becomes a segment. All of 122 exact readings of damaged rendered lines had more. Of 6
readings in five real videos without text, 5 had less than 0.55, and the other was a single character."""
MIN_SIGHTINGS = 2
"""Minimum number of frames, one a second, in which a line is seen, if it is not sure."""
MIN_CHARACTERS, MIN_SURE_CHARACTERS = 2, 4
"""Minimum numbers of letters and digits of a line, and of a line that is seen once. Single characters are mostly texture."""
BRIDGED_S = 2.5
"""Maximum time for which a line may be missed or covered, in seconds; it then is still one line."""
COUNTER_S = 2.5
"""Maximum time for which a clock or counter shows the same text, in seconds. The number of a page stays longer."""
ELISION = " … "
"""Text between the first and the last text of a counter."""
MIN_OVERLAP = 0.5
"""Minimum overlap of two boxes in the same place, as a share of the smaller one, in each direction."""
MAX_HEIGHT_RATIO = 2.5
"""Maximum ratio of the heights of a line that moves. The edge of the frame may cut it."""
EDGE = 0.01
"""Distance from the edge of the frame within which a line may be cut, as a share of the frame."""
MIN_FADING_SIMILARITY = 0.5
"""Minimum share of equal characters of two readings of a line that fades in."""
MIN_MOVED_CHARACTERS = 3
"""Minimum number of letters and digits by which a line that moved is recognised."""
MIN_GROWTH = 0.01
"""Minimum growth of a line that is typed, in widths of the frame. The detection varies by less."""
MAX_EDGE_SHIFT = 0.02
"""Maximum shift of the left edge of a line that is typed, in widths of the frame."""


@dataclass(frozen=True)
class Sight:
    """What a frame shows: its lines, and what has changed since the frame before.

    The comparisons of pixels are functions, because few lines need them.
    """

    time_s: float
    lines: Sequence[RecognizedLine]
    is_unchanged: Callable[[Box], bool]
    """Whether the pixels of a box are those of the frame before."""
    changed_at_s: Callable[[Box], float]
    """Time at which the pixels of a box changed into those of this frame, in seconds."""


class _Line:
    """A line that is or was on screen."""

    def __init__(self, first: RecognizedLine, start_s: float, time_s: float, sightings: int = 1) -> None:
        self.start_s, self.end_s = start_s, time_s
        self.sightings = sightings
        self.readings = Readings(first, sightings)
        self.last = first
        self.first_text: str | None = None
        """The first text of a counter; None for other lines."""
        self.text_since_s = start_s
        self.gone_s: float | None = None
        """Time of the first frame in which it was no longer seen, in seconds."""
        self.key = normalized(first.text)

    @classmethod
    def of(cls, segment: Segment) -> "_Line":
        """Return the line of a segment that may continue."""
        assert segment.box is not None and segment.confidence is not None
        first, _, last = segment.text.rpartition(ELISION)
        is_counter = differs_in_digits(first, last)
        text = last if is_counter else segment.text
        # One sighting a second.
        sightings = 1 + math.floor(segment.span.duration_s)
        reading = RecognizedLine(text, segment.confidence, segment.box)
        line = cls(reading, segment.span.start_s, segment.span.end_s, sightings)
        line.first_text = first if is_counter else None
        if is_counter:
            line.text_since_s = segment.span.end_s
        return line

    def add(self, line: RecognizedLine, relation: "_Relation", time_s: float) -> None:
        """Add the reading of another frame."""
        if relation.text is not None:
            line = RecognizedLine(relation.text, line.confidence, line.box)
        if relation.is_counter:
            self.first_text = self.first_text or self.last.text
            self.readings = Readings(line, self.sightings)
        else:
            self.readings.add(line, is_grown=relation.is_grown)
        if line.text != self.last.text:
            self.text_since_s = time_s
        self.last, self.key = line, normalized(line.text)
        self.end_s, self.gone_s = time_s, None
        self.sightings += 1

    @property
    def best(self) -> RecognizedLine:
        best = self.readings.best
        if self.first_text is None or not differs_in_digits(self.first_text, best.text):
            return best
        return RecognizedLine(self.first_text + ELISION + best.text, best.confidence, best.box)

    @property
    def is_weak(self) -> bool:
        """Whether no reading can be trusted: the line fades in, or is not text."""
        return self.readings.best.confidence < MIN_CONFIDENCE

    @property
    def is_certain(self) -> bool:
        """Whether the line becomes a segment."""
        best = self.readings.best
        characters = sum(letter.isalnum() for letter in best.text)
        is_sure = best.confidence >= SURE_CONFIDENCE and characters >= MIN_SURE_CHARACTERS
        return not self.is_weak and characters >= MIN_CHARACTERS and (is_sure or self.sightings >= MIN_SIGHTINGS)

    def segment(self) -> Segment:
        best = self.best
        span = Span(self.start_s, max(self.start_s, self.end_s))
        return Segment(span, best.text, SOURCE, text_language(best.text), round(best.confidence, 4), box=best.box)


@dataclass(frozen=True)
class _Relation:
    """How a recognised line continues an earlier one."""

    rank: int
    """The lower, the surer."""
    distance: float = 0.0
    is_grown: bool = False
    is_counter: bool = False
    text: str | None = None
    """The joined text of a ticker."""


class LineTracker:
    """The lines of a video from one frame to the next."""

    def __init__(self, open_segments: Iterable[Segment] = ()) -> None:
        """`open_segments`: those that reach the first frame."""
        self._lines = [_Line.of(segment) for segment in open_segments]
        self._closed: list[Segment] = []

    def stay(self, time_s: float, sightings: int = 0) -> None:
        """Note that all lines are still visible at a time. `sightings`: number of frames, one a second, in which they were."""
        for line in self._lines:
            if line.gone_s is None:
                line.end_s = time_s
                line.sightings += sightings
                for _ in range(sightings):
                    line.readings.add(line.last)
        self._close_before(time_s - BRIDGED_S)

    def update(self, sight: Sight) -> None:
        """Process the lines of another frame."""
        matches = self._matches(sight)
        matched_numbers = {number for number, _ in matches.values()}
        boxes: list[Box] = []
        for index, line in enumerate(self._lines):
            if index in matches:
                number, relation = matches[index]
                line.add(sight.lines[number], relation, sight.time_s)
            elif line.gone_s is None and sight.is_unchanged(line.last.box):
                # The recogniser missed it.
                line.end_s = sight.time_s
                boxes += [] if line.is_weak else [line.last.box]
            elif line.gone_s is None:
                line.end_s = max(line.end_s, min(sight.time_s, sight.changed_at_s(line.last.box)))
                line.gone_s = sight.time_s
        self._close_before(sight.time_s - BRIDGED_S)
        for number, candidate in enumerate(sight.lines):
            # The detection sometimes joins neighbouring lines, or divides one.
            if number not in matched_numbers and not any(_in_same_place(candidate.box, box) for box in boxes):
                start_s = min(sight.time_s, sight.changed_at_s(candidate.box))
                self._lines.append(_Line(candidate, start_s, sight.time_s))

    def take_closed(self) -> list[Segment]:
        """Return the segments that do not continue, and forget them."""
        closed_segments, self._closed = self._closed, []
        return closed_segments

    def open_segments(self) -> list[Segment]:
        """Return the segments that are visible in the last frame. They include lines that were seen too rarely so far."""
        return [line.segment() for line in self._lines if line.gone_s is None and not line.is_weak]

    def close_gone(self) -> None:
        """End the lines that the last frame did not show."""
        self._close_before(math.inf)

    def close_all(self) -> None:
        """End all lines."""
        for line in self._lines:
            line.gone_s = line.end_s
        self._close_before(math.inf)

    def _close_before(self, time_s: float) -> None:
        gone_lines = [line for line in self._lines if line.gone_s is not None and line.end_s < time_s]
        self._closed += [line.segment() for line in gone_lines if line.is_certain]
        self._lines = [line for line in self._lines if line not in gone_lines]

    def _matches(self, sight: Sight) -> dict[int, tuple[int, _Relation]]:
        """Return for lines, by index, the number of the recognised line that continues each, the surest ones first."""
        keys = [normalized(line.text) for line in sight.lines]
        relations = [
            (relation.rank, relation.distance, index, number, relation)
            for index, line in enumerate(self._lines)
            for number, candidate in enumerate(sight.lines)
            if (relation := _relation(line, candidate, keys[number], sight))
        ]
        matches: dict[int, tuple[int, _Relation]] = {}
        used_numbers: set[int] = set()
        for _, _, index, number, relation in sorted(relations, key=lambda item: item[:4]):
            if index not in matches and number not in used_numbers:
                matches[index] = number, relation
                used_numbers.add(number)
        return matches


def _relation(line: _Line, candidate: RecognizedLine, key: str, sight: Sight) -> _Relation | None:
    """Return how a recognised line continues an earlier one; None if it is another line."""
    distance = math.hypot(candidate.box.left - line.last.box.left, candidate.box.top - line.last.box.top)
    if _in_same_place(line.last.box, candidate.box):
        return _relation_in_place(line, candidate, key, distance, sight)
    return _relation_of_moved(line, candidate, key, distance)


def _relation_in_place(line: _Line, candidate: RecognizedLine, key: str, distance: float, sight: Sight) -> _Relation | None:
    earlier = line.last
    if key == line.key:
        return _Relation(0, distance)
    is_still = line.gone_s is None and sight.is_unchanged(earlier.box)
    if differs_in_digits(line.key, key) and not is_still:
        is_quick = sight.time_s - line.text_since_s < COUNTER_S
        return _Relation(3, distance, is_counter=True) if is_quick else None
    if key.startswith(line.key) and (line.is_weak or _has_grown(earlier.box, candidate.box)):
        return _Relation(1, distance, is_grown=True)
    if is_still:
        return _Relation(1, distance)
    if (text := joined_ticker(earlier.text, candidate.text)) is not None:
        return _Relation(4, distance, is_grown=True, text=text)
    alike = similarity(line.key, key)
    if alike >= SIMILARITY and not _are_exact(earlier, candidate):
        return _Relation(3, distance)
    return _Relation(6, distance) if line.is_weak and alike >= MIN_FADING_SIMILARITY else None


def _relation_of_moved(line: _Line, candidate: RecognizedLine, key: str, distance: float) -> _Relation | None:
    earlier, box = line.last.box, candidate.box
    heights = earlier.bottom - earlier.top, box.bottom - box.top
    if min(heights) <= 0 or max(heights) / min(heights) > MAX_HEIGHT_RATIO:
        return None
    if len(key) < MIN_MOVED_CHARACTERS:
        return None
    if key == line.key:
        return _Relation(2, distance)
    is_alike = not _are_exact(line.last, candidate) and similarity(line.key, key) >= SIMILARITY
    return _Relation(5, distance) if is_alike else None


def _are_exact(first: RecognizedLine, second: RecognizedLine) -> bool:
    """Whether two readings have no errors: both are sure, and neither is cut by the edge of the frame."""
    boxes = first.box, second.box
    is_cut = any(min(box.left, box.top) < EDGE or max(box.right, box.bottom) > 1.0 - EDGE for box in boxes)
    return not is_cut and min(first.confidence, second.confidence) >= SURE_CONFIDENCE


def _has_grown(earlier: Box, later: Box) -> bool:
    """Whether a box begins where an earlier one does, and is longer."""
    return abs(later.left - earlier.left) <= MAX_EDGE_SHIFT and later.right > earlier.right + MIN_GROWTH


def _in_same_place(first: Box, second: Box) -> bool:
    """Whether two boxes overlap by half of the smaller one, in both directions."""
    return (
        _overlap(first.left, first.right, second.left, second.right) >= MIN_OVERLAP
        and _overlap(first.top, first.bottom, second.top, second.bottom) >= MIN_OVERLAP
    )


def _overlap(first_start: float, first_end: float, second_start: float, second_end: float) -> float:
    shorter = max(1e-6, min(first_end - first_start, second_end - second_start))
    return (min(first_end, second_end) - max(first_start, second_start)) / shorter
