"""The web server: the page, and the media, thumbnails and exports that it refers to. On this machine only."""

import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import EXPECTED_ERRORS, PortBusy
from app.jobs import Jobs
from app.service import FORMATS, ExportFormat, Longview
from ui.blocks import ASSETS, THEME, build

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
"""Loopback only: there is no authentication."""
PORTS_TRIED = 50
MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}
EXPORT_TYPES = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "json": "application/json",
    "csv": "text/csv",
    "txt": "text/plain",
}


class SameSiteWrites:
    """Refuses requests that change something when a page of another site sends them: browsers name that site."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin and urlsplit(origin).netloc != headers.get("host"):
                await PlainTextResponse("Requests from other sites are refused.", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create(app: Longview) -> FastAPI:
    """The web application over one library."""
    # Uploads pass through the library's own disk, so that they need not be copied from another one.
    os.environ["GRADIO_TEMP_DIR"] = str(app.library.folder / "cache")
    web = FastAPI(title="Longview", docs_url=None, redoc_url=None)
    # A page of another site cannot reach this server under that site's name (DNS rebinding).
    web.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    web.add_middleware(SameSiteWrites)

    @web.get("/media/{video_id}")
    def media(video_id: str) -> FileResponse:
        path = _found(lambda: app.files.ready_to_play(app.library.video(video_id)))
        if path is None:
            raise HTTPException(404, "A copy that browsers can play is still being made.")
        return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream"))

    @web.get("/thumbnail/{video_id}/{time_ms}.jpg")
    def thumbnail(video_id: str, time_ms: int) -> FileResponse:
        return FileResponse(_found(lambda: app.files.thumbnail(video_id, time_ms / 1000)), media_type="image/jpeg")

    @web.get("/export/{video_id}.{format}")
    def export(video_id: str, format: str) -> Response:
        if format not in FORMATS:
            raise HTTPException(404, f"There is no format {format}.")
        entry = _found(lambda: app.library.video(video_id))
        chosen: ExportFormat = format
        headers = {"Content-Disposition": f'attachment; filename="{entry.video_id}.{format}"'}
        return PlainTextResponse(app.export(entry, chosen), media_type=EXPORT_TYPES[format], headers=headers)

    return gr.mount_gradio_app(
        web,
        build(app, Jobs(app)),
        path="/",
        theme=THEME,
        css_paths=ASSETS / "style.css",
        head=f"<script>{(ASSETS / 'player.js').read_text(encoding='utf-8')}</script>",
        max_file_size=app.settings.max_upload_bytes,
        footer_links=[],
        ssr_mode=False,
        show_error=True,
    )


def serve(app: Longview, port: int | None) -> None:
    """Serve until interrupted. Without an explicit port, a busy one gives way to the next free one.

    Raises:
        PortBusy: the explicit port is taken; the message names the next free one.
    """
    wanted = port or app.settings.port
    free = next_free_port(wanted)
    if free != wanted:
        if port is not None:
            raise PortBusy(f"Port {wanted} is in use; the next free one is {free}: serve --port {free}")
        print(f"Port {wanted} is in use; taking {free}, the next free one.", file=sys.stderr)
    web = create(app)
    threading.Thread(target=_warm_up, args=(app,), daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(web, host=HOST, port=free, log_level="warning", timeout_graceful_shutdown=3))
    if app.checkpoint.notice:
        print(app.checkpoint.notice, file=sys.stderr)
    print(f"Longview is open at http://{HOST}:{free}", flush=True)
    server.run()


def next_free_port(first: int) -> int:
    """The first port from `first` on where nothing listens.

    Raises:
        PortBusy: none of the next `PORTS_TRIED` is free.
    """
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            return port
    raise PortBusy(f"Ports {first} to {first + PORTS_TRIED - 1} are all in use; choose one with --port.")


def _warm_up(app: Longview) -> None:
    try:
        app.warm_up()
    except EXPECTED_ERRORS as error:
        log.warning("%s", error)


T = TypeVar("T")


def _found(work: Callable[[], T]) -> T:
    try:
        return work()
    except EXPECTED_ERRORS as error:
        raise HTTPException(404, str(error)) from error
