"""Dataclasses -> what the browser shows. Everything that a video, a user or a model wrote is escaped here."""

import re
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from longview.app.jobs import Job
from longview.app.progress import Progress
from longview.app.service import (
    FORMATS,
    NO_CAPTIONS,
    AnsweredQuestion,
    Caption,
    ChatTurn,
    Moment,
    Span,
    VideoEntry,
    find_times,
    format_clock,
    format_time,
)


def notice(text: str) -> str:
    """The banner that says what the checkpoint can't do."""
    return f'<div class="notice" role="note">{escape(text)}</div>'


def player(entry: VideoEntry | None, *, ready: bool, start_s: float = 0.0) -> str:
    """The video element with the captions as its text track, or what is there instead."""
    if entry is None:
        return '<div class="player muted">The library is empty. Add a video under “Library”.</div>'
    facts = entry.facts
    size = f"{facts.get('width')}×{facts.get('height')}"
    about = f"{escape(entry.title)} · {format_time(entry.duration_s)} · {size} · {escape(str(facts.get('codec')))}"
    if not ready:
        waiting = '<div class="muted">A copy that browsers can play is being made …</div>'
        return f'<div class="player">{waiting}<div class="facts">{about}</div></div>'
    return (
        f'<div class="player"><video controls preload="metadata" src="/media/{quote(entry.video_id)}#t={start_s:.3f}">'
        f'<track kind="captions" label="Longview" src="/export/{quote(entry.video_id)}.vtt"></video>'
        f'<div class="facts">{about}</div></div>'
    )


def failure(text: str) -> str:
    """One sentence in place of something that cannot be shown."""
    return f'<div class="failed" role="alert">{escape(text)}</div>'


def captions(items: Sequence[Caption], *, stale: bool, incomplete: Sequence[Span] = ()) -> str:
    """A table whose rows seek the player."""
    rows = "".join(
        f'<tr tabindex="0" data-seek="{item.event.span.start_s:.3f}" data-until="{item.event.span.end_s:.3f}">'
        f"<td>{_clock(item.event.span)}</td><td>{escape(item.event.text)}</td></tr>"
        for item in items
    )
    warning = "Another checkpoint made these captions; index the video again to renew them." if stale else ""
    if incomplete:
        warning += f" There may be more than this in {', '.join(map(_clock, incomplete))}."
    table = (
        f'<div class="captions"><table>{rows}</table></div>'
        if items
        else f'<div class="muted">{NO_CAPTIONS if incomplete else "Nothing was seen in this video."}</div>'
    )
    return f'<div class="muted">{warning}</div>{table}'


def summary(entry: VideoEntry) -> str:
    """What the video is about, and its chapters, which seek the player."""
    if not entry.chapters:
        return ""
    items = "".join(
        f'<li tabindex="0" data-seek="{chapter.span.start_s:.3f}"><b>{format_clock(chapter.span.start_s)}</b> '
        f"{escape(chapter.text)}</li>"
        for chapter in entry.chapters
    )
    listed = f'<ol class="chapters" aria-label="Chapters">{items}</ol>'
    return f'<details class="story"><summary>{escape(entry.summary)}</summary>{listed}</details>'


def _part(entry: VideoEntry) -> str:
    return f" (only {_clock(entry.span)})" if entry.span.duration_s < entry.duration_s - 0.1 else ""


def exports(entry: VideoEntry | None) -> str:
    """One link a format."""
    if entry is None:
        return ""
    links = "".join(f'<a href="/export/{quote(entry.video_id)}.{format}" download>{format.upper()}</a>' for format in FORMATS)
    return f'<div class="exports">Export captions: {links}</div>'


def moments(found: Sequence[Moment], *, is_verifying: bool = False) -> str:
    """Search results as cards that open the video at the moment; those that a second look did not see are left out."""
    if not found:
        return '<div class="muted">No caption in the library fits.</div>'
    shown = [moment for moment in found if moment.verified is not False]
    notes = ["Looking again at each moment …"] if is_verifying else []
    if len(shown) < len(found):
        notes.append(f"{len(found) - len(shown)} left out: a second look did not see what the caption says.")
    cards = "".join(_card(moment.video_id, moment.title, moment.span, moment.text, _score(moment)) for moment in shown)
    return f'<div class="muted" role="status">{" ".join(notes)}</div><div class="moments">{cards}</div>'


def citation_cards(spans: Sequence[tuple[str, str, Span]]) -> str:
    """What an answer about the library rests on, video by video (id, title, span), as the same cards."""
    return f'<div class="moments">{"".join(_card(video_id, title, span, "", "") for video_id, title, span in spans)}</div>'


def _score(moment: Moment) -> str:
    return f" · {moment.score:.2f}" + (" · caption confirmed by a second look" if moment.verified else "")


def _card(video_id: str, title: str, span: Span, text: str, note: str) -> str:
    middle_s = (span.start_s + span.end_s) / 2
    return (
        f'<a data-elsewhere href="/?video={quote(video_id)}&t={span.start_s:.3f}">'
        f'<img loading="lazy" alt="" src="/thumbnail/{quote(video_id)}/{round(middle_s * 1000)}.jpg">'
        f"<div><b>{_clock(span)}</b><br>{escape(text)}"
        f'<div class="muted">{escape(title)}{escape(note)}</div></div></a>'
    )


def library_table(entries: Sequence[VideoEntry], stale_ids: frozenset[str]) -> str:
    """The library as a table."""
    if not entries:
        return '<div class="muted">The library is empty.</div>'
    rows = "".join(
        f'<tr><td><a data-elsewhere href="/?video={quote(entry.video_id)}">{escape(entry.title)}</a></td>'
        f"<td>{format_time(entry.duration_s)}{_part(entry)}</td><td>{entry.caption_count}</td>"
        f"<td>{'stale: index again' if entry.video_id in stale_ids else escape(entry.provenance.checkpoint)}</td>"
        f'<td class="muted">{escape(str(entry.path))}</td></tr>'
        for entry in entries
    )
    head = "<tr><th>Title</th><th>Length</th><th>Events</th><th>Captioned by</th><th>Original</th></tr>"
    return f'<div class="videos"><table>{head}{rows}</table></div>'


def job(current: Job | None) -> str:
    """Progress of a job: stage, percent, time left; or how it ended."""
    if current is None:
        return ""
    if current.error:
        return f'<div class="failed" role="alert">{escape(current.title)} failed. {escape(current.error)}</div>'
    progress = current.progress
    if current.finished.is_set():
        opening = f' <a data-elsewhere href="/?video={quote(current.video_id)}">Open it</a>' if current.video_id else ""
        note = f" {escape(current.note)}" if current.note else ""
        return f'<div class="muted">{escape(current.title)}: done.{note}{opening}</div>'
    left = f" · {format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
    return (
        f"<div>{escape(current.title)}: {escape(progress.stage)} · {progress.fraction:.0%}{left}"
        f'<div class="bar"><span style="width:{progress.fraction:.0%}"></span></div></div>'
    )


def answer(text: str, evidence: Sequence[Span] = (), notice: str | None = None) -> str:
    """An answer as Markdown: every time in it, and the evidence, as links that seek the player; last the notice."""
    shown = []
    end = 0
    for reference in find_times(text, duration_s=float("inf")):
        shown += [
            escaped_markdown(text[end : reference.text_start]),
            _link(text[reference.text_start : reference.text_end], reference.span.start_s),
        ]
        end = reference.text_end
    shown.append(escaped_markdown(text[end:]))
    seen = " ".join(_link(_clock(span), span.start_s) for span in evidence)
    return (
        "".join(shown).replace("\n", "  \n")
        + (f"\n\nSeen at {seen}" if seen else "")
        + (f"\n\n*{escaped_markdown(notice)}*" if notice else "")
    )


def answer_progress(latest: Sequence[Progress]) -> str:
    """What stands where an answer will go on: how far the looking has come, by the latest report if there is one."""
    progress = latest[-1] if latest else None
    if progress is None or progress.fraction >= 1.0:
        return " …"
    left = f", {format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
    return f" *{escaped_markdown(progress.stage)}: {progress.fraction:.0%}{left} …*"


def plain_answer(text: str, notice: str | None = None) -> str:
    """An answer about several videos as Markdown; last the notice."""
    return escaped_markdown(text).replace("\n", "  \n") + (f"\n\n*{escaped_markdown(notice)}*" if notice else "")


def turns(answers: Sequence[AnsweredQuestion]) -> list[ChatTurn]:
    """Earlier questions and answers as the model is told them."""
    return [ChatTurn(item.question, item.answer) for item in answers]


def _clock(span: Span) -> str:
    return f"{format_time(span.start_s)} – {format_time(span.end_s)}"


def _link(text: str, time_s: float) -> str:
    return f"[{escaped_markdown(text)}](#t={time_s:.3f})"


def escaped_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no pictures, links or HTML out of a model's mouth."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|>~$])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    # A line that begins with a number and a full stop would become a list.
    escaped = re.sub(r"^(\s*\d+)\.", r"\1&#46;", escaped, flags=re.MULTILINE)
    # Bare web and mail addresses would become links too.
    return re.sub(r":(?=//)|(?<=www)\.|@", lambda mark: f"&#{ord(mark[0])};", escaped, flags=re.IGNORECASE)


def history(answers: Sequence[AnsweredQuestion], notice: str | None = None) -> list[dict[str, str]]:
    """Earlier questions and answers as chat messages."""
    messages = []
    for item in answers:
        messages.append({"role": "user", "content": escaped_markdown(item.question)})
        messages.append({"role": "assistant", "content": answer(item.answer, item.citations, notice)})
    return messages
