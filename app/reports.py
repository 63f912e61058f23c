"""What came of indexing, as text for people: on the command line, and on the page."""

from typing import TYPE_CHECKING

from longview.app.source_texts import SOURCE_TEXTS as SOURCES
from longview.video.time_text import format_spans, format_time

if TYPE_CHECKING:
    from longview.app.indexer import IndexResult
    from longview.app.sources import SourceReport
    from longview.indexing.library import VideoEntry
    from longview.indexing.tracks import Track

ROUNDING_S = 0.1
"""Difference between two lengths that is rounding, in seconds."""


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def source_label(source: str) -> str:
    """Return the name of a source as people read it."""
    return source.replace("_", " ")


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
    what = count_text(report.segments, SOURCES[report.source].segment_noun)
    if not report.segments:
        what = report.reason or SOURCES[report.source].empty_text
    language = f" ({report.language})" if report.language and report.segments else ""
    if report.status == "up_to_date":
        return f"{what}{language}, up to date" if report.segments else f"{SOURCES[report.source].empty_text}, up to date"
    note = f"; {report.reason}" if report.reason and report.segments else ""
    return f"{what}{language} in {report.seconds_spent:.1f} s{note}"


def describe(result: "IndexResult") -> str:
    """Return what came of all sources of a video that have something to say, in one line."""
    relevant = (item for item in result.reports if item.segments or item.status == "failed" or item.source == "captions")
    return "; ".join(f"{source_label(report.source)}: {source_text(report, result.entry)}" for report in relevant)


def contents_text(entry: "VideoEntry") -> str:
    """Return what the library has of a video."""
    return ", ".join(_track_text(entry, track) for track in entry.tracks) or "nothing indexed yet"


def _track_text(entry: "VideoEntry", track: "Track") -> str:
    if track.status == "failed" and not track.segment_count:
        return f"{source_label(track.source)} failed"
    if track.status == "declined" or not track.segment_count:
        return f"no {source_label(track.source)}"
    text = f"{source_label(track.source)}: {count_text(track.segment_count, SOURCES[track.source].segment_noun)}"
    if track.status in ("incomplete", "failed"):
        return f"{text}, up to {format_time(track.done_s)} of {format_time(track.span.end_s)}"
    is_part = track.span.duration_s < entry.duration_s - ROUNDING_S
    return f"{text}, only {format_spans(track.span)}" if is_part else text
