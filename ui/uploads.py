"""The upload route: what a page sends is compared with the space on the disk, and a failed upload leaves nothing.

It takes the place of Gradio's own route, which writes whatever comes, and leaves the files of requests that fail.
"""

import math
from collections.abc import MutableSet
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from gradio import route_utils, routes
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from longview.app.errors import BadRequest, NoSpace, TooLarge
from longview.app.media import write_errors
from longview.app.upload_cache import UploadCache

UPLOAD_ROUTE = "/gradio_api/upload"
MAX_FIELD_BYTES = 1 << 20
"""Maximum size of what a form has beside its files, in bytes."""
CLOSED_REQUEST = 499
"""Status of a request whose client has gone, which nobody receives."""
INVALID_UPLOAD = "The upload is not valid: it needs a form of the type multipart/form-data whose files are named “files”."

INVALID_FORM_ERRORS = (HTTPException, MultiPartException, ValueError, TypeError, LookupError, AttributeError)
"""Errors of Gradio's parser for forms that are none, or whose files are no files."""


class UploadRoute:
    """Stores the files of uploads in the upload cache of this server."""

    def __init__(self, cache: UploadCache, stored_paths: MutableSet[str]) -> None:
        """`stored_paths`: the set in which Gradio looks for the files that its endpoints may read."""
        self._cache, self._stored_paths = cache, stored_paths

    async def __call__(self, request: Request, upload_id: str | None = None) -> Response:
        """Store the files of a form, and answer with their paths. `upload_id`: the name by which the page follows the upload."""
        try:
            paths = await self._store(request, upload_id)
        except TooLarge as error:
            return PlainTextResponse(str(error), 413)
        except NoSpace as error:
            return PlainTextResponse(str(error), 507)
        except BadRequest as error:
            return PlainTextResponse(str(error), 400)
        except ClientDisconnect:
            return Response(status_code=CLOSED_REQUEST)
        return JSONResponse(paths)

    async def _store(self, request: Request, upload_id: str | None) -> list[str]:
        """Store the files of a form and return their paths.

        Raises:
            TooLarge, NoSpace: see `UploadCache`. BadRequest: the form is invalid. ClientDisconnect: the client has gone.
        """
        folder = self._cache.begin(_length(request))
        receiver = _Receiver(request, self._cache, folder)
        paths: list[str] = []
        try:
            paths = await receiver.store(upload_id)
            if not paths:
                raise BadRequest(INVALID_UPLOAD)
            # Files under other names in the form are not used.
            for other in [path for path in folder.rglob("*") if path.is_file() and str(path) not in paths]:
                other.unlink(missing_ok=True)
            self._stored_paths |= set(paths)
            return paths
        finally:
            if upload_id:
                routes.file_upload_statuses.set_done(upload_id)
            self._cache.end(folder, is_kept=bool(paths))


class _Receiver:
    """Receives one upload, and counts what arrives."""

    def __init__(self, request: Request, cache: UploadCache, folder: Path) -> None:
        self._request, self._cache, self._folder = request, cache, folder
        self._written_bytes = 0
        self._next_check_bytes = MAX_FIELD_BYTES
        self._refusal: TooLarge | NoSpace | None = None

    async def store(self, upload_id: str | None) -> list[str]:
        counted = Request(self._request.scope, self._receive)
        statuses = routes.file_upload_statuses if upload_id else None
        try:
            with write_errors(self._folder):
                paths, _, _ = await route_utils.upload_fn(counted, self._folder, math.inf, upload_id, upload_progress=statuses)
        except INVALID_FORM_ERRORS as error:
            raise BadRequest(INVALID_UPLOAD) from error
        except ClientDisconnect as error:
            raise self._refusal or error from error
        return [str(path) for path in paths]

    async def _receive(self) -> Message:
        """Return the next part of the request; end it if it is too large, or if the disk becomes full."""
        message = await self._request.receive()
        new_bytes = len(message.get("body", b""))
        self._written_bytes += new_bytes
        try:
            self._require_files()
            self._cache.require_space(self._folder, written_bytes=self._written_bytes, new_bytes=new_bytes)
        except (TooLarge, NoSpace) as error:
            self._refusal = error
            return {"type": "http.disconnect"}
        return message

    def _require_files(self) -> None:
        """Check that what arrives is written to files: a field of the form without a file name is kept in memory.

        Raises:
            TooLarge: more than `MAX_FIELD_BYTES` are not.
        """
        if self._written_bytes < self._next_check_bytes:
            return
        self._next_check_bytes = self._written_bytes + MAX_FIELD_BYTES
        stored_bytes = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        if self._written_bytes - stored_bytes > 2 * MAX_FIELD_BYTES:
            raise TooLarge(f"A field of the form that is no file has more than {MAX_FIELD_BYTES >> 20} MB. {INVALID_UPLOAD}")


def _length(request: Request) -> int | None:
    """Return the declared size of a request in bytes; None if it is sent in chunks."""
    text: Any = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
