"""Render dataclasses as HTML with the templates beside this module, which escape every value."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from longview.app.jobs.text import detail_text, job_title, state_text
from longview.app.qa.retriever import SearchResults
from longview.app.runtime.caption_offer import CaptionOffer
from longview.app.serving.preparations import Preparation
from longview.core.progress import ProgressReport
from longview.core.sources import SOURCES, source_label
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.indexing.records.job import QueuedJob
from longview.indexing.search.search import Evidence

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


def _render(name: str, **values: Any) -> str:
    return _TEMPLATES.get_template(f"{name}.html").render(values)


def notice(text: str) -> str:
    """Render the banner with the limits of the checkpoint. What is between backticks is a command, which a button copies."""
    return _render("notice", text=text)


def failure(text: str) -> str:
    """Render one sentence in place of something that cannot be shown."""
    return _render("failure", text=text)


def empty_library() -> str:
    """Render that the library is empty, which is shown while it is."""
    return _render("no_video", kind="empty")


def highlight(evidence: Evidence) -> Markup:
    """Return the text of evidence as HTML with the words of the query in bold."""
    text, position, parts = evidence.segment.text, 0, []
    for start, end in evidence.highlights:
        parts += [escape(text[position:start]), Markup("<mark>"), escape(text[start:end]), Markup("</mark>")]
        position = end
    return Markup("").join([*parts, escape(text[position:])])


def caption_offer(offer: CaptionOffer | None) -> str:
    """Render why a video can be captioned again; nothing if there is no reason."""
    return _render("caption_offer", offer=offer) if offer else ""


def moments(results: SearchResults, *, is_verifying: bool = False, without_frames: Collection[str] = ()) -> str:
    """Render search results as cards that open the video at the moment, without those that verification rejected.

    `without_frames`: ids of the videos that have sound only.
    """
    return _render(
        "moments",
        results=results,
        is_verifying=is_verifying and results.unverified_count > 0,
        verified_sources={name for name, traits in SOURCES.items() if traits.is_verified},
        without_frames=without_frames,
    )


def progress(report: ProgressReport) -> str:
    """Render the progress of an operation before its first result."""
    return _render("progress", progress=report)


def citation_cards(spans: Sequence[tuple[str, str, Span]]) -> str:
    """Render the citations of an answer about the library (video id, title, span) as the same cards."""
    return _render("citation_cards", citations=spans)


def job(current: QueuedJob | Preparation | None, *, waiting: int = 0) -> str:
    """Render the state of a job in one line (stage, percent, remaining time, or how it ended), and how many wait for it."""
    if current is None:
        return ""
    action = job_title(current) if isinstance(current, QueuedJob) else current.action
    return _render("job", job=current, title=action, waiting=waiting)


_TEMPLATES.filters |= {
    "time": format_time,
    "span": format_span,
    "seconds": "{:.3f}".format,
    "percent": "{:.0%}".format,
    "highlight": highlight,
    "label": source_label,
    "job_state": state_text,
    "job_detail": detail_text,
    "job_title": job_title,
}
