"""The web server: the page, and the media, thumbnails and exports that it refers to. It listens on this machine only."""

import os
import warnings
from dataclasses import replace
from typing import Annotated

import gradio as gr
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from longview.app.errors import EXPECTED_ERRORS
from longview.app.files.download_names import content_disposition, export_name
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.indexing.exports import FORMATS
from longview.ui.access import HOST, OwnSiteOnly
from longview.ui.inputs import CheckedInputs
from longview.ui.page import THEME, build
from longview.ui.page_head import ASSETS, ASSETS_ROUTE, Assets, PageHead
from longview.ui.request_pace import RequestPace
from longview.ui.routes.common import MAX_PARAMETER_CHARS, VideoId, require_entry
from longview.ui.routes.cuts import cuts_router
from longview.ui.routes.estimates import estimates_router
from longview.ui.routes.events import events_router
from longview.ui.routes.jobs import jobs_router
from longview.ui.routes.media import media_router
from longview.ui.routes.pictures import pictures_router
from longview.ui.routes.subtitles import SUBTITLES_ROUTE, subtitles_router
from longview.ui.routes.tracks import tracks_router
from longview.ui.routes.uploads import upload_routes
from longview.ui.routes.videos import videos_router
from longview.ui.uploads import UPLOAD_ROUTE, UploadRoute
from longview.ui.watch_address import WatchAddress

MAX_TIME_MS = 1000 * 3600 * 24 * 365
"""Maximum time of a thumbnail, in milliseconds: a year, which no video lasts."""
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}


COMPLETE = {"en": "Complete", "de": "Fertig", "fr": "Terminé", "es": "Completado", "ko": "완료", "ja": "完了", "zh-CN": "完成"}
"""What Gradio says to screen readers when a request has ended, by language; it has no text of its own for it, and would show the
name of the text. Other languages get the English one."""
TimeMs = Annotated[int, Path(ge=0, le=MAX_TIME_MS)]
Parameter = Annotated[str, Query(max_length=MAX_PARAMETER_CHARS)]
OptionalParameter = Annotated[str | None, Query(max_length=MAX_PARAMETER_CHARS)]


def create(app: Longview, workers: Workers) -> ASGIApp:
    """Create the web application over one library and its jobs."""
    # What Gradio writes is on the disk of the library, unless it cannot be written.
    if os.access(app.folder, os.W_OK):
        os.environ["GRADIO_TEMP_DIR"] = str(workers.uploads.folder)
    page = build(app, workers)
    web = FastAPI(title="Longview", docs_url=None, redoc_url=None, openapi_url=None)
    web.post(UPLOAD_ROUTE, response_model=None)(UploadRoute(workers.uploads, page.upload_file_set).__call__)

    @web.exception_handler(RequestValidationError)
    def refuse(_request: Request, error: RequestValidationError) -> JSONResponse:
        """Refuse an address with a value of another form, in one sentence, as all other errors."""
        names = ", ".join(dict.fromkeys(str(problem["loc"][-1]).replace("_", " ") for problem in error.errors()))
        return JSONResponse({"detail": f"The address has a value that cannot be used here: {names}."}, 422)

    def state_problem(_request: Request, error: Exception) -> JSONResponse:
        """Answer with the sentence and the status of an expected error."""
        document = {"detail": str(error), "code": getattr(error, "code", "error")}
        return JSONResponse(document, getattr(error, "http_status", 500))

    for error_class in EXPECTED_ERRORS:
        web.add_exception_handler(error_class, state_problem)

    @web.get("/media/{video_id}")
    def media(video_id: VideoId) -> FileResponse:
        path = app.browser_copy(require_entry(app, video_id))
        if path is None:
            raise HTTPException(404, "The browser-compatible copy is not ready yet.")
        # Its use changes the time of the browser copy, but a player must not take it for another file.
        status = path.stat()
        headers = {"ETag": f'"{status.st_ino:x}-{status.st_size:x}"'} if path.is_relative_to(app.folder) else None
        return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream"), headers=headers)

    @web.get("/thumbnail/{video_id}/{time_ms}.jpg")
    def thumbnail(video_id: VideoId, time_ms: TimeMs) -> FileResponse:
        path = app.pictures.thumbnail(require_entry(app, video_id).video_id, time_ms / 1000)
        return FileResponse(path, media_type="image/jpeg")

    @web.get("/export/{video_id}.{format}")
    def export(
        video_id: VideoId,
        format: str,
        source: Parameter = "captions",
        language: OptionalParameter = None,
        version: int | None = None,
    ) -> Response:
        entry = require_entry(app, video_id)
        if version is None:
            sources = source.split(",")
            # Sources that do not exist are refused here, before they become part of a header.
            text = app.export(entry, format, sources, language=language)
            name = export_name(entry, sources, format, language=language)
        else:
            track_version = app.version(entry, version)
            text = app.export_version(entry, format, track_version, language=language)
            entry = replace(entry, tracks=(track_version.track,))
            name = export_name(entry, [track_version.track.source], format, language=language, version=version)
        headers = {"Content-Disposition": content_disposition(name)}
        return PlainTextResponse(text, media_type=FORMATS[format].media_type, headers=headers)

    routers = (
        videos_router(app, workers),
        media_router(app, workers),
        pictures_router(app, workers),
        tracks_router(app),
        cuts_router(app, workers),
        subtitles_router(app),
        jobs_router(workers),
        estimates_router(app),
        events_router(app, workers, RequestPace(page)),
        upload_routes(app, workers),
    )
    for router in routers:
        web.include_router(router)
    web.mount(ASSETS_ROUTE, Assets())

    own_routes = [*web.routes, *(route for router in routers for route in router.routes)]
    own_paths = [route.path_regex for route in own_routes if isinstance(route, Route | Mount)]
    upload_paths = [route.path_regex for route in own_routes if isinstance(route, Route) and route.path == SUBTITLES_ROUTE]
    web.add_middleware(PageHead)
    web.add_middleware(WatchAddress, library=app)
    web.add_middleware(CheckedInputs, page=page, own_paths=own_paths, upload_paths=upload_paths)
    # This prevents DNS rebinding: the page of another site cannot reach this server under that site's name.
    web.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    with warnings.catch_warnings():
        # It says that Gradio does without what is switched off here.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        gr.mount_gradio_app(
            web,
            page,
            path="/",
            theme=THEME,
            css_paths=ASSETS / "style.css",
            max_file_size=app.settings.max_upload_bytes,
            footer_links=[],
            i18n=gr.I18n(**{language: {"common.complete": text} for language, text in COMPLETE.items()}),
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            show_error=True,
        )
    # Outside of everything else, so that errors have its headers, too.
    return OwnSiteOnly(web)
