"""Render dataclasses as HTML with the templates beside this module, which escape every value."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from longview.app.jobs import Job
from longview.app.service import (
    FORMATS,
    NO_CAPTIONS,
    NO_EVENTS,
    Caption,
    ProgressReport,
    SearchResults,
    Span,
    VideoEntry,
    format_time,
)

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def format_span(span: Span) -> str:
    """Format a span as its two times."""
    return f"{format_time(span.start_s)} – {format_time(span.end_s)}"


_TEMPLATES.filters |= {
    "time": format_time,
    "span": format_span,
    "seconds": "{:.3f}".format,
    "percent": "{:.0%}".format,
}


def _render(name: str, **values: Any) -> str:
    return _TEMPLATES.get_template(f"{name}.html").render(values)


def notice(text: str) -> str:
    """Render the banner with the limits of the checkpoint."""
    return _render("notice", text=text)


def player(entry: VideoEntry | None, *, ready: bool, start_s: float = 0.0) -> str:
    """Render the video element with the captions as its text track, or the reason why there is none."""
    return _render("player", entry=entry, ready=ready, start_s=start_s)


def failure(text: str) -> str:
    """Render one sentence in place of something that cannot be shown."""
    return _render("failure", text=text)


def captions(items: Sequence[Caption], *, is_outdated: bool, incomplete: Sequence[Span] = ()) -> str:
    """Render a table whose rows seek the player."""
    empty_note = NO_CAPTIONS if incomplete else NO_EVENTS
    return _render("captions", items=items, is_outdated=is_outdated, incomplete=incomplete, empty_note=empty_note)


def summary(entry: VideoEntry) -> str:
    """Render the summary of a video and its chapters, which seek the player."""
    return _render("summary", entry=entry) if entry.chapters else ""


def exports(entry: VideoEntry | None) -> str:
    """Render one link per format; nothing for a video without captions."""
    return _render("exports", entry=entry, formats=FORMATS) if entry and entry.caption_count else ""


def moments(results: SearchResults, *, is_verifying: bool = False) -> str:
    """Render search results as cards that open the video at the moment, without those that verification rejected."""
    return _render("moments", results=results, is_verifying=is_verifying and results.unverified_count > 0)


def progress(report: ProgressReport) -> str:
    """Render the progress of an operation before its first result."""
    return _render("progress", progress=report)


def citation_cards(spans: Sequence[tuple[str, str, Span]]) -> str:
    """Render the citations of an answer about the library (video id, title, span) as the same cards."""
    return _render("citation_cards", citations=spans)


def library_table(entries: Sequence[VideoEntry], outdated_ids: frozenset[str]) -> str:
    """Render the library as a table."""
    return _render("library_table", entries=entries, outdated_ids=outdated_ids)


def job(current: Job | None, *, waiting: int = 0) -> str:
    """Render the progress of a job (stage, percent, remaining time) or its result, and the number of jobs that wait for it."""
    return _render("job", job=current, waiting=waiting) if current else ""
