"""Outcomes of an index run, as text for users."""

from typing import TYPE_CHECKING

from longview.app.text.contents import searchable_by, segments_text
from longview.app.text.damage import damage_of
from longview.core.sources import source_label, traits_of

if TYPE_CHECKING:
    from longview.app.ingest.indexer import IndexResult
    from longview.app.ingest.sources import SourceReport
    from longview.indexing.records.video import VideoEntry


def source_text(report: "SourceReport", entry: "VideoEntry") -> str:
    """Return the outcome of a source."""
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
        empty_text = traits_of(report.source).empty_text
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
    """Return the outcomes of all sources of a video that have something to report, in one line."""
    relevant = (item for item in result.reports if item.segments or item.status == "failed" or item.source == "captions")
    texts = [f"{source_label(report.source)}: {source_text(report, result.entry)}" for report in relevant]
    damage = damage_of(result.entry)
    return "; ".join([*texts, *([f"damaged: {damage.text}"] if damage else [])])
