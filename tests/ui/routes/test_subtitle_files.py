"""Subtitle files that a page adds to a video and removes."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from longview.app.service import Longview
from longview.indexing.records.video import VideoEntry
from longview.ui.routes import subtitles
from tests.support.library_samples import put_speech, sample_entry, spoken
from tests.support.routes import get, put, video_id

SRT = b"1\n00:00:02,000 --> 00:00:04,000\nGood morning.\n\n2\n00:00:05,000 --> 00:00:06,000\nThe budget.\n"


@pytest.fixture
def entry(app: Longview) -> VideoEntry:
    return put(app.parts.library, 1, "One")


def send(client: TestClient, content: bytes, **parameters: Any) -> Any:
    return client.post(f"/v1/videos/{video_id(1)}/subtitles", params=parameters, content=content)


def lines(client: TestClient) -> list[tuple[float, str]]:
    document = get(client, f"videos/{video_id(1)}/segments", source="subtitles")
    return [(segment["start_s"], segment["text"]) for segment in document["segments"]]


def test_files_are_added_with_a_shift_and_removed_one_by_one(app: Longview, client: TestClient, entry: VideoEntry) -> None:
    reply = send(client, SRT, name="talk.en.srt", offset_s=1.5)
    assert reply.status_code == 201 and (reply.json()["segments"], reply.json()["language"]) == (2, "en")
    assert send(client, SRT.replace(b"Good morning", b"Bonjour"), name="talk.srt", language="fr").json()["language"] == "fr"
    assert lines(client) == [(2.0, "Bonjour."), (3.5, "Good morning."), (5.0, "The budget."), (6.5, "The budget.")]
    path = f"/v1/videos/{entry.video_id}/subtitles"
    assert client.get(path).json()["names"] == ["talk.en.srt", "talk.srt"]
    assert client.delete(path, params={"name": "talk.srt"}).json()["names"] == ["talk.en.srt"]
    assert lines(client) == [(3.5, "Good morning."), (6.5, "The budget.")]
    assert not app.search("Bonjour").result().with_words and client.delete(path, params={"name": "talk.srt"}).status_code == 400


def test_a_transcript_without_times_takes_those_of_the_speech(app: Longview, client: TestClient) -> None:
    put_speech(
        app.parts.library,
        sample_entry(video_id(1)),
        [spoken(3.0, "Good morning to everyone."), spoken(9.0, "The budget of the school.")],
    )
    reply = send(
        client, b"Good morning to everyone.\n\nThe budget of the school.\n\nNobody has ever said this.\n", name="minutes.txt"
    )
    assert reply.json()["unmatched"] == ["Nobody has ever said this."] and len(lines(client)) == 2


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("../evil.srt", SRT, 400),
        ("a\nb.srt", SRT, 400),
        ("talk.exe", SRT, 400),
        ("talk.srt", b"\x00\xff" * 200, 422),
        ("talk.srt", b"", 422),
        ("talk.srt", b"1\n00:50:00,000 --> 00:50:02,000\nlate\n", 400),
        ("talk.txt", b"words", 400),
        ("x" * 300 + ".srt", SRT, 422),
    ],
)
def test_what_is_no_file_of_this_video_is_refused_and_changes_nothing(
    client: TestClient, entry: VideoEntry, name: str, content: bytes, status: int
) -> None:
    send(client, SRT, name="talk.srt")
    reply = send(client, content, name=name)
    assert reply.status_code == status and reply.json()["detail"].endswith(".")
    assert "/tmp" not in reply.json()["detail"] and len(lines(client)) == 2


def test_a_file_that_is_too_large_is_not_read_to_its_end(
    client: TestClient, entry: VideoEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subtitles, "MAX_FILE_BYTES", 50)
    assert send(client, SRT, name="talk.srt").status_code == 413
    assert lines(client) == []
