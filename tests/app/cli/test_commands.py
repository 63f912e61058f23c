"""The main job through the command line, as a user runs it: index, locate, ask, search.

Everything here is the real output of the bundled checkpoint on a real file.
"""

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longview.app.cli.group import cli
from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.library import Library
from longview.video.synthetic import ShapesEvent, render
from tests.support.barcodes import run_ffmpeg
from tests.support.cli_scene import ABSENT_APPEARANCE, DURATION_S, EVENTS, clock, middle_s
from tests.support.shell import Shell


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A video of another event, which is short."""
    return render(tmp_path / "ring.mp4", [ShapesEvent(1, 4, "cyan", "ring", "moves up")], 5.0, fps=5)


def test_captions_have_the_words_and_times_of_every_event(shell: Shell, video_id: str) -> None:
    document = shell.json("caption", video_id)
    assert [event["text"] for event in document["events"]] == [event.text for event in EVENTS]
    for caption, event in zip(document["events"], EVENTS, strict=True):
        assert Span(caption["start_s"], caption["end_s"]).iou(event.event.span) > 0.7
    assert document["events"][0]["start"].startswith("0:00:")
    assert document["provenance"]["checkpoint"].startswith("demo@")
    assert document["provenance"]["plan"]["frames"] > 0
    assert "only moving coloured shapes" in document["notice"]
    assert document["outdated"] is False


def test_an_event_is_located(shell: Shell, video_id: str) -> None:
    # All events, and twenty that do not occur, are located in `test_evaluate`.
    event = EVENTS[2]
    document = shell.json("locate", video_id, event.text)
    assert document["found"] is True
    assert max(Span(span["start_s"], span["end_s"]).iou(event.event.span) for span in document["spans"]) >= 0.8
    printed = shell.run("locate", video_id, event.text).stdout
    assert re.match(r"0:00:\d\d\.\d – 0:00:\d\d\.\d  \(start and end ±0\.\d s\)\n", printed)


def test_absent_event_is_not_found(shell: Shell, video_id: str) -> None:
    document = shell.json("locate", video_id, f"a {ABSENT_APPEARANCE} moves up")
    assert document["found"] is False
    assert document["spans"] == []
    assert document["coverage"]["seconds"] == pytest.approx(DURATION_S, abs=0.05)
    assert document["coverage"]["frames"] >= 2 * DURATION_S
    assert 0 < document["coverage"]["patch_period_s"] <= 1


def test_answer_about_a_time(shell: Shell, video_id: str) -> None:
    event = EVENTS[1]
    document = shell.json("ask", video_id, f"What happens at {clock(middle_s(event))}?")
    assert f"{event.color} {event.shape}" in document["answer"]
    (citation,) = document["citations"]
    assert citation["video_id"] == video_id
    assert citation["source"] in ("captions", "video") and citation["text"]
    assert Span(citation["start_s"], citation["end_s"]).iou(event.event.span) > 0.7
    assert 0 < document["first_token_s"] <= document["total_s"]
    # The prompts and the plans of the demo checkpoint have not changed with those of real ones.
    assert document["provenance"]["prompt_version"] == "2"
    assert "words_tokens" not in document["provenance"]["plan"]


def test_answer_about_a_range(shell: Shell, video_id: str) -> None:
    first, second = EVENTS[2], EVENTS[3]
    question = f"What happens between {first.start_s - 0.5:.0f} and {second.end_s + 0.5:.0f} seconds?"
    answer = shell.json("ask", video_id, question)["answer"]
    assert first.text in answer
    assert second.text in answer
    assert EVENTS[0].text not in answer


@pytest.mark.slow
def test_answer_about_a_present_and_an_absent_event(shell: Shell, video_id: str) -> None:
    event = EVENTS[4]
    present = shell.json("ask", video_id, f"When does the {event.color} {event.shape} appear?")
    assert Span(present["citations"][0]["start_s"], present["citations"][0]["end_s"]).iou(event.event.span) > 0.8
    absent = shell.json("ask", video_id, f"When does the {ABSENT_APPEARANCE} appear?")
    assert absent["answer"].startswith("Not in this video")
    assert absent["citations"] == []


def test_printed_answer_ends_with_its_evidence(shell: Shell, video_id: str) -> None:
    printed = shell.run("ask", video_id, f"What happens at {clock(middle_s(EVENTS[1]))}?").stdout
    assert re.fullmatch(rf"{re.escape(EVENTS[1].text)}\n\[evidence: 0:00:\d\d\.\d – 0:00:\d\d\.\d\]\n", printed)


@pytest.mark.slow
def test_several_videos_are_asked_in_turn(shell: Shell, video_id: str, tmp_path: Path) -> None:
    other = render(tmp_path / "other.mp4", [ShapesEvent(1, 9, "blue", "ring", "moves up")], 10.0)
    completed = shell.run("ask", video_id, str(other), "What happens at 5 seconds?", "--json")
    document = json.loads(completed.stdout)
    assert "other: A blue ring moves up." in document["answer"]
    assert {item["video_id"] for item in document["citations"]} != {video_id}
    assert "not in the library yet" in completed.stderr
    shell.run("remove", str(other))
    assert other.exists()


def test_interactive_questions_reuse_the_session(shell: Shell, video_id: str) -> None:
    count, moment = "How many events are in the video?", f"What happens at {clock(middle_s(EVENTS[1]))}?"
    questions = [count, "", "What happens at 9:00?", moment, count]
    completed = shell.run("ask", video_id, "--interactive", "--json", stdin="\n".join(questions))
    first, beyond, third, last = json.loads(completed.stdout)["answers"]
    assert f"{EVENTS[1].color} {EVENTS[1].shape}" in third["answer"]
    assert beyond["error"]["code"] == "invalid_question"
    assert first["answer"] == last["answer"] == f"{len(EVENTS)}."
    # The first answer needs the frames, the last one only a prefill of its question.
    assert last["first_token_s"] < first["first_token_s"] / 3
    printed = shell.run("ask", video_id, "--interactive", stdin=questions[-1]).stdout
    assert printed.split() == [f"{len(EVENTS)}."]


def test_search_returns_the_right_moment_first(shell: Shell, video_id: str) -> None:
    event = EVENTS[3]
    for query in (event.text, f"{event.color} {event.shape}"):
        best = shell.json("search", query, "--limit", "3")["moments"][0]
        assert best["text"] == event.text
        assert best["video_id"] == video_id
        assert best["title"] == "five events"
        assert best["source"] == "captions"
        assert Span(best["start_s"], best["end_s"]).iou(event.event.span) > 0.7


def test_search_verifies_moments_by_default(shell: Shell, video_id: str) -> None:
    event = EVENTS[3]
    document = shell.json("search", event.text, "--limit", "1")
    assert document["moments"][0]["verified"] is True and document["rejected"] == 0
    assert shell.json("search", event.text, "--limit", "1", "--no-verify")["moments"][0]["verified"] is None


def test_denied_moment_is_hidden_but_in_the_document(shell: Shell, video_id: str) -> None:
    event = EVENTS[3]
    library = Library(shell.library)
    entry = library.video(video_id)
    track = entry.track("captions")
    assert track is not None
    captions = [item.segment for item in library.tracks.segments(video_id, "captions")]
    library.tracks.replace(video_id, track, [*captions, Segment(Span(0.0, 1.0), event.text, "captions")])
    try:
        document = shell.call("search", event.text, "--limit", "2")
        assert [moment["verified"] for moment in document["moments"]] == [True, False] and document["rejected"] == 1
        printed = shell.run("search", event.text, "--limit", "2").stdout
        assert printed.count(event.text) == 1 and "1 result hidden" in printed
    finally:
        library.tracks.replace(video_id, track, captions)


def test_chapters_cover_the_video_and_can_be_pasted(shell: Shell, video_id: str) -> None:
    document = shell.json("chapters", video_id)
    chapters = document["chapters"]
    assert len(chapters) == 3 and document["summary"].startswith(f"{len(EVENTS)} events: ")
    assert chapters[0]["start_s"] == 0.0 and chapters[-1]["end_s"] == pytest.approx(DURATION_S, abs=0.1)
    first_line, *_ = shell.run("chapters", video_id).stdout.splitlines()
    assert first_line == f"0:00 {chapters[0]['title']}"


def test_question_without_a_video_is_about_the_library(shell: Shell, video_id: str) -> None:
    event = EVENTS[1]
    document = shell.json("ask", f"When does the {event.color} {event.shape} appear?")
    assert document["answer"].startswith("five events (")
    assert any(
        item["video_id"] == video_id and Span(item["start_s"], item["end_s"]).iou(event.event.span) > 0.7
        for item in document["citations"]
    )
    assert document["coverage"]["seconds"] < DURATION_S


def test_same_content_is_one_video_and_a_prefix_names_it(shell: Shell, video_id: str, video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())
    assert shell.call("plan", str(copy))["frames"]["frames"] == 120
    assert shell.json("caption", str(copy))["video_id"] == video_id
    (row,) = shell.json("list")["videos"]
    assert row["video_id"] == video_id
    assert row["outdated"] is False
    assert shell.json("caption", video_id[:4])["video_id"] == video_id


def test_second_index_with_the_same_options_changes_nothing(shell: Shell, video_id: str, video: Path) -> None:
    before = shell.call("list")
    (row,) = shell.call("index", str(video))["videos"]
    assert (row["status"], row["events"]) == ("indexed", len(EVENTS))
    assert [(item["source"], item["status"]) for item in row["sources"]] == [
        ("subtitles", "declined"),
        ("speech", "declined"),
        ("screen_text", "up_to_date"),
        ("captions", "up_to_date"),
    ]
    assert shell.call("list") == before


def test_failed_source_beside_another_is_partial(shell: Shell, video_id: str, tmp_path: Path) -> None:
    options: dict[str, object] = {"movflags": "+faststart", "g": 5}
    intact = render(tmp_path / "intact.mp4", [ShapesEvent(1, 9, "blue", "ring", "moves up")], 10.0, fps=5, output_options=options)
    data = intact.read_bytes()
    path = tmp_path / "damaged.mp4"
    middle = (data.index(b"mdat") + len(data)) // 2
    path.write_bytes(data[:middle] + bytes(len(data) - middle))
    words = ("index", str(path), "--start", "7")
    assert shell.call(*words, code=1)["error"]["code"] == "unreadable_video"
    path.with_suffix(".srt").write_text("1\n00:00:08,000 --> 00:00:09,000\nA line about ducks.\n")
    (row,) = shell.call(*words, code=1)["videos"]
    shell.call("remove", row["video_id"])
    assert row["status"] == "partial"
    errors = {item["source"]: item["error"] for item in row["sources"]}
    assert errors["subtitles"] is None and errors["captions"]["code"] == "unreadable_video"


def test_footage_that_the_checkpoint_does_not_know_is_declined(shell: Shell, video_id: str, tmp_path: Path) -> None:
    path = tmp_path / "other.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x192:rate=5:duration=6", "-pix_fmt", "yuv420p", str(path))
    printed = shell.run("caption", str(path)).stdout
    document = shell.call("caption", str(path))
    shell.call("remove", str(path))
    # The test pattern has a clock.
    sentence = "There are no captions: the demo checkpoint cannot caption this kind of video."
    assert printed == f"{sentence} The video is searchable by screen text.\n"
    assert document["events"] == [] and [span["start_s"] for span in document["incomplete"]] == [0.0]


@pytest.mark.slow
def test_second_index_with_other_options_replaces_the_first(tmp_path: Path, video: Path) -> None:
    shell = Shell(tmp_path / "library")
    end_s = EVENTS[1].end_s + 1.5
    (first,) = shell.json("index", str(video), "--end", clock(end_s))["videos"]
    captions = shell.json("caption", first["video_id"])["events"]
    assert [caption["text"] for caption in captions] == [event.text for event in EVENTS[:2]]
    (second,) = shell.json("index", str(video), "--start", str(EVENTS[4].start_s - 1))["videos"]
    assert second["video_id"] == first["video_id"]
    (caption,) = shell.json("caption", first["video_id"])["events"]
    assert caption["text"] == EVENTS[4].text
    assert Span(caption["start_s"], caption["end_s"]).iou(EVENTS[4].event.span) > 0.7
    assert {moment["text"] for moment in shell.json("search", "a shape moves")["moments"]} <= {EVENTS[4].text}


def test_damaged_frames_are_reported(shell: Shell, tmp_path: Path) -> None:
    events = [ShapesEvent(1, 5, "blue", "ring", "moves up"), ShapesEvent(13, 18, "red", "square", "grows")]
    data = bytearray(render(tmp_path / "intact.mp4", events, 20.0, output_options={"g": 50}).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    completed = shell.run("index", str(path), "--json")
    (row,) = json.loads(completed.stdout)["videos"]
    shell.run("remove", row["video_id"])
    assert row["incomplete"] and row["events"] >= 2
    assert re.search(r"decoded \d+ of \d+ frames, \d+ undecodable between 0:00:\d\d.\d and 0:00:\d\d", completed.stderr)


def test_key_frames_only_decodes_far_fewer_frames(shell: Shell, video: Path, video_id: str) -> None:
    fast = shell.json("locate", video_id, EVENTS[0].text, "--key-frames-only")
    assert 0 < fast["coverage"]["frames"] < 2 * DURATION_S / 5
    assert fast["provenance"]["plan"]["key_frames_only"] is True
    # The patch period is that of the key frames, 10 s apart. Frames between them are not reported as damaged.
    assert fast["coverage"]["patch_period_s"] == pytest.approx(10, abs=0.5)
    assert fast["coverage"]["uncovered"] == []
    assert all(span["uncertainty_s"] >= 5 for span in fast["spans"])


def test_file_names_cannot_control_the_terminal(shell: Shell, ring: Path, video_id: str, tmp_path: Path) -> None:
    path = tmp_path / "-line\nbreak \x1b[31mred.mp4"
    path.write_bytes(ring.read_bytes())
    printed = shell.run("index", str(path)).stdout + shell.run("list").stdout + shell.run("remove", str(path)).stdout
    assert "\x1b" not in printed
    # The file and its four sources, both videos, and the removal.
    assert len(printed.splitlines()) == 5 + 2 + 1


def test_backend_is_refused_for_files_that_it_decodes_wrongly(shell: Shell, ring: Path, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    stream = tmp_path / "stream.ts"
    run_ffmpeg("-i", str(ring), "-c", "copy", str(stream))
    assert shell.json("index", str(stream), "--backend", "ffmpeg")["videos"][0]["events"] == 1
    shell.run("remove", str(stream))
    error = shell.json("index", str(stream), "--backend", "decord", code=1)["error"]
    assert error["message"] == "decord does not support mpegts files; use --backend pyav."


def test_invalid_files_are_reported_and_not_indexed(shell: Shell, video: Path, video_id: str, tmp_path: Path) -> None:
    data = video.read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 50)
    (tmp_path / "truncated.mp4").write_bytes(data[: len(data) // 3])
    (tmp_path / "noise.mp4").write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    (tmp_path / "folder.mp4").mkdir()
    names = ["empty.mp4", "text.mp4", "truncated.mp4", "noise.mp4", "folder.mp4", "missing.mp4"]
    completed = shell.run("index", *(str(tmp_path / name) for name in names), "--json", code=1)
    rows = json.loads(completed.stdout)["videos"]
    assert [row["status"] for row in rows] == ["failed"] * len(names)
    for row, name in zip(rows, names, strict=True):
        assert name in row["error"]["message"]
        assert "\n" not in row["error"]["message"]
    assert "Traceback" not in completed.stderr
    assert [row["video_id"] for row in shell.json("list")["videos"]] == [video_id]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("caption", "0000nothing"), "unknown_video"),
        (("ask", "VIDEO", " "), "bad_request"),
        (("ask", "VIDEO", "What happens at 9:00?"), "invalid_question"),
        (("locate", "VIDEO", " "), "invalid_question"),
        (("search", ""), "bad_request"),
        (("caption", "~no-such-user/x.mp4"), "not_found"),
        (("list", "--library", "/proc/longview"), "library_unusable"),
        (("plan", "VIDEO", "--model", "./no-such-folder"), "checkpoint_not_found"),
        (("plan", "VIDEO", "--context-tokens", "600"), "impossible_plan"),
    ],
)
def test_failure_has_a_code_and_a_sentence(shell: Shell, video_id: str, words: tuple[str, ...], code: str) -> None:
    document = shell.call(*(video_id if word == "VIDEO" else word for word in words), code=1)
    assert document["error"]["code"] == code
    assert len(document["error"]["message"]) > 20


def test_single_failed_file_is_an_error_document(shell: Shell, tmp_path: Path) -> None:
    document = shell.json("index", str(tmp_path / "missing.mp4"), code=1)
    assert document["error"]["code"] == "not_found"
    assert "missing.mp4" in document["error"]["message"]


def test_doctor_reports_facts_and_problems(shell: Shell, video_id: str) -> None:
    document = shell.json("doctor")
    assert document["problems"] == []
    assert document["videos"] == 1
    assert document["library"] == str(shell.library)
    assert document["ffmpeg_version"] >= 6


def test_options_of_earlier_versions_work_and_name_their_successors(shell: Shell, video_id: str) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, [*words, "--json"], env={"LONGVIEW_LIBRARY": str(shell.library)})
        assert result.exit_code == 0, result.output
        return result.stderr

    assert "--no-words is now --no-transcript.\n" in run("ask", video_id, "What happens at 0:20?", "--no-words")
    assert "is now" not in run("ask", video_id, "What happens at 0:20?", "--no-transcript")
    assert "--words is now --word-times.\n" in run("export", video_id, "--format", "json", "--source", "captions", "--words")


def test_the_notice_of_the_checkpoint_is_printed_once_and_only_where_it_matters(shell: Shell, video_id: str) -> None:
    def notices(*words: str) -> int:
        result = CliRunner().invoke(cli, words, env={"LONGVIEW_LIBRARY": str(shell.library)})
        assert result.exit_code == 0, result.output
        return result.stderr.count("Words and slides of any footage are understood.")

    for words in (["list"], ["info", video_id], ["search", "a shape"], ["transcript", video_id]):
        assert notices(*words) == 0, words
    for words in (["caption", video_id], ["locate", video_id, "a shape"], ["ask", video_id, "What happens at 0:20?"]):
        assert notices(*words) == 1, words
