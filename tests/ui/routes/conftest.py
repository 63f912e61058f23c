"""A library, its workers that take no jobs, and a client of the routes over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.server import create
from tests.support.app_samples import demo_settings


@pytest.fixture
def app(tmp_path: Path) -> Longview:
    return Longview(demo_settings(tmp_path / "library"))


@pytest.fixture
def workers(app: Longview) -> Iterator[Workers]:
    workers = Workers(app, starts=False)
    yield workers
    workers.close()


@pytest.fixture
def client(app: Longview, workers: Workers) -> Iterator[TestClient]:
    web: FastAPI = create(app, workers)  # type: ignore[assignment]
    with TestClient(web, base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"}) as client:
        yield client
