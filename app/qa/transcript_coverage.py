"""What was listened to and read of a video: an answer from its words is based on that, above all "not said or written"."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from longview.app.text.counts import count_text
from longview.app.text.damage import damage_of
from longview.core.sources import source_label, traits_of
from longview.core.time_format import format_clock, format_time
from longview.core.timeline import Span, subtract_spans
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry

SPOKEN = "spoken"
"""Key of the time in which speech was recognised."""


@dataclass(frozen=True)
class TranscriptCoverage:
    """The part of videos whose words are known."""

    listened_s: float = 0.0
    """Sound in which speech was recognised, in seconds; silence counts."""
    subtitles: int = 0
    """Number of subtitles that were read."""
    frames_read: int = 0
    """Number of frames in which text was looked for."""
    examined_s: Mapping[str, float] = field(default_factory=dict)
    """Time in which each source that is neither spoken nor written, such as music, looked for its segments, in seconds."""
    gaps: tuple[str, ...] = ()
    """Clauses of a message: which sources are missing or incomplete."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was listened to or read."""
        return not (self.listened_s or self.subtitles or self.frames_read or any(self.examined_s.values()))

    def __str__(self) -> str:
        """One clause for users, such as `listened to 41:07 of sound, read 2,467 frames`."""
        parts = []
        if self.listened_s:
            parts.append(f"listened to {format_clock(self.listened_s)} of sound")
        if self.subtitles:
            parts.append(f"read {count_text(self.subtitles, 'subtitle')}")
        if self.frames_read:
            parts.append(f"read the text of {count_text(self.frames_read, 'frame')}")
        for name, time_s in self.examined_s.items():
            parts.append(f"looked for {source_label(name)} in {format_clock(time_s)}")
        text = ", ".join(parts) or "nothing was listened to or read"
        return f"{text} ({'; '.join(self.gaps)})" if self.gaps else text


def transcript_coverage(entry: VideoEntry, within: Span | None = None) -> TranscriptCoverage:
    """Return what was listened to and read of a video, or of a part of it."""
    part = within or Span(0.0, max([entry.duration_s, *(track.done_s for track in entry.tracks)]))
    times_s: defaultdict[str, float] = defaultdict(float)
    subtitles = frames_read = 0
    for track in entry.tracks:
        traits = traits_of(track.source)
        if traits.is_imported:
            subtitles += track.segment_count
        elif traits.is_screen:
            frames_read += round(track.frames_read * (_share(track, within) if within else 1.0))
        elif traits.is_transcript:
            done_span = Span(track.span.start_s, max(track.span.start_s, track.done_s)).clamp(part)
            times_s[SPOKEN if traits.is_spoken else track.source] += sum(
                span.duration_s for span in subtract_spans(done_span, track.uncovered)
            )
    return TranscriptCoverage(times_s.pop(SPOKEN, 0.0), subtitles, frames_read, times_s, tuple(_gaps(entry)))


def _share(track: Track, within: Span) -> float:
    """Return the share of the frames of a track that lie in a part of the video."""
    if track.done_s <= track.span.start_s:
        return 1.0
    read_span = Span(track.span.start_s, track.done_s)
    return max(0.0, read_span.overlap_s(within)) / read_span.duration_s


def add_coverages(coverages: Iterable[TranscriptCoverage]) -> TranscriptCoverage:
    """Return the coverage of several videos together."""
    items = list(coverages)
    return TranscriptCoverage(
        sum(item.listened_s for item in items),
        sum(item.subtitles for item in items),
        sum(item.frames_read for item in items),
        _total(item.examined_s for item in items),
        tuple(dict.fromkeys(gap for item in items for gap in item.gaps)),
    )


def _total(times_s: Iterable[Mapping[str, float]]) -> dict[str, float]:
    totals: defaultdict[str, float] = defaultdict(float)
    for item in times_s:
        for name, time_s in item.items():
            totals[name] += time_s
    return totals


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
    for track in entry.tracks:
        traits = traits_of(track.source)
        if not traits.is_transcript or traits.is_imported:
            continue
        verb = "listened" if traits.is_spoken else "read" if traits.is_screen else f"looked for {traits.label}"
        if track.status in ("incomplete", "failed") and track.done_s < track.span.end_s:
            clauses.append(f"{verb} only up to {format_time(track.done_s)}")
        elif track.span.duration_s < entry.duration_s - 1.0:
            clauses.append(f"{verb} only from {format_time(track.span.start_s)} to {format_time(track.span.end_s)}")
    return clauses


def _gaps(entry: VideoEntry) -> list[str]:
    gaps = unfinished_clauses(entry)
    if damage := damage_of(entry):
        gaps.append(damage.text)
    traits = [traits_of(track.source) for track in entry.tracks]
    if entry.has_frames and not any(item.is_screen for item in traits):
        gaps.append("the text on screen was not read")
    if entry.facts.get("has_audio") and not any(item.is_spoken for item in traits):
        gaps.append("the sound was not listened to")
    return gaps
