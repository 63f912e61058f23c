"""Render dataclasses as HTML. Everything that a video, a user or a model wrote is escaped here."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from longview.app.jobs import Job
from longview.app.service import (
    FORMATS,
    NO_CAPTIONS,
    NO_EVENTS,
    Caption,
    Moment,
    Span,
    VideoEntry,
    format_clock,
    format_time,
)


def format_span(span: Span) -> str:
    """Format a span as its two times."""
    return f"{format_time(span.start_s)} – {format_time(span.end_s)}"


def notice(text: str) -> str:
    """Render the banner that says what the checkpoint cannot do."""
    return f'<div class="notice" role="note">{escape(text)}</div>'


def player(entry: VideoEntry | None, *, ready: bool, start_s: float = 0.0) -> str:
    """Render the video element with the captions as its text track, or the reason why there is none."""
    if entry is None:
        return '<div class="player muted">The library is empty. Add a video under “Library”.</div>'
    facts = entry.facts
    size = f"{facts.get('width')}×{facts.get('height')}"
    about = f"{escape(entry.title)} · {format_time(entry.duration_s)} · {size} · {escape(str(facts.get('codec')))}"
    if not ready:
        waiting = '<div class="muted">Preparing a browser-compatible copy …</div>'
        return f'<div class="player">{waiting}<div class="facts">{about}</div></div>'
    return (
        f'<div class="player"><video controls preload="metadata" src="/media/{quote(entry.video_id)}#t={start_s:.3f}">'
        f'<track kind="captions" label="Longview" src="/export/{quote(entry.video_id)}.vtt"></video>'
        f'<div class="facts">{about}</div></div>'
    )


def failure(text: str) -> str:
    """Render one sentence in place of something that cannot be shown."""
    return f'<div class="failed" role="alert">{escape(text)}</div>'


def captions(items: Sequence[Caption], *, is_outdated: bool, incomplete: Sequence[Span] = ()) -> str:
    """Render a table whose rows seek the player."""
    rows = "".join(
        f'<tr tabindex="0" data-seek="{item.event.span.start_s:.3f}" data-until="{item.event.span.end_s:.3f}">'
        f"<td>{format_span(item.event.span)}</td><td>{escape(item.event.text)}</td></tr>"
        for item in items
    )
    warning = "Another checkpoint made these captions; index the video again to renew them." if is_outdated else ""
    if incomplete:
        warning += f" Captions may be incomplete from {', '.join(map(format_span, incomplete))}."
    table = (
        f'<div class="captions"><table>{rows}</table></div>'
        if items
        else f'<div class="muted">{NO_CAPTIONS if incomplete else NO_EVENTS}</div>'
    )
    return f'<div class="muted">{warning}</div>{table}'


def summary(entry: VideoEntry) -> str:
    """Render the summary of a video and its chapters, which seek the player."""
    if not entry.chapters:
        return ""
    items = "".join(
        f'<li tabindex="0" data-seek="{chapter.span.start_s:.3f}"><b>{format_clock(chapter.span.start_s)}</b> '
        f"{escape(chapter.text)}</li>"
        for chapter in entry.chapters
    )
    chapters = f'<ol class="chapters" aria-label="Chapters">{items}</ol>'
    return f'<details class="summary"><summary>{escape(entry.summary)}</summary>{chapters}</details>'


def _part(entry: VideoEntry) -> str:
    return f" (only {format_span(entry.span)})" if entry.span.duration_s < entry.duration_s - 0.1 else ""


def exports(entry: VideoEntry | None) -> str:
    """Render one link per format."""
    if entry is None:
        return ""
    links = "".join(f'<a href="/export/{quote(entry.video_id)}.{format}" download>{format.upper()}</a>' for format in FORMATS)
    return f'<div class="exports">Export captions: {links}</div>'


def moments(results: Sequence[Moment], *, is_verifying: bool = False) -> str:
    """Render search results as cards that open the video at the moment, without those that verification rejected."""
    if not results:
        return '<div class="muted">No caption in the library fits.</div>'
    accepted_moments = [moment for moment in results if moment.verified is not False]
    notes = ["Verifying results …"] if is_verifying else []
    if len(accepted_moments) < len(results):
        notes.append(f"{len(results) - len(accepted_moments)} results hidden: not confirmed in the video.")
    cards = "".join(_card(moment.video_id, moment.title, moment.span, moment.text, _score(moment)) for moment in accepted_moments)
    return f'<div class="muted" role="status">{" ".join(notes)}</div><div class="moments">{cards}</div>'


def citation_cards(spans: Sequence[tuple[str, str, Span]]) -> str:
    """Render the citations of an answer about the library (video id, title, span) as the same cards."""
    return f'<div class="moments">{"".join(_card(video_id, title, span, "", "") for video_id, title, span in spans)}</div>'


def _score(moment: Moment) -> str:
    return f" · {moment.score:.2f}" + (" · verified" if moment.verified else "")


def _card(video_id: str, title: str, span: Span, text: str, note: str) -> str:
    middle_s = (span.start_s + span.end_s) / 2
    return (
        f'<a data-elsewhere href="/?video={quote(video_id)}&t={span.start_s:.3f}">'
        f'<img loading="lazy" alt="" src="/thumbnail/{quote(video_id)}/{round(middle_s * 1000)}.jpg">'
        f"<div><b>{format_span(span)}</b><br>{escape(text)}"
        f'<div class="muted">{escape(title)}{escape(note)}</div></div></a>'
    )


def library_table(entries: Sequence[VideoEntry], outdated_ids: frozenset[str]) -> str:
    """Render the library as a table."""
    if not entries:
        return '<div class="muted">The library is empty.</div>'
    rows = "".join(
        f'<tr><td><a data-elsewhere href="/?video={quote(entry.video_id)}">{escape(entry.title)}</a></td>'
        f"<td>{format_time(entry.duration_s)}{_part(entry)}</td><td>{entry.caption_count}</td>"
        f"<td>{'outdated, re-index' if entry.video_id in outdated_ids else escape(entry.provenance.checkpoint)}</td>"
        f'<td class="muted">{escape(str(entry.path))}</td></tr>'
        for entry in entries
    )
    head = "<tr><th>Title</th><th>Length</th><th>Events</th><th>Model</th><th>File</th></tr>"
    return f'<div class="videos"><table>{head}{rows}</table></div>'


def job(current: Job | None) -> str:
    """Render the progress of a job (stage, percent, remaining time) or its result."""
    if current is None:
        return ""
    if current.error:
        return f'<div class="failed" role="alert">{escape(current.title)} failed. {escape(current.error)}</div>'
    progress = current.progress
    if current.finished_event.is_set():
        opening = f' <a data-elsewhere href="/?video={quote(current.video_id)}">Open it</a>' if current.video_id else ""
        note = f" {escape(current.note)}" if current.note else ""
        return f'<div class="muted">{escape(current.title)}: done.{note}{opening}</div>'
    remaining = f" · {format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
    return (
        f"<div>{escape(current.title)}: {escape(progress.stage)} · {progress.fraction:.0%}{remaining}"
        f'<div class="bar"><span style="width:{progress.fraction:.0%}"></span></div></div>'
    )
