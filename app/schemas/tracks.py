"""The documents of the commands that print or add tracks: captions, chapters, words."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel
from pydantic_core import to_json

from longview.app.schemas.base import BoxOut, ProvenanceOut, SpanOut
from longview.app.schemas.indexing import TrackOut
from longview.core.timeline import Segment
from longview.indexing.records.provenance_text import describe_maker

if TYPE_CHECKING:
    from longview.app.ingest.subtitle_import import SubtitleImport
    from longview.app.qa.chapters import Chapters
    from longview.indexing.records.track import SegmentPage, Track, TrackVersion
    from longview.indexing.records.video import VideoEntry


class EventOut(SpanOut):
    """A caption with its time."""

    text: str


class CaptionDocument(BaseModel):
    """The document of `caption`."""

    video_id: str
    duration_s: float
    events: list[EventOut]
    outdated: bool
    incomplete: list[SpanOut]
    provenance: ProvenanceOut | None
    """None: the video was not captioned."""
    notice: str | None


class ChapterOut(SpanOut):
    """One chapter of a video."""

    title: str


class ChaptersDocument(BaseModel):
    """The document of `chapters`."""

    video_id: str
    duration_s: float
    summary: str
    chapters: list[ChapterOut]
    quoted: bool
    """Whether the chapters are parts of what is said and shown, and their titles are quotes."""
    provenance: ProvenanceOut | None
    """What made the captions; null for quotes, and for a video that was not captioned."""
    notice: str | None

    @classmethod
    def of(cls, entry: "VideoEntry", chapters: "Chapters", *, notice: str | None) -> Self:
        """Return the document of the chapters of a video."""
        track = None if chapters.is_quoted else entry.track("captions")
        return cls(
            video_id=entry.video_id,
            duration_s=round(entry.duration_s, 3),
            summary=entry.summary,
            chapters=[ChapterOut(**SpanOut.fields_of(item.span), title=item.text) for item in chapters.events],
            quoted=chapters.is_quoted and bool(chapters.events),
            provenance=ProvenanceOut.of(track.provenance) if track else None,
            notice=notice,
        )


class MediaDocument(BaseModel):
    """What a browser can play of a video."""

    video_id: str
    state: Literal["ready", "preparing", "unavailable"]
    """`preparing`: a copy that browsers play is being made."""
    has_pictures: bool
    reason: str = ""
    """Why there is nothing to play; empty if there is, or while it is being made."""


class SpriteDocument(BaseModel):
    """The document of the small pictures of a video, which are in one image from left to right and from top to bottom."""

    video_id: str
    times_s: list[float]
    columns: int
    width: int
    """Width of a picture, in pixels."""
    height: int


class WaveformDocument(BaseModel):
    """The document of the waveform of a video: its largest samples in each part of a second."""

    video_id: str
    peaks_per_s: int
    count: int
    """Number of the peaks, a byte each, from the start of the video on."""
    duration_s: float
    state: Literal["ready", "running", "none", "failed"]
    """`running`: it is being made, or waits for others; `none`: the video has no sound."""
    fraction: float
    """The completed fraction, 0 to 1."""
    reason: str | None
    """Why it failed, as a sentence; null otherwise."""


class WordOut(SpanOut):
    """A spoken word."""

    text: str
    confidence: float | None


class SegmentOut(SpanOut):
    """A segment of a track."""

    text: str
    source: str
    language: str | None
    confidence: float | None
    words: list[WordOut]
    box: BoxOut | None

    @classmethod
    def fields_of_segment(cls, segment: Segment) -> dict[str, Any]:
        """Return the fields of a segment."""
        words = [{**cls.fields_of(word.span), "text": word.text, "confidence": word.confidence} for word in segment.words]
        return {
            **cls.fields_of(segment.span),
            "text": segment.text,
            "source": segment.source,
            "language": segment.language,
            "confidence": segment.confidence,
            "words": words,
            "box": BoxOut.of(segment.box),
        }

    @classmethod
    def of_segment(cls, segment: Segment) -> Self:
        """Return the document of a segment."""
        return cls(**cls.fields_of_segment(segment))


class TranscriptDocument(BaseModel):
    """The document of `transcript`."""

    video_id: str
    duration_s: float
    segments: list[SegmentOut]
    tracks: list[TrackOut]
    """The tracks of speech and subtitles, or of all sources, which say how far they have come."""
    next_offset: int | None = None
    """The parameter `offset` of the next page of a web reply; null if there is none."""
    total: int | None = None
    """Number of all segments of the source and the language of a web reply, in the whole video."""

    @staticmethod
    def json_of_page(entry: "VideoEntry", page: "SegmentPage", tracks: Iterable["Track"]) -> bytes:
        """Return the document of a page of segments as JSON. No model is made of the words, of which a page may have 100,000."""
        fields = {
            "video_id": entry.video_id,
            "duration_s": entry.duration_s,
            "segments": [SegmentOut.fields_of_segment(item.segment) for item in page.segments],
            "tracks": [TrackOut.of(track) for track in tracks],
            "next_offset": page.next_offset,
            "total": page.total,
        }
        return to_json(fields, inf_nan_mode="null")


class VersionOut(BaseModel):
    """A track of a video that is searched now, or an earlier one."""

    number: int
    """The number by which `export --version` writes it."""
    source: str
    current: bool
    """Whether it is searched; a newer track has replaced it otherwise."""
    status: str
    """As in the tracks of `list`."""
    segments: int
    languages: list[str]
    indexed: SpanOut
    """The part that was requested."""
    provenance: ProvenanceOut
    maker: str
    """What made it, in words."""
    made_at: str
    replaced_at: str | None
    summary: str
    """For captions: the summary that was made of them."""
    chapters: list[ChapterOut]

    @classmethod
    def of(cls, version: "TrackVersion") -> Self:
        """Return the document of a version."""
        track = version.track
        return cls(
            number=version.number,
            source=track.source,
            current=version.is_current,
            status=track.status,
            segments=track.segment_count,
            languages=list(track.languages),
            indexed=SpanOut.of(track.span),
            provenance=ProvenanceOut.of(track.provenance),
            maker=describe_maker(track),
            made_at=track.updated_at,
            replaced_at=version.replaced_at or None,
            summary=version.summary,
            chapters=[ChapterOut(**SpanOut.fields_of(item.span), title=item.text) for item in version.chapters],
        )


class VersionsDocument(BaseModel):
    """The document of `versions`: the tracks of a video in the order in which they were begun."""

    video_id: str
    versions: list[VersionOut]

    @classmethod
    def of(cls, video_id: str, versions: Iterable["TrackVersion"]) -> Self:
        """Return the document of the versions of a video's tracks."""
        return cls(video_id=video_id, versions=[VersionOut.of(version) for version in versions])


class SubtitlesDocument(BaseModel):
    """The document of `subtitles`: what was added."""

    video_id: str
    path: str
    segments: int
    language: str | None
    unmatched_share: float | None
    """Share of a transcript's words that do not fit the speech; None for a file with times."""
    unmatched: list[str]
    """The passages of a transcript that do not fit."""
    problems: list[str]

    @classmethod
    def of(cls, video_id: str, path: str, result: "SubtitleImport") -> Self:
        """Return the document of an import. `path`: the file as its user names it."""
        return cls(
            video_id=video_id,
            path=path,
            segments=result.segments,
            language=result.language,
            unmatched_share=None if result.unmatched_share is None else round(result.unmatched_share, 4),
            unmatched=list(result.unmatched),
            problems=list(result.problems),
        )


class SubtitleFilesDocument(BaseModel):
    """What the subtitles of a video are from."""

    video_id: str
    names: list[str]
    """Names of files, and of text streams in the file of the video."""
