"""Routes of the pictures of videos."""

from dataclasses import asdict

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response

from longview.app import schemas
from longview.app.service import Longview
from longview.ui.routes.common import DATA_POLICY, PREFIX, VideoId, conditional, require_entry

MAX_AGE_S = 3600
"""Time for which a browser keeps a picture, in seconds. A video of another content has another id."""
HEADERS = {"Cache-Control": f"private, max-age={MAX_AGE_S}", "Content-Security-Policy": DATA_POLICY}
"""Headers of each picture."""


def pictures_router(app: Longview) -> APIRouter:
    """Make the routes of one library."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/videos/{video_id}/poster.jpg")
    def poster(video_id: VideoId) -> FileResponse:
        """Send the poster of a video, which is not black if it has other pictures."""
        path = app.pictures.poster(require_entry(app, video_id))
        if path is None:
            raise HTTPException(404, "This file has sound only, and no picture.")
        return FileResponse(path, media_type="image/jpeg", headers=HEADERS)

    @router.get("/videos/{video_id}/sprite.json")
    def sprite_facts(request: Request, video_id: VideoId) -> Response:
        """Say what is where in the image of the small pictures."""
        entry = require_entry(app, video_id)
        _, sprite = app.pictures.sprite(entry)
        return conditional(request, schemas.SpriteDocument(video_id=entry.video_id, **asdict(sprite)))

    @router.get("/videos/{video_id}/sprite.jpg")
    def sprite(video_id: VideoId) -> FileResponse:
        """Send small pictures over the whole video in one image."""
        path, _ = app.pictures.sprite(require_entry(app, video_id))
        return FileResponse(path, media_type="image/jpeg", headers=HEADERS)

    return router
