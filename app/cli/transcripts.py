"""The commands about words: print what is said in a video, and add subtitles to it."""

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.output import printable
from longview.app.cli.params import End, Start, VideoArgument, parse_seconds, resolve_video, span_text
from longview.app.errors import BadRequest
from longview.app.ingest.ranges import check_range
from longview.app.text.counts import count_text
from longview.core.sources import spoken_sources
from longview.core.time_format import format_time
from longview.core.timeline import Span

if TYPE_CHECKING:
    from longview.indexing.records.video import VideoEntry

log = logging.getLogger(__name__)

MAX_SHOWN_PASSAGES, MAX_SHOWN_CHARACTERS = 5, 100
"""Maximum number of passages that do not fit, and of characters of each, that are shown in the text output."""


@command("json", "model", "decoding", "speech")
def transcript(
    context: Context,
    video: VideoArgument,
    start: Start = None,
    end: End = None,
    source: Annotated[
        str | None, typer.Option(help="speech or subtitles; by default what the video has.", show_default=False)
    ] = None,
) -> None:
    """Print what is said in a video, with times.

    Example: longview transcript 3f2a --start 10:00 --end 12:00
    """
    if source is not None and source not in spoken_sources():
        raise BadRequest(f"There is no transcript of the source {source!r}; choose {' or '.join(spoken_sources())}.")
    start_s, end_s = parse_seconds(start), parse_seconds(end)
    check_range(start_s, end_s)
    entry = resolve_video(context, video)
    sources = [source] if source else _sources_of(entry)
    within = Span(start_s or 0.0, max(start_s or 0.0, _end_s(entry) if end_s is None else end_s))
    segments = [item for name in sources for item in context.app.segments(entry, name, within=within)]
    tracks = [track for track in entry.tracks if track.source in spoken_sources()]
    for track in tracks:
        if track.source in sources and track.status in ("incomplete", "failed"):
            log.warning("The %s is complete up to %s only; `longview index` resumes.", track.source, format_time(track.done_s))
    document = schemas.TranscriptDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        segments=[schemas.SegmentOut.of_segment(segment) for segment in segments],
        tracks=[schemas.TrackOut.of(track) for track in tracks],
    )
    lines = [f"{span_text(segment.span)}  {printable(segment.text)}" for segment in segments]
    context.print_result(document, "\n".join(lines) or _empty_text(entry, within))


def _end_s(entry: "VideoEntry") -> float:
    """Return the end of the video or of its sound, which may be longer, in seconds."""
    return max([entry.duration_s, *(track.done_s for track in entry.tracks)]) + 1.0


def _sources_of(entry: "VideoEntry") -> list[str]:
    """Return the source of the transcript: speech, whose words have times, else subtitles."""
    return next(([name] for name in spoken_sources() if (track := entry.track(name)) and track.segment_count), [])


def _empty_text(entry: "VideoEntry", within: Span) -> str:
    """Return why there are no words, and what adds them; what has been done already is not advised."""
    speech = entry.track("speech")
    if _sources_of(entry):
        return f"Nothing is said from {span_text(within)}."
    if speech is not None and speech.status in ("complete", "declined"):
        return f"No speech was found in “{entry.title}”."
    if not entry.facts.get("has_audio", True):
        return f"“{entry.title}” has no sound and no subtitles; `longview subtitles VIDEO FILE` adds some."
    command = f"`longview index --sources speech {shlex.quote(str(entry.path))}`"
    if speech is not None:
        reason = f" ({speech.note.rstrip('.')})" if speech.note else ""
        return f"No words of “{entry.title}” are known up to {format_time(speech.done_s)}{reason}; {command} resumes."
    return f"The speech of “{entry.title}” was not recognised yet; {command} does that."


@command("json", "model", "decoding")
def subtitles(
    context: Context,
    video: VideoArgument,
    file: Annotated[Path, typer.Argument(help="Subtitles (.srt .vtt .ass .ssa), or a transcript without times (.txt .md).")],
    language: Annotated[
        str | None, typer.Option(help="Language of the file, such as fr; by default its name states it.", show_default=False)
    ] = None,
    offset: Annotated[float, typer.Option(help="Seconds that are added to all times.", min=-360_000.0, max=360_000.0)] = 0.0,
) -> None:
    """Add a subtitle file to a video. A transcript without times gets those of the recognised speech.

    Example: longview subtitles 3f2a holiday.srt --offset -1.5
    """
    entry = resolve_video(context, video)
    result = context.app.subtitles.add(entry, file.expanduser(), language=language, offset_s=offset)
    document = schemas.SubtitlesDocument.of(entry.video_id, str(file), result)
    lines = [f"Added {count_text(result.segments, 'subtitle')} of {printable(str(file))} to “{entry.title}”.", *result.problems]
    if result.unmatched_share:
        lines.append(f"{result.unmatched_share:.0%} of its words do not fit the speech. These passages were left out:")
        lines += [f"  {printable(text[:MAX_SHOWN_CHARACTERS])}" for text in result.unmatched[:MAX_SHOWN_PASSAGES]]
        if len(result.unmatched) > MAX_SHOWN_PASSAGES:
            lines.append(f"  … and {len(result.unmatched) - MAX_SHOWN_PASSAGES} more (see --json)")
    context.print_result(document, "\n".join(lines))
