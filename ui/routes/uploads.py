"""Routes of uploads in parts; see `longview.app.serving.part_uploads`.

A part is held in memory until all of it has arrived and its digest was compared, so that an incomplete one leaves nothing. Its
digest is in the header `Content-Digest` (RFC 9530).
"""

import asyncio
import binascii
from base64 import b64decode
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.service import Longview
from longview.app.serving.part_uploads import UNFINISHED_KEPT_S
from longview.app.serving.upload_completion import UploadCompletion
from longview.app.serving.upload_files import MAX_PART_BYTES, UploadFiles
from longview.app.serving.workers import Workers
from longview.ui.routes.common import PART_UPLOADS_ROUTE, body_pieces, checked_options, unless_gone

MAX_DOCUMENT_BYTES = 1 << 16
"""Maximum size of a JSON document, in bytes."""
MAX_PARTS_AT_ONCE = 8
"""Maximum number of parts that are received at once, which bounds the memory for them; others wait."""
MAX_CHECKS_AT_ONCE = 2
"""Maximum number of uploads that are hashed at once; others wait."""
DIGEST_NAME, DIGEST_BYTES = "sha-256", 32
HEX_DIGEST_CHARACTERS = 64
MAX_NAMES_CHARACTERS = 200
"""Maximum length of the names of invalid values in a message, in characters."""
MAX_UPLOAD_ID_CHARACTERS = 200
NO_STORE = {"Cache-Control": "no-store"}

UploadId = Annotated[str, Path(max_length=MAX_UPLOAD_ID_CHARACTERS)]
PartNumber = Annotated[int, Path(ge=0, lt=1 << 53)]


class NewUpload(BaseModel):
    """A file that a client is going to send."""

    model_config = ConfigDict(strict=True)

    name: str
    size_bytes: int
    modified_ms: int
    fingerprint: str = ""
    """SHA-256 of the first and the last MiB of the file and of its size, hexadecimal; empty if the client has none."""


class Completion(BaseModel):
    """The request to complete an upload."""

    model_config = ConfigDict(strict=True)

    sha256: str = ""
    """SHA-256 of the whole file, hexadecimal; empty if the client does not know it."""
    options: schemas.RunOptions = schemas.RunOptions()


Document = TypeVar("Document", bound=BaseModel)


def upload_routes(app: Longview, workers: Workers) -> APIRouter:
    """Return the routes of uploads in parts."""
    router = APIRouter(prefix=PART_UPLOADS_ROUTE)
    uploads, completion = workers.part_uploads, UploadCompletion(app, workers)
    part_slots, check_slots = asyncio.Semaphore(MAX_PARTS_AT_ONCE), asyncio.Semaphore(MAX_CHECKS_AT_ONCE)

    def upload_out(upload: UploadFiles) -> schemas.UploadOut:
        return schemas.UploadOut.of(upload, UNFINISHED_KEPT_S, is_active=uploads.is_active(upload))

    @router.post("")
    async def begin(request: Request) -> Response:
        """Begin the upload of a file, or find the unfinished one of the same file."""

        async def respond() -> Response:
            new = await _document(request, NewUpload)
            _require_hex(new.fingerprint, "fingerprint")
            upload, is_new = await run_in_threadpool(
                uploads.begin, new.name, new.size_bytes, new.modified_ms, new.fingerprint.lower()
            )
            return _reply(await run_in_threadpool(upload_out, upload), 201 if is_new else 200)

        return await unless_gone(respond)

    @router.get("")
    def unfinished() -> Response:
        """List the unfinished uploads."""
        return _reply(schemas.UploadsDocument(uploads=[upload_out(upload) for upload in uploads.unfinished()]))

    @router.get("/{upload_id}")
    def show(upload_id: UploadId) -> Response:
        """State what has arrived of an upload."""
        return _reply(upload_out(uploads.upload(upload_id)))

    @router.get("/{upload_id}/digests")
    def digests(upload_id: UploadId) -> Response:
        """State the digests of what has arrived of an upload."""
        return _reply(schemas.UploadDigestsDocument.of(uploads.upload(upload_id).digests()))

    @router.delete("/{upload_id}")
    def give_up(upload_id: UploadId) -> Response:
        """Give an upload up; nothing of it stays."""
        uploads.give_up(upload_id)
        return Response(status_code=204)

    @router.put("/{upload_id}/parts/{number}")
    async def store(upload_id: UploadId, number: PartNumber, request: Request) -> Response:
        """Store a part."""

        async def respond() -> Response:
            digest = _digest(request)
            with uploads.in_use(upload_id):
                async with part_slots:
                    data = await _body(request, MAX_PART_BYTES)
                    await run_in_threadpool(uploads.store, upload_id, number, data, digest)
            return Response(status_code=204)

        return await unless_gone(respond)

    @router.post("/{upload_id}/complete")
    async def complete(upload_id: UploadId, request: Request) -> Response:
        """Hash the whole file, and add it to the queue."""

        async def respond() -> Response:
            document = await _document(request, Completion)
            _require_hex(document.sha256, "sha256")
            options = await run_in_threadpool(checked_options, document.options)
            with uploads.in_use(upload_id):
                async with check_slots:
                    result = await run_in_threadpool(completion.complete, upload_id, options, document.sha256.lower())
            return _reply(schemas.CompleteUploadDocument.of(result))

        return await unless_gone(respond)

    return router


def _reply(document: BaseModel, status: int = 200) -> Response:
    return JSONResponse(document.model_dump(), status, headers=NO_STORE)


async def _document(request: Request, kind: type[Document]) -> Document:
    """Read the JSON document of a request.

    Raises:
        HTTPException: see `_body`. BadRequest: it is not JSON, or has values that cannot be used. ClientDisconnect
    """
    body = await _body(request, MAX_DOCUMENT_BYTES)
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        names = [".".join(map(str, problem["loc"])) for problem in error.errors()]
        if not any(names):
            raise BadRequest("The request is not a JSON object.") from error
        text = ", ".join(dict.fromkeys(names))[:MAX_NAMES_CHARACTERS]
        raise BadRequest(f"The request lacks a value, or has one that cannot be used: {text}.") from error


async def _body(request: Request, max_bytes: int) -> bytearray:
    """Read the body of a request.

    Raises:
        HTTPException: it is too large, or no longer arrives. ClientDisconnect
    """
    body = bytearray()
    async for piece in body_pieces(request, max_bytes):
        body += piece
    return body


def _digest(request: Request) -> bytes:
    """Return the SHA-256 that a request states of its body.

    Raises:
        BadRequest: it states none.
    """
    for item in ",".join(request.headers.getlist("content-digest")).split(","):
        name, _, value = item.strip().partition("=")
        if name.lower() == DIGEST_NAME and value.startswith(":") and value.endswith(":"):
            try:
                digest = b64decode(value[1:-1], validate=True)
            except (binascii.Error, ValueError):
                continue
            if len(digest) == DIGEST_BYTES:
                return digest
    raise BadRequest("The part has no header of the form “Content-Digest: sha-256=:BASE64:” with the SHA-256 of its bytes.")


def _require_hex(digest: str, name: str) -> None:
    """Check a digest of a document.

    Raises:
        BadRequest: it is not empty and no SHA-256 in hexadecimal digits.
    """
    try:
        is_digest = not digest or (len(digest) == HEX_DIGEST_CHARACTERS and len(bytes.fromhex(digest)) == DIGEST_BYTES)
    except ValueError:
        is_digest = False
    if not is_digest:
        raise BadRequest(f"“{name}” is not a SHA-256 in {HEX_DIGEST_CHARACTERS} hexadecimal digits.")
