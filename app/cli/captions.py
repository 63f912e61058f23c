"""The commands that print what was found in a video: captions and chapters."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.cli.params import (
    VideoArgument,
    resolve_video,
    warn_if_incomplete,
)
from longview.app.text.contents import searchable_by
from longview.core.time_format import format_clock

if TYPE_CHECKING:
    from longview.core.timeline import Segment
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)


@command("json", "model", "decoding")
def caption(context: Context, video: VideoArgument) -> None:
    """Print a video's captions.

    Example: longview caption 3f2a
    """
    entry = resolve_video(context, video)
    track = entry.track("captions")
    warn_if_incomplete(entry)
    if offer := context.app.caption_offer(entry):
        log.warning("%s", printable(offer.advice))
    context.print_notice()
    document = schemas.CaptionDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        events=[schemas.EventOut(**schemas.SpanOut.fields_of(item.span), text=item.text) for item in _captions(context, entry)],
        outdated=context.app.is_outdated(entry),
        incomplete=[schemas.SpanOut.of(span) for span in (track.uncovered if track else ())],
        provenance=schemas.ProvenanceOut.of(track.provenance) if track else None,
        notice=context.app.notice,
    )
    text = "\n".join(f"{event.start} - {event.end}  {event.text}" for event in document.events)
    context.print_result(document, text or _no_captions_text(entry))


def _captions(context: Context, entry: "VideoEntry") -> "Sequence[Segment]":
    return context.app.segments(entry, "captions")


def _no_captions_text(entry: "VideoEntry") -> str:
    """Return why a video has no captions, and by what it can be searched."""
    from longview.app.text.contents import NO_EVENTS

    track = entry.track("captions")
    if not entry.has_frames:
        return "There are no captions: the file has sound but no pictures."
    if track is None:
        return "There are no captions; `longview index` adds them."
    if track.status == "complete":
        return NO_EVENTS
    others = searchable_by(entry)
    return f"There are no captions: {track.note.rstrip('.')}." + (f" The video is searchable by {others}." if others else "")


@command("json", "model", "decoding")
def chapters(context: Context, video: VideoArgument) -> None:
    """Print a video's chapters, in YouTube's form, and a summary.

    Example: longview chapters 3f2a
    """
    entry = resolve_video(context, video)
    warn_if_incomplete(entry)
    chapters = context.app.chapters(entry)
    if not chapters.is_quoted:
        context.print_notice()
    document = schemas.ChaptersDocument.of(entry, chapters, notice=context.app.notice)
    titles = (f"“{item.text}”" if chapters.is_quoted else item.text for item in chapters.events)
    lines = [f"{format_clock(item.span.start_s)} {title}" for item, title in zip(chapters.events, titles, strict=True)]
    if document.quoted:
        lines += ["", "The chapters are parts of what is said and shown, and their titles are quotes."]
    elif not entry.summary:
        lines = [f"There are no chapters. {_no_captions_text(entry)}"]
    context.print_result(document, "\n".join([*lines, "", entry.summary]).strip())
