"""Routes of the videos: pages of the library, one video, and their changes."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from longview.app import schemas
from longview.app.errors import EXPECTED_ERRORS, BadRequest
from longview.app.jobs.source_states import jobs_by_content, unfinished_by_content
from longview.app.service import Longview
from longview.app.serving.sample_questions import sample_questions
from longview.app.serving.workers import Workers
from longview.indexing.records.listing import ListingQuery, ListState, SortKey
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.common import (
    PREFIX,
    RequestBody,
    TextParameter,
    VideoId,
    checked_options,
    conditional,
    is_id,
    require_entry,
)

MAX_PAGE, DEFAULT_PAGE = 200, 60
"""Maximum number of videos on a page, and the number of them if none is asked for."""
MAX_BULK = 1000
"""Maximum number of videos that one request changes."""


class VideoChange(RequestBody):
    """What is changed of a video."""

    title: str | None = None
    """Its length is limited where it is checked, which refuses a longer one with the reason."""
    position_s: float | None = Field(None, ge=0.0, allow_inf_nan=False)
    """Time at which somebody stopped watching, in seconds; 0 after its end, so that it begins anew."""


class BulkChange(RequestBody):
    """What is done with several videos."""

    action: Literal["remove", "undo-removal", "index", "cancel", "pause", "resume"]
    """`cancel`, `pause` and `resume` are of the jobs of the videos."""
    video_ids: list[Annotated[str, Field(max_length=64)]] = Field(max_length=MAX_BULK)
    options: schemas.RunOptions | None = None
    """Options of the action `index`; null: all sources that apply."""


class ListParameters(RequestBody):
    """Which videos are listed."""

    query: TextParameter = ""
    state: ListState | None = None
    source: TextParameter = ""
    missing: bool = False
    """Whether only those are listed whose files are not where they were."""
    sort: SortKey = "added"
    descending: bool = False
    cursor: str = Field("", max_length=4000)
    limit: int = Field(DEFAULT_PAGE, ge=1, le=MAX_PAGE)


def videos_router(app: Longview, workers: Workers) -> APIRouter:
    """Make the routes over one library."""
    router = APIRouter(prefix=PREFIX)

    def documents(entries: Sequence[VideoEntry]) -> list[schemas.VideoOut]:
        jobs, captions_footage = jobs_by_content(workers.jobs()), app.captions_footage
        return [
            schemas.VideoOut.of(
                entry,
                is_outdated=app.is_outdated(entry),
                sizes=None,
                captions_footage=captions_footage,
                job=jobs.get(entry.content_hash),
                example_questions=sample_questions(app, entry),
            )
            for entry in entries
        ]

    def document(entry: VideoEntry) -> schemas.VideoOut:
        return documents([entry])[0]

    @router.get("/videos")
    def videos(request: Request, parameters: Annotated[ListParameters, Query()]) -> Response:
        query = ListingQuery(
            text=parameters.query,
            state=parameters.state,
            source=parameters.source,
            video_ids=app.missing_ids() if parameters.missing else None,
            sort=parameters.sort,
            is_descending=parameters.descending,
        )
        listing = app.listing(query, parameters.cursor, limit=parameters.limit)
        rows = documents(listing.entries)
        return conditional(request, schemas.ListDocument(videos=rows, total=listing.total, next_cursor=listing.next_cursor))

    @router.get("/videos/{video_id}")
    def video(request: Request, video_id: VideoId) -> Response:
        return conditional(request, document(require_entry(app, video_id)))

    @router.patch("/videos/{video_id}")
    def change(request: Request, video_id: VideoId, change: VideoChange) -> Response:
        """Rename a video, or store where somebody stopped watching."""
        entry = require_entry(app, video_id)
        if change.title is not None:
            entry = app.rename(entry, change.title)
        if change.position_s is not None:
            app.set_position(entry, change.position_s)
            entry = require_entry(app, video_id)
        return conditional(request, document(entry))

    @router.delete("/videos/{video_id}")
    def remove(request: Request, video_id: VideoId) -> Response:
        """Remove a video from the library; its file stays."""
        return conditional(request, schemas.RemoveDocument.of(app.remove(require_entry(app, video_id))))

    @router.post("/videos/{video_id}/undo-removal")
    def undo_removal(request: Request, video_id: VideoId) -> Response:
        """Bring back a video that was removed in the last day."""
        return conditional(request, document(app.removals.undo_of(_whole_id(video_id))))

    @router.post("/videos/bulk")
    def bulk(request: Request, change: BulkChange) -> Response:
        """Change several videos. One that cannot be changed prevents no other."""
        if change.options is not None and (change.action != "index" or change.options.title is not None):
            raise BadRequest("Only the action “index” has options, and several videos cannot have one title.")
        options = checked_options(change.options or schemas.RunOptions())
        results = []
        jobs = unfinished_by_content(workers.jobs())
        for video_id in dict.fromkeys(change.video_ids):
            job, error = None, None
            try:
                if change.action == "undo-removal":
                    app.removals.undo_of(_whole_id(video_id))
                elif change.action == "remove":
                    app.remove(app.video_with_id(_whole_id(video_id)))
                elif change.action == "index":
                    entry = app.video_with_id(_whole_id(video_id))
                    workers.check_part(entry.path, options)
                    job = workers.add(entry.path, options, title=entry.title)
                else:
                    entry = app.video_with_id(_whole_id(video_id))
                    job = workers.change_all(entry, jobs.get(entry.content_hash, ()), change.action)
            except EXPECTED_ERRORS as problem:
                error = str(problem)
            results.append(schemas.BulkResultOut(video_id=video_id, error=error, job_id=job.job_id if job else None))
        return conditional(request, schemas.BulkDocument(results=results))

    return router


def _whole_id(video_id: str) -> str:
    """Return an id, or one that no video has: the beginning of an id would be guessed digit by digit."""
    return video_id if is_id(video_id) else "-"
