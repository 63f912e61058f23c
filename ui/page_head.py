"""The head of Gradio's pages: what browsers must load before Gradio, which adds its own option `head` only at the end."""

import hashlib
from pathlib import Path

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longview.app.ingest.subtitle_import import FILE_SUFFIXES
from longview.indexing.exports import FORMATS
from longview.ui.access import PAGES
from longview.video.probing.guard import MEDIA_SUFFIXES

ASSETS = Path(__file__).parent / "assets"
ASSETS_ROUTE = "/page"
"""Path of the scripts and styles of the page's own components."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
FIRST_SCRIPT = "idle_frames.js"
"""The script that runs before all others."""
HEAD = b"<head>"


WATCH = "watch"
"""The folder of the scripts of the page of that name, which the others do not load."""


def page_head(path: str) -> str:
    """Return the elements that the browser gets first on the page with a path."""
    modules = sorted(script.name for script in ASSETS.glob("*.js") if script.name != FIRST_SCRIPT)
    styles = ["components.css"]
    if path == f"/{WATCH}":
        modules += sorted(f"{WATCH}/{script.name}" for script in (ASSETS / WATCH).glob("*.js"))
        styles.append(f"{WATCH}/watch.css")
    return "".join(
        (
            f'<script src="{ASSETS_ROUTE}/{FIRST_SCRIPT}"></script>',
            f'<meta name="longview-suffixes" content="{" ".join(MEDIA_SUFFIXES)}">',
            f'<meta name="longview-formats" content="{" ".join(FORMATS)}">',
            f'<meta name="longview-subtitles" content="{",".join(FILE_SUFFIXES)}">',
            *(f'<link rel="modulepreload" href="{ASSETS_ROUTE}/{name}">' for name in modules),
            *(f'<link rel="preload" as="style" href="{ASSETS_ROUTE}/{name}">' for name in styles),
            f'<script type="module" src="{ASSETS_ROUTE}/main.js"></script>',
        )
    )


class Assets:
    """Scripts and styles, which are read once: a page asks for fifty of them, and waits for the files of a disk fifty times.

    Browsers ask about each of them every time: a new version must not meet modules of an old one.
    """

    def __init__(self, folder: Path) -> None:
        self._responses = {path.relative_to(folder).as_posix(): _asset(path) for path in folder.rglob("*.*")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file, or 304 if the browser has it, or 404."""
        headers = Headers(scope=scope)
        asset = self._responses.get(get_route_path(scope).lstrip("/"))
        if asset is None or scope["method"] not in ("GET", "HEAD"):
            response = PlainTextResponse("There is nothing at this address.", 404)
        elif asset.headers["etag"] in headers.get("if-none-match", ""):
            response = Response(status_code=304, headers={name: asset.headers[name] for name in ("etag", "cache-control")})
        else:
            response = asset
        await response(scope, receive, send)


def _asset(path: Path) -> Response:
    content = path.read_bytes()
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'}
    return Response(content, media_type=MEDIA_TYPES[path.suffix], headers=headers)


class PageHead:
    """Puts `page_head` at the beginning of the head of each page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._elements = app, {path: page_head(path).encode() for path in PAGES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; extend the document of a page."""
        if scope["type"] != "http" or scope["path"] not in PAGES:
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_extended(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            assert start is not None
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            headers = MutableHeaders(scope=start)
            is_page = "text/html" in headers.get("content-type", "") and "content-encoding" not in headers
            if is_page:
                body = body.replace(HEAD, HEAD + self._elements[scope["path"]], 1)
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_extended)
