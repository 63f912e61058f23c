"""Damage of video files: what of the pictures and of the sound could not be decoded, as far as the tracks of a video say it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from longview.core.time_format import format_spans
from longview.core.timeline import Span
from longview.indexing.records.video import VideoEntry

MAX_SHOWN_SPANS = 3
"""Maximum number of damaged spans that are named."""


@dataclass(frozen=True)
class Damage:
    """What could not be decoded of a video."""

    pictures: tuple[Span, ...]
    """Spans without decodable frames."""
    lost_frames: int
    """Number of frames that could not be decoded, of those that text on screen was looked for in."""
    frames: int
    """Number of frames that were to be decoded for that: five of each second, as far as it has come."""
    sound: tuple[Span, ...]
    """Spans without decodable sound."""

    @property
    def text(self) -> str:
        """What was lost, as a clause of a message."""
        parts = []
        if self.pictures:
            loss = f"{self.lost_frames:,} of {self.frames:,} frames"
            parts.append(f"{loss} could not be decoded, from {_spans_text(self.pictures)}")
        if self.sound:
            parts.append(f"{_total_s(self.sound):.1f} s of the sound could not be decoded, from {_spans_text(self.sound)}")
        return "; ".join(parts)


def damage_of(entry: VideoEntry) -> Damage | None:
    """Return what could not be decoded of a video; None if nothing is known to be lost.

    The frames are those of the text on screen. What captions leave uncovered may also be what a checkpoint did not understand.
    """
    screen, speech = entry.track("screen_text"), entry.track("speech")
    pictures, sound = (track.uncovered if track else () for track in (screen, speech))
    if not pictures and not sound:
        return None
    frames = lost_frames = 0
    if pictures and screen is not None:
        # It is imported only for a damaged video: a module of the model takes a while.
        from longview.model.screen_text.reader import DECODED_FPS

        frames = max(1, math.ceil((screen.done_s - screen.span.start_s) * DECODED_FPS))
        lost_frames = min(frames, max(1, round(_total_s(pictures) * DECODED_FPS)))
    return Damage(pictures, lost_frames, frames, sound)


def _total_s(spans: Sequence[Span]) -> float:
    return sum(span.duration_s for span in spans)


def _spans_text(spans: Sequence[Span]) -> str:
    more = f" and at {len(spans) - MAX_SHOWN_SPANS:,} more places" if len(spans) > MAX_SHOWN_SPANS else ""
    return format_spans(*spans[:MAX_SHOWN_SPANS]) + more


def damaged_videos_text(entries: Sequence[VideoEntry]) -> str:
    """Return which videos have damaged parts, as a sentence; empty if none has."""
    texts = [f"{entry.title} ({damage.text})" for entry in entries if (damage := damage_of(entry))]
    if not texts:
        return ""
    count = "1 video has" if len(texts) == 1 else f"{len(texts):,} videos have"
    return f"{count} damaged parts: {'; '.join(texts)}."
