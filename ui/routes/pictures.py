"""Routes of the pictures of videos, and of the waveforms of their sound."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response

from longview.app import schemas
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.common import DATA_POLICY, PREFIX, VideoId, conditional, require_entry

MAX_AGE_S = 3600
"""Time for which a browser keeps a picture, in seconds. A video of another content has another id."""
HEADERS = {"Cache-Control": f"private, max-age={MAX_AGE_S}", "Content-Security-Policy": DATA_POLICY}
"""Headers of each picture."""


def pictures_router(app: Longview, workers: Workers) -> APIRouter:
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

    @router.get("/videos/{video_id}/waveform.json")
    def waveform_facts(request: Request, video_id: VideoId, again: Annotated[bool, Query()] = False) -> Response:
        """Say what is in the waveform of a video, and begin it if there is none.

        `again`: whether one that has failed or was cancelled is begun again.
        """
        return conditional(request, _waveform_facts(app, workers, require_entry(app, video_id), again=again))

    @router.get("/videos/{video_id}/waveform.bin")
    def waveform(video_id: VideoId) -> FileResponse:
        """Send the peaks of the waveform of a video, a byte each; see `longview.video.waveform.waveform` for their scale."""
        path = app.pictures.waveform(require_entry(app, video_id))
        if path is None:
            raise HTTPException(404, "The waveform is not ready yet.")
        return FileResponse(path, media_type="application/octet-stream", headers=HEADERS)

    @router.delete("/videos/{video_id}/waveform")
    def cancel_waveform(video_id: VideoId) -> Response:
        """Cancel the waveform of a video, if it is being made."""
        workers.waveforms.cancel(require_entry(app, video_id).video_id)
        return Response(status_code=204)

    return router


def _waveform_facts(app: Longview, workers: Workers, entry: VideoEntry, *, again: bool) -> schemas.WaveformDocument:
    from longview.video.waveform import PEAKS_PER_S, peak_count

    facts = schemas.WaveformDocument(
        video_id=entry.video_id,
        peaks_per_s=PEAKS_PER_S,
        count=peak_count(entry.duration_s),
        duration_s=entry.duration_s,
        state="ready",
        fraction=1.0,
        reason=None,
    )
    if entry.facts.get("has_audio") is False:
        return facts.model_copy(update={"state": "none", "count": 0})
    path = app.pictures.waveform(entry)
    if path is None:
        made = workers.waveforms.prepare(entry, again=again)
        if made.status == "failed":
            return facts.model_copy(update={"state": "failed", "fraction": round(made.fraction, 3), "reason": made.reason})
        # It may have ended since.
        path = app.pictures.waveform(entry)
        if path is None:
            return facts.model_copy(update={"state": "running", "fraction": round(made.fraction, 3)})
    return facts.model_copy(update={"count": path.stat().st_size})
