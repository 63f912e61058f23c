"""The options of a run over HTTP: one form in all routes, hostile values, and what a run costs beforehand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from longview.app.ingest.options import PlanOptions
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.ui.access import CLIENT_HEADER, HOST
from longview.ui.server import create
from longview.video.synthetic import render
from tests.support.app_samples import RING, TWICE, demo_settings
from tests.support.speech_samples import needs_speech_model


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def client(app: Longview) -> Iterator[TestClient]:
    workers = Workers(app, starts=False)
    with TestClient(create(app, workers), base_url=f"http://{HOST}", headers={CLIENT_HEADER: "1"}) as client:
        yield client
    workers.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    render(folder / "ring.mp4", [RING], 5.0, fps=5)
    render(folder / "twice.mp4", TWICE, 30.0, fps=5)
    return folder


def post(client: TestClient, path: str, status: int = 200, /, **document: Any) -> Any:
    # NaN is no JSON, but programs write it.
    headers = {"Content-Type": "application/json"}
    reply = client.post(f"/v1/{path}", content=json.dumps(document), headers=headers)
    assert reply.status_code == status, reply.text
    return reply.json()


BAD_OPTIONS = [
    ({"sources": ["nothing"]}, "no source 'nothing'"),
    ({"sources": []}, "choose at least one"),
    ({"sources": "speech"}, "sources"),
    ({"sources": ["speech"] * 9}, "sources"),
    ({"speech_language": "klingon"}, "do not know the language 'klingon'"),
    ({"speech_language": 7}, "speech_language"),
    ({"speech_model": "/etc"}, "no speech model '/etc'"),
    ({"speech_model": "../../models"}, "no speech model"),
    ({"speech_model": "x" * 5000}, "speech_model"),
    ({"precision": "decimal"}, "precision"),
    ({"title": "a\u0000b\n\u001b[31m"}, "cannot be printed"),
    ({"audio_track": "../1"}, "not an audio track"),
    ({"screen_text_language": "a language"}, "not the code of a language"),
    ({"start_s": 5, "end_s": 2}, "must come after"),
    ({"start_s": "soon"}, "“soon” is not a time"),
    ({"start_s": -1}, "start_s"),
    ({"end_s": float("nan")}, "end_s"),
    ({"end_s": float("inf")}, "end_s"),
    ({"end_s": 1e300}, "end_s"),
    ({"end_s": 10**400}, "end_s"),
    ({"start_s": True}, "start_s"),
    ({"accepts_long": "yes"}, "accepts_long"),
    ({"library": "/"}, "no option 'library'"),
    ([], "not a JSON object"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD_OPTIONS)
def test_options_that_cannot_be_are_refused_alike_by_all_routes(
    client: TestClient, folder: Path, options: Any, sentence: str
) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [
        ("jobs", {"path": str(folder / "ring.mp4")}),
        ("estimates", {"path": str(folder / "ring.mp4")}),
        ("estimates", {"files": [{"name": "a.mp4", "size_bytes": 9, "duration_s": 20.0}]}),
        ("videos/bulk", {"action": "index", "video_ids": ["a" * 12]}),
    ]
    for path, document in requests:
        is_reversed = isinstance(options, dict) and options.get("end_s") == 2
        if path == "videos/bulk" and (is_reversed or "screen_text_language" in options):
            # There is no video whose job would be refused.
            continue
        detail = post(client, path, 400, **document, options=options)["detail"]
        assert sentence in detail and "\n" not in detail and detail.endswith(".")
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_part_outside_of_the_video_is_refused(client: TestClient, folder: Path) -> None:
    ring = str(folder / "ring.mp4")
    for path, document in (
        ("jobs", {"path": ring}),
        ("estimates", {"path": ring}),
        ("estimates", {"files": [{"name": "ring.mp4", "size_bytes": 9, "duration_s": 5.0}]}),
    ):
        assert "outside the video" in post(client, path, 400, **document, options={"start_s": "1:30"})["detail"]


@needs_speech_model
def test_a_job_keeps_its_options_and_settings(client: TestClient, folder: Path) -> None:
    options = {"sources": ["speech", "screen_text"], "start_s": "0:01", "end_s": "3 seconds", "speech_language": "ko"}
    (job,) = post(client, "jobs", path=str(folder / "ring.mp4"), options=options)["jobs"]
    assert job["options"] == {"sources": ["speech", "screen_text"], "start_s": 1.0, "end_s": 3.0}
    assert job["settings"]["speech_language"] == "ko" and job["detail"].endswith("with speech language ko")
    # Other options are another job; the same ones are the same.
    (same,) = post(client, "jobs", path=str(folder / "ring.mp4"), options=options)["jobs"]
    (other,) = post(client, "jobs", path=str(folder / "ring.mp4"), options=options | {"speech_language": "auto"})["jobs"]
    assert same["job_id"] == job["job_id"] != other["job_id"]
    for number in (job["job_id"], other["job_id"]):
        post(client, f"jobs/{number}/cancel")
    assert post(client, f"jobs/{job['job_id']}/retry")["settings"] == job["settings"]
    post(client, f"jobs/{job['job_id']}/cancel")


def test_several_videos_are_indexed_again_with_options(app: Longview, client: TestClient, folder: Path) -> None:
    entry = app.index(folder / "ring.mp4").result().entry
    document: dict[str, Any] = {
        "action": "index",
        "video_ids": [entry.video_id, "b" * 12],
        "options": {"sources": ["screen_text"]},
    }
    known, unknown = post(client, "videos/bulk", **document)["results"]
    assert known["error"] is None and unknown["error"]
    jobs = [job for job in client.get("/v1/jobs").json()["jobs"] if job["status"] == "waiting"]
    assert [job["options"] for job in jobs] == [{"sources": ["screen_text"]}]
    post(client, f"jobs/{jobs[0]['job_id']}/cancel")
    (outside,) = post(client, "videos/bulk", **document | {"video_ids": [entry.video_id], "options": {"start_s": 60}})["results"]
    assert "outside the video" in outside["error"]
    assert "Only the action" in post(client, "videos/bulk", 400, **document | {"action": "remove"})["detail"]


def test_the_cost_of_a_path_is_its_plan(app: Longview, client: TestClient, folder: Path) -> None:
    path = folder / "twice.mp4"
    estimate, plan = post(client, "estimates", path=str(path)), app.plan(str(path))
    assert {source["source"]: source["action"] for source in estimate["sources"]} == {
        name: decision.action for name, decision in plan.sources.items()
    }
    assert not estimate["is_rough"] and estimate["duration_s"] == pytest.approx(30.0, abs=0.3)
    assert estimate["estimated_seconds"] > 0
    part = post(client, "estimates", path=str(path), options={"sources": ["screen_text"], "start_s": 0, "end_s": 10})
    assert [source["source"] for source in part["sources"] if source["action"] == "run"] == ["screen_text"]
    assert part["duration_s"] == 10.0 and part["estimated_seconds"] < estimate["estimated_seconds"]
    assert "no file" in post(client, "estimates", 404, path=str(folder / "none.mp4"))["detail"]
    for document in ({}, {"path": " "}, {"path": str(path), "files": []}):
        post(client, "estimates", 400, **document)


def test_a_plan_of_chosen_sources_leaves_the_others_out(app: Longview, folder: Path) -> None:
    plan = app.plan(str(folder / "twice.mp4"), PlanOptions(sources=("screen_text",)))
    assert {name for name, decision in plan.sources.items() if decision.action == "run"} == {"screen_text"}
    assert plan.frames is None


def test_the_cost_of_a_folder_and_of_files_that_are_not_sent_is_rough(client: TestClient, folder: Path) -> None:
    estimate = post(client, "estimates", path=str(folder))
    assert estimate["is_rough"] and estimate["files"] == 2 and estimate["unknown_files"] == 0
    assert estimate["duration_s"] == pytest.approx(35.0, abs=0.5)
    film = {"name": "film.mp4", "size_bytes": 1 << 30, "duration_s": 600.0, "width": 1280, "height": 720}
    unread = {"name": "film.mkv", "size_bytes": 1 << 30}
    one, two = post(client, "estimates", files=[film]), post(client, "estimates", files=[film, film, unread])
    assert one["is_rough"] and two["estimated_seconds"] > 1.5 * one["estimated_seconds"] > 0
    assert (two["files"], two["unknown_files"], two["duration_s"]) == (3, 1, 1200.0)
    talk = post(client, "estimates", files=[{"name": "talk.mp3", "size_bytes": 9, "duration_s": 600.0}])
    assert {source["source"]: source["action"] for source in talk["sources"]}["screen_text"] == "decline"
    many = post(client, "estimates", files=[film, unread], more_files=8)
    assert (many["files"], many["unknown_files"], many["duration_s"]) == (10, 1, 3000.0)
    assert many["estimated_seconds"] > 4 * one["estimated_seconds"]
    post(client, "estimates", 400, path=str(folder), more_files=8)
    post(client, "estimates", 422, files=[film], more_files=-1)
    unknown = post(client, "estimates", files=[unread])
    assert unknown["estimated_seconds"] is None and unknown["unknown_files"] == 1
    for changes in ({"duration_s": -1}, {"duration_s": float("nan")}, {"width": 10**9}, {"path": "/etc/passwd"}, {"name": 1}):
        reply = client.post("/v1/estimates", content=json.dumps({"files": [film | changes]}))
        assert reply.status_code in (400, 422), changes


def test_choices_are_those_of_this_machine(client: TestClient) -> None:
    choices = client.get("/v1/run-options").json()
    # The bundled checkpoint knows moving shapes only.
    assert not choices["captions_footage"] and choices["precisions"] == [] and "captions" not in choices["sources"]
    assert {"screen_text", "subtitles"} <= set(choices["sources"])
    assert ("speech" in choices["sources"]) == bool(choices["speech_models"]) == ("de" in choices["speech_languages"])
