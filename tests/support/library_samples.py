"""Library entries, tracks, events and an embedder for tests."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longview.core.timeline import Box, Event, Segment, Span, Word
from longview.indexing.records.track import Provenance, Track, TrackStatus, video_id_of
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.indexing.text.terms import query_terms
from longview.video.probing.content_hash import content_hash

PROVENANCE = Provenance("demo@1", "1", {"patch_period_s": 1.0})


def sample_entry(video_id: str, title: str = "a video") -> VideoEntry:
    """Return an entry of 100 seconds without tracks."""
    return VideoEntry(
        video_id=video_id,
        content_hash=video_id.ljust(40, "0"),
        path=Path("/videos") / f"{video_id}.mp4",
        title=title,
        duration_s=100.0,
        facts={"codec": "h264", "width": 640, "height": 360},
    )


def sample_track(source: str, status: TrackStatus = "complete", *, done_s: float = 100.0, **fields: object) -> Track:
    """Return a track of all of a sample entry."""
    return replace(Track(source, status, Span(0, 100), done_s, PROVENANCE), **fields)  # type: ignore[arg-type]


def sample_events(*texts: str) -> list[Event]:
    """Return events of half a second, one per second, with these texts."""
    return [Event(Span(number, number + 0.5), text) for number, text in enumerate(texts)]


def as_captions(events: Iterable[Event]) -> Iterator[Segment]:
    """Yield events as segments of captions."""
    return (Segment(event.span, event.text, "captions") for event in events)


def put_captions(library: Library, entry: VideoEntry, events: Iterable[Event]) -> VideoEntry:
    """Write a video and its captions, of which those after 90 seconds are incomplete; return it as the library has it."""
    found = tuple(events)
    library.put(replace(entry, duration_s=max([entry.duration_s, *(event.span.end_s for event in found)])))
    track = sample_track("captions", uncovered=(Span(90, 100),))
    library.put_captions(entry.video_id, track, as_captions(found), summary=entry.summary, chapters=entry.chapters)
    return library.video(entry.video_id)


def put_file(library: Library, path: Path, title: str) -> VideoEntry:
    """Write a real file that browsers play with a caption; return it as the library has it."""
    digest = content_hash(path)
    entry = sample_entry(video_id_of(digest), title)
    facts = entry.facts | {"size_bytes": path.stat().st_size, "browser_plays": True}
    return put_captions(library, replace(entry, content_hash=digest, path=path, facts=facts), sample_events("a red circle"))


def spoken(start_s: float, text: str, *, language: str = "en", word_s: float = 0.5) -> Segment:
    """Return a spoken segment whose words take half a second each."""
    words = [
        Word(Span(start_s + number * word_s, start_s + (number + 1) * word_s), word, 0.9)
        for number, word in enumerate(text.split())
    ]
    return Segment(Span(start_s, words[-1].span.end_s), text, "speech", language, 0.9, tuple(words))


def put_speech(library: Library, entry: VideoEntry, segments: Sequence[Segment]) -> VideoEntry:
    """Write a video and its speech; return it as the library has it."""
    library.put(entry)
    library.tracks.begin(entry.video_id, sample_track("speech", "incomplete", done_s=0.0))
    library.tracks.append(entry.video_id, sample_track("speech", language="en"), segments, after_s=0.0)
    return library.video(entry.video_id)


def caption_texts(library: Library, video_id: str) -> list[str]:
    """Return the texts of a video's captions in order of time."""
    return [item.segment.text for item in library.tracks.segments(video_id, "captions")]


def matching_texts(library: Library, query: str, *, limit: int = 100, require_all: bool = False) -> list[str]:
    """Return the texts of the passages that have a term of a query, or all of its terms."""
    scores = library.tracks.match_terms(query_terms(query), limit=limit, require_all=require_all)
    return [passage.text for passage in library.tracks.passages_by_id(list(scores)).values()]


class WordBags:
    """A small embedder: a text is the sum of its words' directions. It counts the texts that it embeds."""

    def __init__(self, name: str = "word-bags", dimensions: int = 128) -> None:
        self.name, self.dimensions = name, dimensions
        self.embedded_count = 0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded_count += len(texts)
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                # The seed includes the dimensions, so that embedders of two sizes disagree.
                row += np.random.default_rng(zlib.crc32(word.encode()) + self.dimensions).normal(size=self.dimensions)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def shown(start_s: float, end_s: float, text: str, *, top: float = 0.1, language: str | None = None) -> Segment:
    """Return a line of text on screen."""
    return Segment(Span(start_s, end_s), text, "screen_text", language, 0.95, box=Box(0.1, top, 0.9, top + 0.08))
