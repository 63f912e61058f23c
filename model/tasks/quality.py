"""Quality check of the captions of one window.

The checks detect faults that users of video language models report: timelines that end early, one sentence at even steps, times
outside the video, and replies that are cut off or repetitive.
"""

import statistics
from dataclasses import dataclass

from longview.core.timeline import Event, merge_spans
from longview.model.engine.base import Generation, VideoSession
from longview.model.tasks.replies import ParsedReply

MIN_UNIFORM_EVENTS = 5
"""Minimum number of consecutive events of one length that count as uniform."""
MAX_UNIFORM_SPREAD = 0.02
"""Maximum difference of the lengths of uniform events, as a share of their length: rounding to a tenth of a second."""
MIN_REPEATED_EVENTS, MIN_REPEATED_SHARE = 4, 0.5
"""Minimum number and share of consecutive events with one text that count as repeated: they are one event."""
EARLY_END_SHARE = 0.5
"""Share of a window before which a timeline ends early, unless nothing more happens."""
MIN_EARLY_END_WINDOW_S = 20.0


@dataclass(frozen=True)
class QualityReport:
    """The faults in the captions of a window, each in a few words."""

    errors: tuple[str, ...]
    """Faults that make the captions unreliable."""
    warnings: tuple[str, ...]
    """Signs of a fault; a second attempt decides."""

    @property
    def has_passed(self) -> bool:
        """Whether the captions have neither errors nor warnings."""
        return not (self.errors or self.warnings)


def check_captions(generation: Generation, reply: ParsedReply, session: VideoSession) -> QualityReport:
    """Check the captions that a session generated for its window."""
    errors, warnings = [], []
    if generation.is_repetitive:
        errors.append("is repetitive")
    elif not generation.is_complete:
        errors.append("is cut off")
    if not reply.has_form:
        errors.append("cannot be parsed")
    if reply.rejected_count:
        errors.append("has times outside of the window")
    if not reply.is_in_order:
        warnings.append("is not in order of time")
    events = reply.events
    if _is_uniform(events):
        errors.append("has uniform events")
    if _is_repeated(events):
        errors.append("repeats one sentence")
    window = session.window
    last_end_s = max((event.span.end_s for event in events), default=window.start_s)
    if window.duration_s >= MIN_EARLY_END_WINDOW_S and last_end_s < window.start_s + EARLY_END_SHARE * window.duration_s:
        warnings.append("ends early")
    return QualityReport(tuple(errors), tuple(warnings))


def _is_uniform(events: tuple[Event, ...]) -> bool:
    lengths = [event.span.duration_s for event in events]
    if len(lengths) < MIN_UNIFORM_EVENTS:
        return False
    # The window's end often cuts the last event short.
    typical = statistics.median(lengths)
    even = sum(abs(length - typical) <= MAX_UNIFORM_SPREAD * typical for length in lengths)
    touching = sum(
        after.span.start_s - before.span.end_s < 0.25 * typical for before, after in zip(events, events[1:], strict=False)
    )
    return even >= len(lengths) - 1 and touching == len(lengths) - 1


def _is_repeated(events: tuple[Event, ...]) -> bool:
    texts = [event.text for event in events if event.text]
    most_common = statistics.mode(texts) if texts else ""
    spans = [event.span for event in events if event.text == most_common]
    if len(spans) < MIN_REPEATED_EVENTS or len(spans) <= MIN_REPEATED_SHARE * len(texts):
        return False
    return len(merge_spans(spans, gap_s=0.5)) < len(spans)
