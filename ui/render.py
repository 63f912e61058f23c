"""Render dataclasses as HTML with the templates beside this module, which escape every value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from longview.app.jobs.text import detail_text, job_title, state_text
from longview.app.qa.chapters import Chapters
from longview.app.qa.retriever import SearchResults
from longview.app.runtime.caption_offer import CaptionOffer
from longview.app.serving.preparations import Preparation
from longview.app.text.contents import NO_EVENTS, contents_text
from longview.core.progress import ProgressReport
from longview.core.sources import SOURCES, source_label, traits_of
from longview.core.time_format import format_time
from longview.core.timeline import Segment, Span
from longview.indexing.exports import FORMATS
from longview.indexing.records.job import QueuedJob
from longview.indexing.records.provenance_text import describe_maker
from longview.indexing.records.track import Track, TrackVersion
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.search import Evidence
from longview.indexing.sqlite.tracks.removals import RemovedVideo

NOTHING_SEARCHABLE = (
    "Nothing to search or ask about yet. Add subtitles with longview subtitles, or captions with another --model."
)
"""Text below the tracks of a video in which no source found anything."""
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


def _in_order(entry: VideoEntry) -> VideoEntry:
    return replace(entry, tracks=tuple(sorted(entry.tracks, key=lambda track: traits_of(track.source).display_rank)))


def notice(text: str) -> str:
    """Render the banner with the limits of the checkpoint. What is between backticks is a command, which a button copies."""
    return _render("notice", text=text)


def player(entry: VideoEntry, *, ready: bool, start_s: float = 0.0) -> str:
    """Render the video element with the captions as its text track, or the reason why there is none."""
    return _render("player", entry=_in_order(entry), ready=ready, start_s=start_s)


def has_video(rendered_player: str | None, entry: VideoEntry) -> bool:
    """Whether a rendered player has the video element of a video, so that the user may be watching it."""
    return f'src="/media/{entry.video_id}#' in (rendered_player or "")


def failure(text: str) -> str:
    """Render one sentence in place of something that cannot be shown."""
    return _render("failure", text=text)


def empty_library() -> str:
    """Render that the library is empty, which is shown while it is."""
    return _render("no_video", kind="empty", removed=None)


def missing_video(removed: RemovedVideo | None) -> str:
    """Render that a video is not in the library. `removed`: it, if it was removed lately and can be brought back."""
    return _render("no_video", kind="removed" if removed else "unknown", removed=removed)


def tracks(entry: VideoEntry, segments: Mapping[str, Sequence[Segment]], *, is_running: bool = False) -> str:
    """Render the tracks of a video, each as a table whose rows seek the player, and as text tracks for the player.

    `segments`: those of each source. `is_running`: whether a job is indexing the video now.
    """
    return _render(
        "tracks",
        entry=_in_order(entry),
        segments=segments,
        is_running=is_running,
        no_events=NO_EVENTS,
        no_words=NOTHING_SEARCHABLE,
    )


def highlight(evidence: Evidence) -> Markup:
    """Return the text of evidence as HTML with the words of the query in bold."""
    text, position, parts = evidence.segment.text, 0, []
    for start, end in evidence.highlights:
        parts += [escape(text[position:start]), Markup("<mark>"), escape(text[start:end]), Markup("</mark>")]
        position = end
    return Markup("").join([*parts, escape(text[position:])])


def track_title(track: Track) -> str:
    """Return the name of a track with its size and languages."""
    count = f" · {track.segment_count}" if track.segment_count else ""
    languages = f" · {', '.join(track.languages)}" if track.languages else ""
    return f"{source_label(track.source).capitalize()}{count}{languages}"


def summary(entry: VideoEntry, chapters: Chapters) -> str:
    """Render the summary of a video and its chapters, which seek the player."""
    return _render("summary", entry=entry, chapters=chapters) if chapters.events else ""


def exports(entry: VideoEntry | None) -> str:
    """Render one link per track and format; nothing for a video without segments."""
    return _render("exports", entry=_in_order(entry), formats=FORMATS) if entry and entry.has_segments else ""


def provenance(versions: Sequence[TrackVersion]) -> str:
    """Render what made the tracks of a video, with the exports of earlier ones; nothing for a video without segments."""
    has_segments = any(version.track.segment_count for version in versions)
    in_order = sorted(versions, key=lambda version: traits_of(version.track.source).display_rank)
    return _render("made_by", versions=in_order, formats=FORMATS) if has_segments else ""


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
    "track_title": track_title,
    "label": source_label,
    "contents": contents_text,
    "provenance": describe_maker,
    "job_state": state_text,
    "job_detail": detail_text,
    "job_title": job_title,
}
