"""The route that says what a browser can play of a video. The file itself has a route of `ui/server.py`."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from longview.app import schemas
from longview.app.errors import EXPECTED_ERRORS
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.common import PREFIX, VideoId, conditional, require_entry


def media_router(app: Longview, workers: Workers) -> APIRouter:
    """Make the route of one library."""
    router = APIRouter(prefix=PREFIX)

    def state(entry: VideoEntry) -> schemas.MediaDocument:
        """Return what a browser can play; begin to make a copy that it plays, if it needs one."""
        document = schemas.MediaDocument(video_id=entry.video_id, state="ready", has_pictures=entry.has_frames)
        try:
            if app.browser_copy(entry) is None:
                copy = workers.prepare_for_browser(entry)
                document.state, document.reason = ("unavailable", copy.reason) if copy.status == "failed" else ("preparing", "")
        except EXPECTED_ERRORS as error:
            document.state, document.reason = "unavailable", str(error)
        return document

    @router.get("/videos/{video_id}/media")
    def media(request: Request, video_id: VideoId) -> Response:
        return conditional(request, state(require_entry(app, video_id)))

    return router
