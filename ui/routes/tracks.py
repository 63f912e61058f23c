"""Routes of what was found in a video: segments by time, and chapters."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from longview.app import schemas
from longview.app.service import Longview
from longview.core.timeline import Span
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

    return router


def _segments_of(app: Longview, entry: VideoEntry, parameters: SegmentParameters) -> schemas.TranscriptDocument:
    within = Span(parameters.from_s, max(parameters.from_s, parameters.to_s))
    found = app.segments(entry, parameters.source or None, language=parameters.language or None, within=within)
    page = found[parameters.offset : parameters.offset + parameters.limit]
    end = parameters.offset + len(page)
    return schemas.TranscriptDocument(
        video_id=entry.video_id,
        duration_s=entry.duration_s,
        segments=[schemas.SegmentOut.of_segment(segment) for segment in page],
        tracks=[schemas.TrackOut.of(track) for track in entry.tracks],
        next_offset=end if end < len(found) else None,
    )
