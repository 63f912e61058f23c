"""Routes of what a run may be told, and of what it costs before it begins."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import Field

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.service import Longview
from longview.app.serving.estimates import Estimates, FileFacts
from longview.app.serving.run_choices import run_choices
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from longview.ui.routes.common import PREFIX, RequestBody, checked_options, conditional

MAX_FILES = 1000
"""Maximum number of files of one estimate about which something is stated."""
MAX_MORE_FILES = 100_000
"""Maximum number of files beside them."""
MAX_ESTIMATES_AT_ONCE = 1
"""Maximum number of estimates that are made at once: each may decode parts of a file. Others wait."""


class EstimateRequest(RequestBody):
    """What is to be estimated: a path of this machine, or files of which a browser knows something, and with which options."""

    path: str | None = Field(None, max_length=MAX_QUESTION_CHARACTERS)
    files: list[schemas.ClientFile] | None = Field(None, max_length=MAX_FILES)
    more_files: int = Field(0, ge=0, le=MAX_MORE_FILES)
    """Number of files beside `files`, which are taken to be like them."""
    options: schemas.RunOptions = schemas.RunOptions()


def estimates_router(app: Longview) -> APIRouter:
    """Make the routes of one server."""
    router = APIRouter(prefix=PREFIX)
    estimates, slots = Estimates(app), asyncio.Semaphore(MAX_ESTIMATES_AT_ONCE)

    @router.get("/run-options")
    def choices(request: Request) -> Response:
        """State what a client may choose of a run on this machine."""
        return conditional(request, schemas.RunChoicesDocument.of(run_choices(app)))

    @router.post("/estimates")
    async def estimate(request: Request, wanted: EstimateRequest) -> Response:
        """Estimate what indexing would take. Nothing is added to the queue."""

        def document() -> schemas.EstimateDocument:
            options = checked_options(wanted.options)
            if wanted.files is not None and wanted.path is None:
                facts = [_facts(file) for file in wanted.files]
                found = estimates.of_files(facts, options, more_files=wanted.more_files)
            elif wanted.files is not None or wanted.more_files or not (wanted.path or "").strip():
                raise BadRequest("An estimate is for a path of this machine or for files, one of them.")
            else:
                found = estimates.of_path(Path((wanted.path or "").strip()), options)
            return schemas.EstimateDocument.of(found, captions_footage=app.captions_footage)

        async with slots:
            return conditional(request, await run_in_threadpool(document))

    return router


def _facts(file: schemas.ClientFile) -> FileFacts | None:
    """Return what is known of a file; None if the browser cannot read it."""
    return None if file.duration_s is None else FileFacts(file.name, file.duration_s, file.width, file.height)
