"""The routes of one video: what was found in it, and its pictures."""

import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from longview.app import schemas
from longview.app.service import Longview
from longview.core.timeline import Span
from longview.video.ffmpeg import ffmpeg_path
from tests.support.library_samples import (
    PROVENANCE,
    as_captions,
    put_speech,
    sample_entry,
    sample_events,
    sample_track,
    spoken,
)
from tests.support.routes import get, put, video_id


def test_segments_are_listed_by_their_time_in_pages(app: Longview, client: TestClient) -> None:
    lines = [spoken(10.0 * number, f"Line {number}.") for number in range(9)]
    put_speech(app.parts.library, sample_entry(video_id(1)), lines)
    path = f"videos/{video_id(1)}/segments"
    page = get(client, path, from_s=20.1, to_s=41)
    assert [segment["text"] for segment in page["segments"]] == ["Line 2.", "Line 3.", "Line 4."]
    first = get(client, path, source="speech", limit=5)
    rest = get(client, path, source="speech", limit=5, offset=first["next_offset"])
    assert len(first["segments"]) == 5 and len(rest["segments"]) == 4 and rest["next_offset"] is None
    assert first["total"] == rest["total"] == page["total"] == 9 and get(client, path, language="fr")["total"] == 0
    assert schemas.TranscriptDocument.model_validate(first).segments[1].words[0].text == "Line"
    assert [segment["words"] for segment in get(client, path, words=False)["segments"]] == [[]] * 9
    assert get(client, f"videos/{video_id(1)}/chapters")["video_id"] == video_id(1)
    for value in ("NaN", "inf", "-1", "9" * 400):
        assert client.get(f"/v1/{path}", params={"from_s": value}).status_code == 422


def test_an_earlier_version_of_a_track_is_listed_by_its_number(app: Longview, client: TestClient) -> None:
    entry = put(app.parts.library, 1, "One")
    track = sample_track("captions", provenance=replace(PROVENANCE, checkpoint="another"))
    app.parts.library.put_captions(entry.video_id, track, as_captions(sample_events("a car", "a bus")), summary="", chapters=())
    path = f"videos/{video_id(1)}"
    earlier, current = get(client, f"{path}/versions")["versions"]
    assert (earlier["current"], current["current"]) == (False, True)
    document = get(client, f"{path}/segments", version=earlier["number"])
    assert [segment["text"] for segment in document["segments"]] == ["a red circle"]
    assert [track["model"] for track in document["tracks"]] == ["demo@1"] and document["total"] == 1
    assert get(client, f"{path}/segments", version=current["number"])["total"] == 2
    put(app.parts.library, 2, "Two")
    for parameters, status in (
        ({"version": 0}, 404),
        ({"version": 1 << 62}, 404),
        ({"version": 1 << 64}, 422),
        ({"version": current["number"] + 1}, 404),
        ({"version": earlier["number"], "source": "speech"}, 400),
    ):
        reply = client.get(f"/v1/{path}/segments", params=parameters)
        assert reply.status_code == status and reply.json()["detail"].endswith(".")
    etag = client.get(f"/v1/{path}/versions").headers["etag"]
    assert client.get(f"/v1/{path}/versions", headers={"If-None-Match": etag}).status_code == 304


def test_what_a_client_has_of_a_track_is_not_made_again_until_any_process_changes_it(
    app: Longview, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = app.parts.library
    put_speech(library, sample_entry(video_id(1)), [spoken(1.0, "Hello.")])
    put(library, 2, "Two")
    addresses = [f"/v1/videos/{video_id(1)}/{name}" for name in ("segments", "segments?source=speech", "chapters")]
    etags = [client.get(address).headers["etag"] for address in addresses]
    assert len(set(etags)) == 3
    library.set_position(video_id(1), 5.0)
    library.rename(video_id(2), "Another")
    known = list(zip(addresses, etags, strict=True))
    with monkeypatch.context() as patched:
        for name in ("segment_page", "chapters"):
            patched.delattr(Longview, name)
        for address, etag in known:
            assert client.get(address, headers={"If-None-Match": etag}).status_code == 304
    track = sample_track("speech", done_s=200.0, span=Span(0, 200))
    library.tracks.replace(video_id(1), track, [spoken(1.0, "Hello again.")])
    for address, etag in known:
        reply = client.get(address, headers={"If-None-Match": etag})
        assert reply.status_code == 200 and reply.headers["etag"] != etag
    assert "Hello again." in client.get(addresses[0]).text
    library.remove(video_id(1))
    assert client.get(addresses[0], headers={"If-None-Match": etags[0]}).status_code == 410
    assert client.get("/v1/videos/%ED%A0%80/segments").status_code == 404


def test_a_poster_is_not_black_and_small_pictures_are_where_their_times_say(
    app: Longview, client: TestClient, tmp_path: Path
) -> None:
    video = tmp_path / "dark start.mp4"
    # Black for 4 s; then 4 s with a white half on the right.
    scene = "color=black:s=160x96:r=10:d=8,drawbox=x=80:w=80:h=96:color=white:t=fill:enable='gte(t,4)'"
    command = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", scene, "-g", "10", "-pix_fmt", "yuv420p", str(video)]
    subprocess.run(command, check=True)
    entry = app.index(video).result().entry
    with Image.open(BytesIO(client.get(f"/v1/videos/{entry.video_id}/poster.jpg").content)) as poster:
        assert max(poster.convert("L").tobytes()) > 200
    facts = get(client, f"videos/{entry.video_id}/sprite.json")
    with Image.open(BytesIO(client.get(f"/v1/videos/{entry.video_id}/sprite.jpg").content)) as sprite:
        grey = sprite.convert("L")
        assert sprite.width == facts["columns"] * facts["width"] and len(facts["times_s"]) >= 6
        for number, time_s in enumerate(facts["times_s"]):
            column, row = number % facts["columns"], number // facts["columns"]
            pixel = grey.getpixel((int((column + 0.75) * facts["width"]), int((row + 0.5) * facts["height"])))
            assert isinstance(pixel, int) and (pixel > 128) == (time_s >= 4)
    put_speech(app.parts.library, sample_entry(video_id(1)), [spoken(1.0, "Hello.")])
    assert client.get(f"/v1/videos/{video_id(1)}/poster.jpg").status_code == 404
