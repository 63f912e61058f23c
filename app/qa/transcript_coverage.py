"""What was listened to and read of a video: an answer from its words is based on that, above all "not said or written"."""

from collections.abc import Iterable
from dataclasses import dataclass

from longview.app.text.counts import count_text
from longview.app.text.damage import damage_of
from longview.core.sources import traits_of
from longview.core.time_format import format_clock, format_time
from longview.core.timeline import Span, subtract_spans
from longview.indexing.records.video import VideoEntry


@dataclass(frozen=True)
class TranscriptCoverage:
    """The part of videos whose words are known."""

    listened_s: float = 0.0
    """Sound in which speech was recognised, in seconds; silence counts."""
    subtitles: int = 0
    """Number of subtitles that were read."""
    frames_read: int = 0
    """Number of frames in which text was looked for."""
    gaps: tuple[str, ...] = ()
    """Clauses of a message: which sources are missing or incomplete."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was listened to or read."""
        return not (self.listened_s or self.subtitles or self.frames_read)

    def __str__(self) -> str:
        """One clause for users, such as `listened to 41:07 of sound, read 2,467 frames`."""
        parts = []
        if self.listened_s:
            parts.append(f"listened to {format_clock(self.listened_s)} of sound")
        if self.subtitles:
            parts.append(f"read {count_text(self.subtitles, 'subtitle')}")
        if self.frames_read:
            parts.append(f"read the text of {count_text(self.frames_read, 'frame')}")
        text = ", ".join(parts) or "nothing was listened to or read"
        return f"{text} ({'; '.join(self.gaps)})" if self.gaps else text


def transcript_coverage(entry: VideoEntry, within: Span | None = None) -> TranscriptCoverage:
    """Return what was listened to and read of a video, or of a part of it."""
    speech, subtitles, screen = (entry.track(source) for source in ("speech", "subtitles", "screen_text"))
    part = within or Span(0.0, max([entry.duration_s, *(track.done_s for track in (speech, screen) if track)]))
    listened_s = 0.0
    if speech:
        heard_span = Span(speech.span.start_s, max(speech.span.start_s, speech.done_s)).clamp(part)
        listened_s = sum(span.duration_s for span in subtract_spans(heard_span, speech.uncovered))
    share = 1.0
    if screen and within is not None and screen.done_s > screen.span.start_s:
        read_span = Span(screen.span.start_s, screen.done_s)
        share = max(0.0, read_span.overlap_s(part)) / read_span.duration_s
    return TranscriptCoverage(
        listened_s=listened_s,
        subtitles=subtitles.segment_count if subtitles else 0,
        frames_read=round(screen.frames_read * share) if screen else 0,
        gaps=tuple(_gaps(entry)),
    )


def add_coverages(coverages: Iterable[TranscriptCoverage]) -> TranscriptCoverage:
    """Return the coverage of several videos together."""
    items = list(coverages)
    return TranscriptCoverage(
        sum(item.listened_s for item in items),
        sum(item.subtitles for item in items),
        sum(item.frames_read for item in items),
        tuple(dict.fromkeys(gap for item in items for gap in item.gaps)),
    )


def has_transcript_tracks(entry: VideoEntry) -> bool:
    """Whether words of a video were looked for: it has a track of subtitles, speech or screen text that did not fail."""
    return any(
        traits_of(track.source).is_transcript and (track.segment_count or track.status == "complete") for track in entry.tracks
    )


def has_sound(entry: VideoEntry) -> bool:
    """Whether a video has sound, or subtitles of it. An entry of an earlier version may not say."""
    return entry.facts.get("has_audio") is not False or any(
        traits_of(track.source).is_spoken and track.segment_count for track in entry.tracks
    )


def has_transcript(entry: VideoEntry) -> bool:
    """Whether anything that is said or written in a video is known."""
    return any(traits_of(track.source).is_transcript and track.segment_count for track in entry.tracks)


def unfinished_clauses(entry: VideoEntry) -> list[str]:
    """Return clauses that say how far the words of a video were listened to and read, where this is not all of it."""
    clauses = []
    for source, verb in (("speech", "listened"), ("screen_text", "read")):
        track = entry.track(source)
        if track and track.status in ("incomplete", "failed") and track.done_s < track.span.end_s:
            clauses.append(f"{verb} only up to {format_time(track.done_s)}")
        elif track and track.span.duration_s < entry.duration_s - 1.0:
            clauses.append(f"{verb} only from {format_time(track.span.start_s)} to {format_time(track.span.end_s)}")
    return clauses


def _gaps(entry: VideoEntry) -> list[str]:
    gaps = unfinished_clauses(entry)
    if damage := damage_of(entry):
        gaps.append(damage.text)
    if entry.has_frames and entry.track("screen_text") is None:
        gaps.append("the text on screen was not read")
    if entry.track("speech") is None and entry.track("subtitles") is None and entry.facts.get("has_audio"):
        gaps.append("the sound was not listened to")
    return gaps
