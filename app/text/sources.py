"""What reports say of each source's segments, without the sources themselves, which import decoder and models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceTexts:
    """Texts about the segments of a source."""

    segment_noun: str
    """What one of its segments is called."""
    empty_text: str
    """What is said of a video in which it found nothing."""


SOURCE_TEXTS = {
    "subtitles": SourceTexts("segment", "no subtitles"),
    "speech": SourceTexts("segment", "no speech"),
    "screen_text": SourceTexts("line", "no text on screen"),
    "captions": SourceTexts("event", "no events detected"),
}
"""The texts of each source, by its name."""


def source_label(source: str) -> str:
    """Return the display name of a source."""
    return source.replace("_", " ")
