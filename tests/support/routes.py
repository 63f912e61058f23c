"""Videos of a library by number, and documents of the routes over it."""

from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient

from longview.indexing.records.job import QueuedJob
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import put_captions, sample_entry, sample_events


def video_id(number: int) -> str:
    """Return the id of a video."""
    return f"{number:012x}"


def put(library: Library, number: int, title: str) -> VideoEntry:
    """Write a video with a caption."""
    return put_captions(library, sample_entry(video_id(number), title), sample_events("a red circle"))


def add_job(library: Library, number: int, *sources: str, settings: Mapping[str, Any] | None = None) -> QueuedJob:
    """Add a job of a video that is in the library. `sources`: the only ones that it is to find."""
    entry = sample_entry(video_id(number))
    options = {"sources": list(sources)} if sources else {}
    values: dict[str, Any] = {"options": options, "settings": settings or {}, "priority": 0, "content_hash": entry.content_hash}
    return library.queue.add(entry.path, title=f"job of {number}", **values)


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    """Return the document of an address."""
    reply = client.get(f"/v1/{path}", params=parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def titles(page: Any) -> list[str]:
    """Return the titles of a page of videos."""
    return [video["title"] for video in page["videos"]]
