"""The address of the watch page names a video: the player, the panels and the chat open the same one."""

from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from longview.app.service import Longview
from longview.app.serving.sample import video_to_open
from longview.indexing.errors import LibraryUnusable
from longview.ui.page_head import WATCH


class WatchAddress:
    """Sends browsers that name no video to the one that was watched last."""

    def __init__(self, app: ASGIApp, library: Longview) -> None:
        self._app, self._library = app, library

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the address of a video. An empty library has none."""
        if scope["type"] == "http" and scope["path"] == WATCH and scope["method"] in ("GET", "HEAD"):
            parameters = parse_qsl(scope["query_string"].decode("latin-1"))
            if not dict(parameters).get("video") and (video_id := await run_in_threadpool(self._video_id)):
                others = [(name, value) for name, value in parameters if name != "video"]
                # Relative, so that it holds behind a proxy with a path of its own.
                address = f"?{urlencode([('video', video_id), *others])}"
                await RedirectResponse(address, headers={"Cache-Control": "no-store"})(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _video_id(self) -> str | None:
        try:
            entry = video_to_open(self._library)
        except LibraryUnusable:
            # The page says what is wrong.
            return None
        return entry.video_id if entry else None
