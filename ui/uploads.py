"""The upload route: what a page sends is compared with the space on the disk, and a failed upload leaves nothing.

It takes the place of Gradio's own route, which writes whatever comes, and leaves the files of requests that fail.
"""

import math
from collections.abc import MutableSet
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from gradio import routes
from gradio.route_utils import GradioMultiPartParser, GradioUploadFile
from gradio_client.utils import strip_invalid_filename_characters
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from longview.app.errors import BadRequest, NoSpace
from longview.app.files.file_names import write_errors
from longview.app.serving.upload_cache import UploadCache
from longview.ui.routes.common import CLOSED_REQUEST
from longview.video.errors import TooLarge

UPLOAD_ROUTE = "/gradio_api/upload"
INVALID_UPLOAD = "The upload is not valid: it needs a form of the type multipart/form-data whose files are named “files”."

UNNAMED = "video"
"""Name of a file that is sent without one."""
FORM_TYPE, FILES = "multipart/form-data", "files"
MAX_FIELD_BYTES = 1 << 20
"""Maximum size of the parts of a form that are not files, in bytes. The parser keeps it in memory."""
INVALID_FORM_ERRORS = (MultiPartException, ValueError, TypeError, LookupError, AttributeError)
"""Errors about forms that are none, or whose files are no files."""


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
        self._refusal: TooLarge | NoSpace | None = None

    async def store(self, upload_id: str | None) -> list[str]:
        counted_request = Request(self._request.scope, self._receive)
        statuses = routes.file_upload_statuses if upload_id else None
        try:
            with write_errors(self._folder):
                if upload_id and statuses is not None:
                    statuses.track(upload_id)
                if not counted_request.headers["content-type"].lower().startswith(FORM_TYPE):
                    raise ValueError(f"not {FORM_TYPE}")
                form = await _FormParser(
                    counted_request.headers,
                    counted_request.stream(),
                    upload_dir=self._folder,
                    upload_id=upload_id,
                    upload_progress=statuses,
                    max_file_size=math.inf,
                ).parse()
                return _take_files(form, self._folder)
        except INVALID_FORM_ERRORS as error:
            raise BadRequest(INVALID_UPLOAD) from error
        except ClientDisconnect as error:
            raise self._refusal or error from error

    async def _receive(self) -> Message:
        """Return the next part of the request; end it if it is too large, or if the disk becomes full."""
        message = await self._request.receive()
        new_bytes = len(message.get("body", b""))
        self._written_bytes += new_bytes
        try:
            self._cache.require_space(self._folder, written_bytes=self._written_bytes, new_bytes=new_bytes)
        except (TooLarge, NoSpace) as error:
            self._refusal = error
            return {"type": "http.disconnect"}
        return message


class _FormParser(GradioMultiPartParser):
    """Gradio's parser, which writes files to a folder; what is not a file is bounded, too."""

    _field_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a part.

        Raises:
            MultiPartException: the fields are too long.
        """
        if self._current_part.file is None:
            self._field_bytes += end - start
            if self._field_bytes > MAX_FIELD_BYTES:
                raise MultiPartException("The fields are too long.")
        super().on_part_data(data, start, end)


def _take_files(form: FormData, folder: Path) -> list[str]:
    """Move the files of a form to folders that are named by their hashes, delete all others, and return the paths.

    Raises:
        ValueError, TypeError: the form has no files, fields in their place, or a name that no file can have.
    """
    paths = []
    for name, item in form.multi_items():
        if isinstance(item, UploadFile):
            item.file.close()
        if name == FILES:
            if not isinstance(item, GradioUploadFile):
                raise TypeError(f"a field called {FILES}")
            target_folder = folder / item.sha.hexdigest()
            target_folder.mkdir(exist_ok=True)
            target_name = strip_invalid_filename_characters(Path(item.filename or "").name) or UNNAMED
            if target_name in (".", ".."):
                raise ValueError("not the name of a file")
            paths.append(str(Path(item.file.name).replace(target_folder / target_name)))
        elif isinstance(item, GradioUploadFile):
            Path(item.file.name).unlink()
    if not paths:
        raise ValueError("no files")
    return paths


def _length(request: Request) -> int | None:
    """Return the declared size of a request in bytes; None if it is sent in chunks."""
    text: Any = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
