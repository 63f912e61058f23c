"""Routes of the pictures of videos."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from longview.app.service import Longview
from longview.ui.routes.common import DATA_POLICY, PREFIX, VideoId, require_entry

MAX_AGE_S = 3600
"""Time for which a browser keeps a picture, in seconds. A video of another content has another id."""


def pictures_router(app: Longview) -> APIRouter:
    """Make the routes of one library."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/videos/{video_id}/poster.jpg")
    def poster(video_id: VideoId) -> FileResponse:
        """Send a picture that stands for a video: not a black one, if it has others."""
        path = app.poster(require_entry(app, video_id))
        if path is None:
            raise HTTPException(404, "This file has sound only, and no picture.")
        headers = {"Cache-Control": f"private, max-age={MAX_AGE_S}", "Content-Security-Policy": DATA_POLICY}
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    return router
