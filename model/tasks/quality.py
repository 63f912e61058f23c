"""Can a reply that captions a window be believed? What is known to go wrong with dense captions, each told in a word or two.

The faults are those that users of such models report: timelines that stop early, one sentence at even steps, times outside the
video, replies that are cut off or go in circles.
"""

import statistics
from dataclasses import dataclass

from longview.model.engine.base import Generation, VideoSession
from longview.model.tasks.replies import ParsedReply
from longview.video.timeline import Event, merge_spans

MIN_UNIFORM_EVENTS = 5
"""So many events one after the other of the same length are a grid, not a look at the video."""
MAX_UNIFORM_SPREAD = 0.02
"""Of their length, how much the lengths of a grid's cells differ: rounding to a tenth of a second."""
MIN_REPEATED_EVENTS, MIN_REPEATED_SHARE = 4, 0.5
"""One sentence for that many events, and for more than that share of all, without a gap between them: they are one event."""
EARLY_END_SHARE = 0.5
"""A timeline that ends before that part of a window may have stopped early, or nothing more happens there."""
MIN_EARLY_END_WINDOW_S = 20.0


@dataclass(frozen=True)
class QualityReport:
    """What is wrong with a reply."""

    errors: tuple[str, ...]
    """It cannot be believed."""
    warnings: tuple[str, ...]
    """It may be right: a second look decides."""

    @property
    def passed(self) -> bool:
        """Nothing is wrong with it."""
        return not (self.errors or self.warnings)


def check_captions(generation: Generation, reading: ParsedReply, session: VideoSession) -> QualityReport:
    """The quality gate of one window's captions."""
    faults, doubts = [], []
    if generation.is_repetitive:
        faults.append("goes in circles")
    elif not generation.is_complete:
        faults.append("is cut off")
    if not reading.is_json:
        faults.append("cannot be read")
    if reading.rejected:
        faults.append("has times outside of the window")
    if not reading.is_in_order:
        doubts.append("goes back in time")
    events = reading.events
    if _is_uniform(events):
        faults.append("is an even grid")
    if _is_repeated(events):
        faults.append("repeats one sentence")
    window = session.window
    told_until_s = max((event.span.end_s for event in events), default=window.start_s)
    if window.duration_s >= MIN_EARLY_END_WINDOW_S and told_until_s < window.start_s + EARLY_END_SHARE * window.duration_s:
        doubts.append("stops early")
    return QualityReport(tuple(faults), tuple(doubts))


def _is_uniform(events: tuple[Event, ...]) -> bool:
    lengths = [event.span.duration_s for event in events]
    if len(lengths) < MIN_UNIFORM_EVENTS:
        return False
    # The last cell is often cut short by the window's end.
    typical = statistics.median(lengths)
    even = sum(abs(length - typical) <= MAX_UNIFORM_SPREAD * typical for length in lengths)
    touching = sum(
        after.span.start_s - before.span.end_s < 0.25 * typical for before, after in zip(events, events[1:], strict=False)
    )
    return even >= len(lengths) - 1 and touching == len(lengths) - 1


def _is_repeated(events: tuple[Event, ...]) -> bool:
    texts = [event.text for event in events if event.text]
    most = statistics.mode(texts) if texts else ""
    same = [event.span for event in events if event.text == most]
    if len(same) < MIN_REPEATED_EVENTS or len(same) <= MIN_REPEATED_SHARE * len(texts):
        return False
    return len(merge_spans(same, gap_s=0.5)) < len(same)
