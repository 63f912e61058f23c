"""The sources of evidence: one row for each, with the facts that the other packages need about its segments.

`app/ingest/sources/` has the module of each source, under the same name, which finds the segments.
"""

from dataclasses import dataclass
from typing import Literal

SourceKind = Literal["seen", "spoken", "written", "other"]
"""`seen`: what a checkpoint says of the pictures; `spoken`: words that are said; `written`: lines in a frame; `other`: anything
else, such as sounds."""
_LAST = 1_000
"""Rank of sources without one."""


@dataclass(frozen=True)
class SourceTraits:
    """What is known of the segments of a source."""

    name: str
    """Name of the source, of its track and of its module."""
    kind: SourceKind
    segment_noun: str
    """What one of its segments is called."""
    empty_text: str
    """What is said of a video in which it found nothing."""
    context_label: str = ""
    """What a checkpoint is told of a line of this source in the transcript context; by default the label."""
    display_rank: int = _LAST
    """Position of its track on the page and in answers: what tells most of a video comes first."""
    precedence: int = _LAST
    """Position among sources that may say the same: the first that a video has is exported, and repetitions are left out of the
    later ones. Subtitles come before speech, because somebody wrote them."""
    is_imported: bool = False
    """Whether the segments are read from files instead of made by a model. A file has its own line breaks and, in other
    languages, translations; earlier tracks are not kept."""

    @property
    def label(self) -> str:
        """The name for users."""
        return self.name.replace("_", " ")

    @property
    def is_spoken(self) -> bool:
        """Whether the segments are words that are said. They are searched in windows, because pauses divide no subjects."""
        return self.kind == "spoken"

    @property
    def is_screen(self) -> bool:
        """Whether the segments are lines in a frame, of which those that appear together are searched as one text."""
        return self.kind == "written"

    @property
    def is_transcript(self) -> bool:
        """Whether answers quote the source, and checkpoints get it as context: all sources but what a checkpoint has seen."""
        return self.kind != "seen"

    @property
    def is_verified(self) -> bool:
        """Whether a checkpoint may verify a segment in the pictures."""
        return self.kind == "seen"


SOURCES = {
    traits.name: traits
    for traits in (
        SourceTraits(
            "subtitles", "spoken", "segment", "no subtitles", display_rank=2, precedence=1, is_imported=True
        ),
        SourceTraits("speech", "spoken", "segment", "no speech", display_rank=1, precedence=2),
        SourceTraits(
            "screen_text", "written", "line", "no text on screen", context_label="on screen", display_rank=3, precedence=3
        ),
        SourceTraits("captions", "seen", "event", "no events detected", display_rank=0, precedence=0),
    )
}  # fmt: skip
"""The sources by name, in the order in which they run. Cheap ones come first, because later ones depend on their result: speech
is not recognised where there are subtitles."""


def traits_of(source: str) -> SourceTraits:
    """Return the traits of a source. A library may have tracks of a source that this version does not have."""
    if source in SOURCES:
        return SOURCES[source]
    return SourceTraits(source, "other", "segment", f"no {source.replace('_', ' ')}")


def source_label(source: str) -> str:
    """Return the name of a source for users."""
    return traits_of(source).label


def transcript_sources() -> tuple[str, ...]:
    """Return the sources that answers quote, in the order of display."""
    return tuple(item.name for item in sorted(SOURCES.values(), key=lambda item: item.display_rank) if item.is_transcript)


def spoken_sources() -> tuple[str, ...]:
    """Return the sources of what is said, in the order of display."""
    return tuple(name for name in transcript_sources() if SOURCES[name].is_spoken)


def sources_by_precedence() -> tuple[str, ...]:
    """Return all sources, those first that others may repeat."""
    return tuple(item.name for item in sorted(SOURCES.values(), key=lambda item: item.precedence))
