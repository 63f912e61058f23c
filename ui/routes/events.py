"""The event stream of the server: what has changed in the library, the queue and the conversations, for all open pages."""

import asyncio
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from longview.app.schemas.jobs import JobOut, PreparationOut
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.errors import LibraryUnusable
from longview.indexing.records.changes import Revision
from longview.indexing.records.job import QueuedJob
from longview.ui.request_pace import RequestPace
from longview.ui.routes.common import DATA_POLICY, MAX_PARAMETER_CHARS, PREFIX

POLL_S = 0.4
"""Interval at which the changes are looked for while a page is open, in seconds."""
LIBRARY_POLL_S = 0.75
"""Minimum time between two readings of what has changed in the library, in seconds: a job that commits often makes pages read no
more often."""
PING_S = 15.0
"""Interval at which an idle stream shows that it is alive, in seconds: proxies and browsers end a silent connection."""
MAX_KEPT = 2000
"""Maximum number of events that are kept for pages that connect again."""
REPLAYED_S = 5.0
"""Age up to which a new page gets earlier events, in seconds: it may have read what they change before it was connected."""
ENDING = {"done", "failed", "cancelled"}


@dataclass(frozen=True)
class FeedEvent:
    """An event of the stream."""

    number: int
    name: str
    data: dict[str, Any]
    created_s: float


class EventFeed:
    """Finds what has changed, once for all pages, while a page is open. Safe for several threads."""

    def __init__(self, app: Longview, workers: Workers) -> None:
        self._app, self._workers = app, workers
        self._lock = threading.Lock()
        self._id = secrets.token_hex(4)
        self._number = 0
        self._events: deque[FeedEvent] = deque(maxlen=MAX_KEPT)
        self._jobs: dict[int, QueuedJob] | None = None
        self._preparations: list[PreparationOut] = []
        self._revision: Revision | None = None
        # What is changed before the first look is news for a page that was loaded before.
        with suppress(LibraryUnusable):
            self._revision = app.changes.revision()
        self._answers = workers.answers.revision
        self._ended = workers.ended_preparations.revision
        self._mark: object = None
        self._reading: int | None = None
        self._read_s = self._polled_s = -LIBRARY_POLL_S

    def event_id(self, number: int) -> str:
        """Return the id of an event: the numbers of another start of the server mean nothing here."""
        return f"{self._id}-{number}"

    def position(self, event_id: str) -> int | None:
        """Return the number of the last event that a page has got; None if later ones are not known."""
        feed, _, number = event_id.partition("-")
        if feed != self._id or not number.isascii() or not number.isdigit() or len(number) > len(str(self._number)):
            return None
        with self._lock:
            oldest = self._events[0].number if self._events else self._number + 1
            return int(number) if oldest - 1 <= int(number) <= self._number else None

    def first_position(self) -> int:
        """Return the number behind which a new page gets events."""
        now_s = time.monotonic()
        with self._lock:
            return min((event.number - 1 for event in self._events if now_s - event.created_s < REPLAYED_S), default=self._number)

    def after(self, number: int) -> list[FeedEvent]:
        """Return the events after one, after a look for new ones."""
        with self._lock:
            if time.monotonic() - self._polled_s >= POLL_S / 2:
                self._polled_s = time.monotonic()
                with suppress(LibraryUnusable):
                    self._look()
            return [event for event in self._events if event.number > number]

    def _look(self) -> None:
        mark, revision = self._app.mark(), self._workers.answers.revision
        shown = self._workers.shown_preparations()
        is_preparing = len(shown) != len(self._preparations) or any(item.reason is None for item in self._preparations)
        ended = self._workers.ended_preparations.revision
        if (mark, revision, ended) == (self._mark, self._answers, self._ended) and not is_preparing and self._jobs is not None:
            # Nothing was written, so nothing is read.
            return
        self._look_at_jobs()
        changed = self._workers.answers.changed_since(self._answers) or set()
        self._answers = revision
        # A copy that browsers play or a waveform is ready, or cannot be made. Some are made faster than anybody looks.
        if ready := self._workers.ended_preparations.since(self._ended):
            self._add("videos", {"ids": sorted(ready)})
        self._ended = ended
        for video_id in sorted(changed):
            self._add("conversation", {"video_id": video_id})
        now_s = time.monotonic()
        if mark == self._mark or now_s - self._read_s < LIBRARY_POLL_S:
            return
        self._read_s = now_s
        self._look_at_library(changed)
        # The queue may have been read before the last write; then it is read again at the next look.
        if self._workers.read_mark == mark:
            self._mark = mark

    def _look_at_jobs(self) -> None:
        reading = self._workers.refresh()
        if reading == self._reading:
            return
        self._reading = reading
        before, jobs = self._jobs, {job.job_id: job for job in self._workers.jobs()}
        self._jobs = jobs
        earlier = self._preparations
        self._preparations = [PreparationOut.of(item) for item in self._workers.shown_preparations()]
        if before is None:
            return
        changed = [job for job in jobs.values() if before.get(job.job_id) != job]
        # Jobs that have ended long ago leave the list; they are not gone.
        gone = [number for number, job in before.items() if number not in jobs and job.status not in ENDING]
        if changed or gone or self._preparations != earlier:
            preparations = [item.model_dump() for item in self._preparations]
            jobs_out = [JobOut.of(job).model_dump() for job in changed]
            self._add("jobs", {"jobs": jobs_out, "gone": gone, "preparations": preparations})

    def _look_at_library(self, notified: set[str]) -> None:
        if self._revision is None:
            self._revision = self._app.changes.revision()
            return
        changes = self._app.changes.since(self._revision)
        if changes is None:
            # A back-up was restored, so that all may be different.
            self._revision = self._app.changes.revision()
            self._add("reset", {})
            return
        self._revision = changes.revision
        for name, ids in (("videos", changes.videos), ("positions", changes.positions - changes.videos)):
            if ids:
                self._add(name, {"ids": sorted(ids)})
        # Other processes ask questions, too.
        for video_id in sorted(changes.conversations - notified):
            self._add("conversation", {"video_id": video_id})

    def _add(self, name: str, data: dict[str, Any]) -> None:
        self._number += 1
        self._events.append(FeedEvent(self._number, name, data, time.monotonic()))


def events_router(app: Longview, workers: Workers, pace: RequestPace) -> APIRouter:
    """Make the route of the event stream."""
    router = APIRouter(prefix=PREFIX)
    feed = EventFeed(app, workers)

    @router.get("/events")
    async def events(
        request: Request, last_event_id: Annotated[str, Query(max_length=MAX_PARAMETER_CHARS)] = ""
    ) -> StreamingResponse:
        """Send what changes, as server-sent events.

        `last_event_id`: id of the last event that the page has got, as the header `Last-Event-ID`, which browsers send when they
        connect again by themselves.
        """
        last_id = request.headers.get("last-event-id", "")[:MAX_PARAMETER_CHARS] or last_event_id

        async def changes() -> AsyncIterator[str]:
            number = await asyncio.to_thread(feed.position, last_id) if last_id else await asyncio.to_thread(feed.first_position)
            # With an id from the beginning, a page learns after another start of the server that it may have missed something.
            name = "connected"
            if number is None:
                number, name = await asyncio.to_thread(feed.first_position), "reset"
            yield f"retry: 1000\nid: {feed.event_id(number)}\nevent: {name}\ndata: {{}}\n\n"
            sent_s = time.monotonic()
            while not workers.is_closed:
                pace.note_page()
                for event in await asyncio.to_thread(feed.after, number):
                    yield f"id: {feed.event_id(event.number)}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n"
                    number, sent_s = event.number, time.monotonic()
                if time.monotonic() - sent_s > PING_S:
                    yield ": alive\n\n"
                    sent_s = time.monotonic()
                await asyncio.sleep(POLL_S)

        headers = {"Cache-Control": "no-store", "Content-Security-Policy": DATA_POLICY}
        return StreamingResponse(changes(), media_type="text/event-stream", headers=headers)

    return router
