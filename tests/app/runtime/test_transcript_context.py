"""A real checkpoint, here one on a server, gets the subtitles of the library with each question and each caption window."""

from pathlib import Path

import pytest

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.indexing.records.video import VideoEntry
from longview.video.synthetic import render
from tests.model.engine.conftest import script  # noqa: F401 (a fixture)
from tests.support.app_samples import TWICE, demo_settings
from tests.support.scripted_server import VLLM, Script, streams
from tests.support.shell import Shell

SUBTITLES = "1\n00:00:12,500 --> 00:00:15,000\nWe will cut the training budget by a third.\n"
QUESTION = "What does she say?"


@pytest.fixture(scope="module")
def talk_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = render(tmp_path_factory.mktemp("videos") / "talk.mp4", TWICE, 30.0, fps=4)
    path.with_suffix(".en.srt").write_text(SUBTITLES)
    return path


def open_app(library: Path, script: Script, **options: bool) -> Longview:  # noqa: F811
    return Longview(demo_settings(library, model="m", server=script.url, **options))


@pytest.fixture
def library(tmp_path: Path, script: Script) -> Path:  # noqa: F811
    script.models = [VLLM]
    return tmp_path / "library"


def index_subtitles(app: Longview, path: Path) -> VideoEntry:
    return app.index(path, IndexOptions(sources=("subtitles",))).result().entry


def test_answer_cites_the_subtitles_that_the_checkpoint_got(library: Path, talk_path: Path, script: Script) -> None:  # noqa: F811
    app = open_app(library, script)
    entry = index_subtitles(app, talk_path)
    script.responses = [streams("From 12.5 to 15.0 seconds she announces a cut, and at 4.2 seconds a circle moves.")]
    answer = app.ask([entry], QUESTION).result()
    video, words, question = script.requests[0]["messages"][0]["content"]
    assert video["type"] == "video_url"
    assert "[12.5 - 15.0 seconds] subtitles: We will cut the training budget by a third." in words["text"]
    shown, asked = question["text"].splitlines()[:2]
    assert shown == "The video lasts 30.0 seconds. You see it from 0.0 to 30.0 seconds." and asked == QUESTION
    circle, cut = answer.citations
    assert (circle.source, circle.span.contains(4.2)) == ("video", True)
    assert (cut.source, cut.text) == ("subtitles", "We will cut the training budget by a third.")
    assert (cut.span.start_s, cut.span.end_s) == (12.5, 15.0)
    [turn] = app.conversations.answers(entry)
    assert cut.span in turn.citations
    assert answer.provenance[0].plan["words_tokens"] > 0


def test_captions_state_whether_they_were_made_with_words(library: Path, talk_path: Path, script: Script) -> None:  # noqa: F811
    app, without = open_app(library, script), open_app(library, script, transcript=False)
    entry = index_subtitles(app, talk_path)
    captions = '[{"start": 2.2, "end": 7.2, "description": "A red circle moves."}]'
    options = IndexOptions(sources=("captions",))
    for each, has_words in ((app, True), (app, None), (without, False)):
        script.responses, script.requests = [streams(captions), *[streams("[]")] * 3], []
        result = each.index(talk_path, options).result()
        if has_words is None:
            assert script.requests == [] and result.reports[-1].status == "up_to_date"
            continue
        content = script.requests[0]["messages"][0]["content"]
        assert any("training budget" in part.get("text", "") for part in content) == has_words
        assert [item.text for item in each.segments(entry, "captions")] == ["A red circle moves."]
        track = result.entry.track("captions")
        assert track and track.provenance.plan["words"] is has_words


def test_words_are_switched_off_without_another_plan(library: Path, talk_path: Path, script: Script) -> None:  # noqa: F811
    index_subtitles(open_app(library, script), talk_path)
    script.responses = [streams("A circle moves."), streams("A circle moves.")]
    shell, server = Shell(library), ("--server", script.url, "--model", "m")
    answers = [shell.call("ask", str(talk_path), QUESTION, *server, *options) for options in ((), ("--no-transcript",))]
    (video, words, _), (same_video, question) = (request["messages"][0]["content"] for request in script.requests)
    assert "training budget" in words["text"]
    assert video == same_video and "<words>" not in question["text"]
    planned = shell.call("plan", str(talk_path), *server)["frames"]
    assert 0 < planned["words_tokens"] < planned["total_tokens"]
    assert [answer["provenance"]["plan"]["words_tokens"] for answer in answers] == [planned["words_tokens"]] * 2
