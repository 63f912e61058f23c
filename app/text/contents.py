"""Contents of the library as text for users: on the command line, and on the page."""

from typing import TYPE_CHECKING

from longview.app.text.counts import count_text
from longview.core.sources import source_label, traits_of
from longview.core.time_format import format_spans, format_time
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry

if TYPE_CHECKING:
    from longview.indexing.records.track import Track
    from longview.indexing.records.video import VideoEntry

ROUNDING_S = 0.1
"""Difference between two lengths that is rounding, in seconds."""


def searchable_by(entry: "VideoEntry", *, without: str = "") -> str:
    """Return by which sources a video can be searched, as text; empty if by none."""
    return " and ".join(source_label(track.source) for track in entry.tracks if track.segment_count and track.source != without)


def segments_text(source: str, count: int) -> str:
    """Return the number of segments of a source: `77 lines`."""
    return count_text(count, traits_of(source).segment_noun)


def contents_text(entry: "VideoEntry") -> str:
    """Return what the library has of a video; what was looked for and not found only if that is all that is known."""
    texts = [text for track in entry.tracks if (text := _track_text(entry, track))]
    if texts:
        return ", ".join(texts)
    return f"no {' or '.join(source_label(track.source) for track in entry.tracks)}" if entry.tracks else "not indexed yet"


def track_state_text(track: "Track") -> str:
    """Return how far an unfinished track has come, or that it failed; empty for one that is finished."""
    if track.status == "failed":
        return "failed" + (f" at {_done_share(track):.0%}" if track.segment_count else "")
    return f"{_done_share(track):.0%}" if track.status == "incomplete" else ""


def _done_share(track: "Track") -> float:
    return max(0.0, min(1.0, (track.done_s - track.span.start_s) / max(track.span.duration_s, ROUNDING_S)))


def _track_text(entry: "VideoEntry", track: "Track") -> str:
    label, state = source_label(track.source), track_state_text(track)
    if state and not track.segment_count:
        return f"{label} {state}"
    if not track.segment_count:
        return ""
    text = f"{label}: {segments_text(track.source, track.segment_count)}"
    if state:
        return f"{label} {state}: {segments_text(track.source, track.segment_count)} up to {format_time(track.done_s)}"
    is_part = track.span.duration_s < entry.duration_s - ROUNDING_S
    return f"{text}, only {format_spans(track.span)}" if is_part else text


NO_EVENTS = "No events detected."
"""Text in place of the captions of a video that was captioned and has no events."""
