"""A library with an upload, for tests of back-ups."""

from pathlib import Path

from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from longview.video.probing.content_hash import content_hash
from tests.support.library_samples import caption_texts, put_captions, sample_entry, sample_events


def add_video(library: Library, path: Path, content: bytes, *texts: str) -> VideoEntry:
    """Write a file, and add it to a library with these captions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = content_hash(path)
    facts = sample_entry("").facts | {"size_bytes": len(content)}
    return put_captions(library, VideoEntry(digest[:12], digest, path, path.stem, 100.0, facts), sample_events(*texts))


def contents(library: Library) -> list[tuple[str, str, list[str]]]:
    """Return what a library has, without where its files are."""
    return sorted((entry.video_id, entry.title, caption_texts(library, entry.video_id)) for entry in library.videos())
