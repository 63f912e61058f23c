"""The head of Gradio's pages: what browsers must load before Gradio, which adds its own option `head` to the document later."""

import hashlib
from functools import cache
from pathlib import Path, PurePath

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longview.app.ingest.subtitle_import import FILE_SUFFIXES
from longview.indexing.exports import FORMATS
from longview.ui.access import PAGES
from longview.ui.bundle import bundle
from longview.video.probing.guard import MEDIA_SUFFIXES

ASSETS = Path(__file__).parent / "assets"
ASSETS_ROUTE = "/page"
"""Path of the scripts and styles of the page's own components."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
MAX_AGE_S = 365 * 24 * 3600
"""Time for which a browser keeps a script or style of a version, in seconds."""
FIRST_SCRIPT = "idle_frames.js"
"""The script that runs before all others."""
BASE_STYLE = "base.css"
"""The style of what is drawn before Gradio has loaded."""
HEAD = b"<head>"
WATCH = "/watch"
"""Path of the page that has scripts and styles of its own."""
BUNDLES = {"bundle.js": ("main.js",), "watch_bundle.js": ("main.js", "watch/page.js")}
"""Names of the joined scripts of the pages, in the folder of `main.js`, with the modules that each runs."""


@cache
def asset_contents() -> dict[str, bytes]:
    """Return the scripts and styles by their paths in `ASSETS`, and the joined scripts."""
    contents = {
        path.relative_to(ASSETS).as_posix(): path.read_bytes()
        for path in sorted(ASSETS.rglob("*.*"))
        if path.suffix in MEDIA_TYPES
    }
    modules = {name: content.decode() for name, content in contents.items() if name.endswith(".js")}
    return contents | {name: bundle(modules, entries).encode() for name, entries in BUNDLES.items()}


@cache
def assets_version() -> str:
    """Return what changes with any script or style, and is part of their addresses."""
    digest = hashlib.blake2b(digest_size=8)
    for name, content in asset_contents().items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def page_head(path: str) -> str:
    """Return the elements that the browser gets before those of Gradio on the page with a path."""
    script = "watch_bundle.js" if path == WATCH else "bundle.js"
    styles = ["components.css", *(["watch/watch.css"] if path == WATCH else [])]
    address = f"{ASSETS_ROUTE}/{assets_version()}"
    return "".join(
        (
            f'<script src="{address}/{FIRST_SCRIPT}"></script>',
            f'<meta name="longview-suffixes" content="{" ".join(MEDIA_SUFFIXES)}">',
            f'<meta name="longview-formats" content="{" ".join(FORMATS)}">',
            f'<meta name="longview-subtitles" content="{",".join(FILE_SUFFIXES)}">',
            f'<link rel="stylesheet" href="{address}/{BASE_STYLE}">',
            *(f'<link rel="preload" as="style" href="{address}/{name}">' for name in styles),
            f'<script type="module" src="{address}/{script}"></script>',
        )
    )


class Assets:
    """Scripts and styles, which are read once, when the server starts.

    Browsers keep what has the version in its address, and ask about the rest each time: a new version must not meet modules of an
    old one.
    """

    def __init__(self) -> None:
        self._contents = asset_contents()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file, or 304 if the browser has it, or 404."""
        path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        name = path.removeprefix(f"{assets_version()}/")
        content = self._contents.get(name)
        if content is None or scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("There is nothing at this address.", 404)(scope, receive, send)
            return
        etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache" if name == path else f"max-age={MAX_AGE_S}, immutable"}
        if etag in Headers(scope=scope).get("if-none-match", ""):
            response = Response(status_code=304, headers=headers)
        else:
            response = Response(content, headers=headers, media_type=MEDIA_TYPES[PurePath(name).suffix])
        await response(scope, receive, send)


class PageHead:
    """Puts `page_head` at the beginning of the head of each page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._heads = {path: HEAD + page_head(path).encode() for path in PAGES}

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
                body = body.replace(HEAD, self._heads[scope["path"]], 1)
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_extended)
