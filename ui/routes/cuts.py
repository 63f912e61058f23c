"""Routes of cuts: a part of a video is written to a file of its own, which is then downloaded."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import Field

from longview.app import schemas
from longview.app.files.download_names import content_disposition
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui.routes.common import DATA_POLICY, MAX_PARAMETER_CHARS, PREFIX, RequestBody, VideoId, require_entry

CutId = Annotated[str, Path(max_length=MAX_PARAMETER_CHARS)]
HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": DATA_POLICY}


class NewCut(RequestBody):
    """A part of a video that is to be a file."""

    start_s: float = Field(allow_inf_nan=False)
    end_s: float = Field(allow_inf_nan=False)
    exact: bool = False
    """Whether it begins and ends exactly there, and is encoded again; a copy begins at a key frame."""


def cuts_router(app: Longview, workers: Workers) -> APIRouter:
    """Make the routes over one library."""
    router = APIRouter(prefix=f"{PREFIX}/videos/{{video_id}}/cuts")
    cuts = workers.cuts

    @router.post("")
    def begin(video_id: VideoId, new: NewCut) -> Response:
        """Begin to write a part of a video to a file."""
        cut = cuts.begin(require_entry(app, video_id), new.start_s, new.end_s, is_exact=new.exact)
        return JSONResponse(schemas.RequestedCutDocument.of(cut).model_dump(), 202, headers=HEADERS)

    @router.get("")
    def listing(video_id: VideoId) -> Response:
        """List the cuts of a video."""
        entry = require_entry(app, video_id)
        documents = [schemas.RequestedCutDocument.of(cut) for cut in cuts.of_video(entry.video_id)]
        document = schemas.CutsDocument(video_id=entry.video_id, cuts=documents)
        return JSONResponse(document.model_dump(), headers=HEADERS)

    @router.get("/{cut_id}")
    def show(video_id: VideoId, cut_id: CutId) -> Response:
        """State how far a cut is."""
        cut = cuts.cut(require_entry(app, video_id).video_id, cut_id)
        return JSONResponse(schemas.RequestedCutDocument.of(cut).model_dump(), headers=HEADERS)

    @router.get("/{cut_id}/file")
    def file(video_id: VideoId, cut_id: CutId) -> FileResponse:
        """Send the file of a cut as a download with the title and the times of the part as its name."""
        cut = cuts.cut(require_entry(app, video_id).video_id, cut_id)
        if cut.result is None or not cut.result.path.is_file():
            raise HTTPException(404, "The file of this cut is not ready.")
        headers = HEADERS | {"Content-Disposition": content_disposition(cut.name)}
        return FileResponse(cut.result.path, media_type="application/octet-stream", headers=headers)

    @router.delete("/{cut_id}")
    def remove(video_id: VideoId, cut_id: CutId) -> Response:
        """Cancel a cut, and delete its file."""
        cuts.remove(require_entry(app, video_id).video_id, cut_id)
        return Response(status_code=204)

    return router
