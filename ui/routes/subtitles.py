"""Routes of the subtitle files that users add to a video."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.files.file_names import MAX_NAME_BYTES, require_sent_name, write_errors
from longview.app.ingest.subtitle_import import MAX_FILE_BYTES
from longview.app.service import Longview
from longview.indexing.records.video import VideoEntry
from longview.ui.routes.common import (
    DATA_POLICY,
    PREFIX,
    TextParameter,
    VideoId,
    body_pieces,
    require_entry,
    unless_gone,
)
from longview.video.errors import UnreadableSubtitles

SUBTITLES_ROUTE = f"{PREFIX}/videos/{{video_id}}/subtitles"
HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": DATA_POLICY}
FileName = Annotated[str, Query(max_length=MAX_NAME_BYTES)]
Offset = Annotated[float, Query(allow_inf_nan=False)]


def subtitles_router(app: Longview) -> APIRouter:
    """Make the routes over one library."""
    router = APIRouter()

    @router.post(SUBTITLES_ROUTE)
    async def add(
        video_id: VideoId, request: Request, name: FileName, language: TextParameter = "", offset_s: Offset = 0.0
    ) -> Response:
        """Add the file that is the body of the request: subtitles with times, or a transcript without."""
        require_sent_name(name)
        entry = await run_in_threadpool(require_entry, app, video_id)

        def store(content: bytes) -> schemas.SubtitlesDocument:
            with TemporaryDirectory(prefix="longview-subtitles-") as folder:
                path = Path(folder, name)
                with write_errors(path):
                    path.write_bytes(content)
                try:
                    result = app.subtitles.add(entry, path, language=language or None, offset_s=offset_s)
                except (BadRequest, UnreadableSubtitles) as error:
                    # The client knows the file by its name, and not by its place on the server.
                    raise type(error)(str(error).replace(str(path), name)) from error
            return schemas.SubtitlesDocument.of(entry.video_id, name, result)

        async def respond() -> Response:
            content = b"".join([piece async for piece in body_pieces(request, MAX_FILE_BYTES)])
            document = await run_in_threadpool(store, content)
            return JSONResponse(document.model_dump(), 201, headers=HEADERS)

        return await unless_gone(respond)

    @router.get(SUBTITLES_ROUTE)
    def show(video_id: VideoId) -> Response:
        """State what the subtitles of a video are from."""
        return names(require_entry(app, video_id))

    @router.delete(SUBTITLES_ROUTE)
    def remove(video_id: VideoId, name: FileName) -> Response:
        """Remove the subtitles of one name, and state the others."""
        entry = require_entry(app, video_id)
        app.subtitles.remove(entry, name)
        return names(entry)

    def names(entry: VideoEntry) -> Response:
        document = schemas.SubtitleFilesDocument(video_id=entry.video_id, names=list(app.subtitles.names(entry)))
        return JSONResponse(document.model_dump(), headers=HEADERS)

    return router
