"""Routes of what was found in a video: segments by time, chapters, and the versions of its tracks."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.service import Longview
from longview.core.sources import source_label
from longview.core.timeline import Span
from longview.indexing.records.track import SegmentQuery
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.common import PREFIX, RequestBody, TextParameter, VideoId, conditional_on, is_id, require_entry

MAX_PAGE = 5000
"""Maximum number of segments in a reply."""
MAX_TIME_S = 365 * 24 * 3600.0
"""Maximum time of a parameter, in seconds: a year, which no video lasts."""


class SegmentParameters(RequestBody):
    """Which segments of a video are listed."""

    source: TextParameter = ""
    language: TextParameter = ""
    from_s: float = Field(0.0, ge=0.0, le=MAX_TIME_S, allow_inf_nan=False)
    to_s: float = Field(MAX_TIME_S, ge=0.0, le=MAX_TIME_S, allow_inf_nan=False)
    """The part of the video that the segments overlap, in seconds."""
    version: int | None = Field(None, ge=0, lt=1 << 63)
    """Number of a version of a track, as `versions` lists it; null: the current tracks."""
    words: bool = True
    """Whether the times of the words are in the reply, which are most of that of a long video."""
    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)


def tracks_router(app: Longview) -> APIRouter:
    """Make the routes of one library."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/videos/{video_id}/segments")
    def segments(request: Request, video_id: VideoId, parameters: Annotated[SegmentParameters, Query()]) -> Response:
        # The revision is read first: of a document that is newer, no client is told that it has it.
        revision = app.changes.of_video(video_id) if is_id(video_id) else None
        entry = require_entry(app, video_id)
        return conditional_on(request, revision, lambda: _segments_of(app, entry, parameters))

    @router.get("/videos/{video_id}/chapters")
    def chapters(request: Request, video_id: VideoId) -> Response:
        revision = app.changes.of_video(video_id) if is_id(video_id) else None
        entry = require_entry(app, video_id)
        return conditional_on(request, revision, lambda: schemas.ChaptersDocument.of(entry, app.chapters(entry), notice=None))

    @router.get("/videos/{video_id}/versions")
    def versions(request: Request, video_id: VideoId) -> Response:
        """List the tracks of a video: those that are searched, and earlier ones."""
        revision = app.changes.of_video(video_id) if is_id(video_id) else None
        entry = require_entry(app, video_id)
        return conditional_on(request, revision, lambda: schemas.VersionsDocument.of(entry.video_id, app.versions(entry)))

    return router


def _segments_of(app: Longview, entry: VideoEntry, parameters: SegmentParameters) -> bytes:
    """Return a page of segments as JSON.

    Raises:
        UnknownVersion: there is no such version. BadRequest: it is one of another source.
    """
    version = None if parameters.version is None else app.version(entry, parameters.version)
    if version and parameters.source not in ("", version.track.source):
        raise BadRequest(f"Version {version.number} is one of the {source_label(version.track.source)}.")
    is_part = parameters.from_s > 0 or parameters.to_s < MAX_TIME_S
    within = Span(parameters.from_s, max(parameters.from_s, parameters.to_s)) if is_part else None
    query = SegmentQuery(parameters.source or None, parameters.language or None, within, version, parameters.words)
    page = app.segment_page(entry, query, offset=parameters.offset, limit=parameters.limit)
    return schemas.TranscriptDocument.json_of_page(entry, page, [version.track] if version else entry.tracks)
