"""What the data routes share: the forms of parameters, conditional replies, and their headers."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import HTTPException, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from longview.app.ingest.options import IndexOptions
from longview.app.schemas.runs import RunOptions
from longview.app.service import Longview
from longview.app.serving.run_choices import check_choices
from longview.indexing.errors import UnknownVideo
from longview.indexing.records.track import VIDEO_ID
from longview.indexing.records.video import VideoEntry

PREFIX = "/v1"
PART_UPLOADS_ROUTE = f"{PREFIX}/uploads"
MAX_PARAMETER_CHARS = 200
"""Maximum length of a parameter of an address, in characters."""
DATA_POLICY = "default-src 'none'"
"""Content-Security-Policy of data: a browser that shows it runs nothing of it."""
STALL_S = 60.0
"""Maximum time between two pieces of a request, in seconds, until the server no longer waits for the rest."""
CLOSED_REQUEST = 499
"""Status of a request whose client has gone, which nobody receives."""
JOB_ID_LIMIT = 1 << 63
START_ID = secrets.token_hex(8)
"""What identifies this start of the server."""
VideoId = Annotated[str, Path(max_length=MAX_PARAMETER_CHARS)]
JobId = Annotated[int, Path(ge=0, lt=JOB_ID_LIMIT)]
TextParameter = Annotated[str, Query(max_length=MAX_PARAMETER_CHARS)]


class RequestBody(BaseModel):
    """Base of the bodies of requests: an unknown field is refused, because nobody would notice a misspelt one."""

    model_config = ConfigDict(extra="forbid")


def checked_options(options: RunOptions) -> IndexOptions:
    """Return the options that a client has chosen.

    Raises:
        BadRequest: see `longview.app.serving.run_choices.check_choices`.
    """
    checked = options.index_options()
    check_choices(checked)
    return checked


def is_id(text: str) -> bool:
    """Whether a text may be the whole id of a video. The page and its routes accept no beginnings of ids."""
    return bool(VIDEO_ID.fullmatch(text))


def require_entry(app: Longview, video_id: str) -> VideoEntry:
    """Return the video with that whole id.

    Raises:
        HTTPException: there is none (404), or it was removed and can be brought back (410).
    """
    if is_id(video_id):
        try:
            return app.video_with_id(video_id)
        except UnknownVideo:
            removed = next((video for video in app.removals.videos() if video.video_id == video_id), None)
            if removed is not None:
                text = f"“{removed.title}” was removed; it can be brought back until {removed.undo_until}."
                # Browsers keep this status without end, also after the video was brought back.
                raise HTTPException(410, text, {"Cache-Control": "no-store"}) from None
    raise HTTPException(404, "There is no video with this id.")


async def unless_gone(respond: Callable[[], Awaitable[Response]]) -> Response:
    """Return a response, or one that nobody receives if the client goes before it has sent its request."""
    try:
        return await respond()
    except ClientDisconnect:
        return Response(status_code=CLOSED_REQUEST)


async def body_pieces(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body of a request piece by piece.

    Raises:
        HTTPException: it is too large, or no longer arrives. ClientDisconnect: the client has gone.
    """
    pieces, size_bytes = aiter(request.stream()), 0
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise HTTPException(408, f"Nothing has arrived for {STALL_S:.0f} seconds; send the request again.") from error
        if piece is None:
            return
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise HTTPException(413, f"The request has more than {max_bytes:,} bytes.")
        yield piece


def conditional(request: Request, document: BaseModel) -> Response:
    """Reply with a document, or with 304 where the client has it already."""
    content = document.model_dump_json()
    return _reply(request, content, lambda: content)


def conditional_on(request: Request, revision: object, make: Callable[[], BaseModel | bytes]) -> Response:
    """Reply with the document of an address, which is made only where the client does not have it already.

    `revision`: whatever changes with the document, besides the address. Another start of the server may make other documents.
    `make`: returns the document, or its JSON.
    """

    def content() -> str | bytes:
        document = make()
        return document if isinstance(document, bytes) else document.model_dump_json()

    return _reply(request, f"{START_ID} {request.url} {revision!r}", content)


def _reply(request: Request, identity: str, content: Callable[[], str | bytes]) -> Response:
    """Reply with a content, or with 304 where the client has what is identified by a text."""
    etag = f'"{hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": DATA_POLICY}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content(), media_type="application/json", headers=headers)
