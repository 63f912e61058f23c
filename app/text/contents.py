"""What came of indexing, as text for people: on the command line, and on the page."""

from typing import TYPE_CHECKING

from longview.app.text.damage import damage_of
from longview.app.text.sources import SOURCE_TEXTS as SOURCES
from longview.core.time_text import format_spans, format_time

if TYPE_CHECKING:
    from longview.app.ingest.indexer import IndexResult
    from longview.app.ingest.sources import SourceReport
    from longview.indexing.sqlite.library import VideoEntry
    from longview.indexing.sqlite.tracks.tracks import Track

ROUNDING_S = 0.1
"""Difference between two lengths that is rounding, in seconds."""
UNIT_STEP = 1024
"""Number of times that a binary unit of size is in the next one."""


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def source_label(source: str) -> str:
    """Return the name of a source as people read it."""
    return source.replace("_", " ")


def size_text(size_bytes: int) -> str:
    """Return a size for people, in binary units: `23.5 GiB`."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < UNIT_STEP or unit == "TiB":
            break
        size /= UNIT_STEP
    return f"{size_bytes:,} {'byte' if size_bytes == 1 else 'bytes'}" if unit == "bytes" else f"{size:.1f} {unit}"


def searchable_by(entry: "VideoEntry", *, without: str = "") -> str:
    """Return by which sources a video can be searched, as text; empty if by none."""
    return " and ".join(source_label(track.source) for track in entry.tracks if track.segment_count and track.source != without)


def source_text(report: "SourceReport", entry: "VideoEntry") -> str:
    """Return what came of a source."""
    if report.status == "failed":
        return f"failed: {report.reason}"
    if report.status == "skipped":
        return f"not run: {report.reason}"
    if report.status == "declined":
        if report.segments:
            return f"kept: {report.reason}"
        others = searchable_by(entry, without=report.source) if report.source == "captions" else ""
        return f"none: {report.reason}" + (f"; searchable by {others}" if others else "")
    if not report.segments:
        empty_text = SOURCES[report.source].empty_text
        if report.status == "up_to_date":
            return f"{empty_text}, up to date"
        # Most reasons say themselves that there is nothing.
        return report.reason if report.reason.startswith("no ") else "; ".join(filter(None, (empty_text, report.reason)))
    what = segments_text(report.source, report.segments) + (f" ({report.language})" if report.language else "")
    if report.status == "up_to_date":
        return f"{what}, up to date"
    note = f"; {report.reason}" if report.reason else ""
    return f"{what} in {report.seconds_spent:.1f} s{note}"


def describe(result: "IndexResult") -> str:
    """Return what came of all sources of a video that have something to say, in one line."""
    relevant = (item for item in result.reports if item.segments or item.status == "failed" or item.source == "captions")
    texts = [f"{source_label(report.source)}: {source_text(report, result.entry)}" for report in relevant]
    damage = damage_of(result.entry)
    return "; ".join([*texts, *([f"damaged: {damage.text}"] if damage else [])])


def segments_text(source: str, count: int) -> str:
    """Return the number of segments of a source: `77 lines`."""
    return count_text(count, SOURCES[source].segment_noun)


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
