"""The main job through the command line, as a user runs it: render, index, locate, ask, search, export.

Everything here is the real output of the bundled checkpoint on a real file.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysubs2
import pytest

from longview.video.probe import probe
from longview.video.synthetic import COLORS, SHAPES, ShapesEvent, render, sample_events
from longview.video.timeline import Span
from tests.barcodes import run_ffmpeg

DURATION_S = 60.0
EVENTS = sample_events(DURATION_S, 5, seed=11, min_event_s=4.0)
LOOKS = {(event.color, event.shape) for event in EVENTS}
ABSENT_COLOR = next(color for color in COLORS if color not in {color for color, _ in LOOKS})
ABSENT_LOOK = next(
    f"{color} {shape}" for color in COLORS for shape in SHAPES if color != ABSENT_COLOR and (color, shape) not in LOOKS
)
ABSENT = (f"something {ABSENT_COLOR}", ABSENT_LOOK, f"a {ABSENT_LOOK} moves up")


@dataclass(frozen=True)
class Shell:
    """The command line over one library folder."""

    home: Path

    def run(self, *words: str, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"LONGVIEW_LIBRARY": str(self.home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "app", *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=240,
            check=False,
            input=given,
        )
        assert done.returncode == code, done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("videos") / "five events.mp4", EVENTS, DURATION_S, seed=11)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def video_id(shell: Shell, video: Path) -> str:
    done = shell.run("index", str(video), "--json")
    (row,) = json.loads(done.stdout)["videos"]
    assert row["path"] == str(video)
    assert row["duration_s"] == pytest.approx(DURATION_S, abs=0.05)
    assert row["events"] == len(EVENTS)
    assert row["seconds_spent"] > 0
    assert "Captioning" in done.stderr
    assert "demo checkpoint" in done.stderr
    return str(row["video_id"])


def test_captions_tell_every_event_in_the_right_words_and_time(shell: Shell, video_id: str) -> None:
    result = shell.json("caption", video_id)
    assert [event["text"] for event in result["events"]] == [event.text for event in EVENTS]
    for told, true in zip(result["events"], EVENTS, strict=True):
        assert Span(told["start_s"], told["end_s"]).iou(true.event.span) > 0.7
    assert result["events"][0]["start"].startswith("0:00:")
    assert result["provenance"]["checkpoint"].startswith("demo@")
    assert result["provenance"]["plan"]["frames"] > 0
    assert "only moving coloured shapes" in result["notice"]
    assert result["outdated"] is False


def test_every_event_is_located(shell: Shell, video_id: str) -> None:
    overlaps = []
    for event in EVENTS:
        result = shell.json("locate", video_id, event.text)
        assert result["found"] is True
        overlaps.append(max(Span(span["start_s"], span["end_s"]).iou(event.event.span) for span in result["spans"]))
    assert min(overlaps) >= 0.6
    assert sum(overlaps) / len(overlaps) >= 0.8


@pytest.mark.parametrize("query", ABSENT)
def test_what_is_not_there_is_said_not_to_be_there(shell: Shell, video_id: str, query: str) -> None:
    result = shell.json("locate", video_id, query)
    assert result["found"] is False
    assert result["spans"] == []
    assert result["coverage"]["seconds"] == pytest.approx(DURATION_S, abs=0.05)
    assert result["coverage"]["frames"] >= 2 * DURATION_S
    assert 0 < result["coverage"]["patch_period_s"] <= 1


def clock(time_s: float) -> str:
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}"


def middle(event: ShapesEvent) -> float:
    return (event.start_s + event.end_s) / 2


def test_what_happens_at_a_time(shell: Shell, video_id: str) -> None:
    event = EVENTS[1]
    result = shell.json("ask", video_id, f"What happens at {clock(middle(event))}?")
    assert f"{event.color} {event.shape}" in result["answer"]
    (evidence,) = result["citations"]
    assert evidence["video_id"] == video_id
    assert Span(evidence["start_s"], evidence["end_s"]).iou(event.event.span) > 0.7
    assert 0 < result["first_token_s"] <= result["total_s"]
    assert result["provenance"]["prompt_version"]


def test_what_happens_in_a_range(shell: Shell, video_id: str) -> None:
    first, second = EVENTS[2], EVENTS[3]
    asked = f"What happens between {first.start_s - 0.5:.0f} and {second.end_s + 0.5:.0f} seconds?"
    answer = shell.json("ask", video_id, asked)["answer"]
    assert first.text in answer
    assert second.text in answer
    assert EVENTS[0].text not in answer


def test_when_something_appears_and_when_it_does_not(shell: Shell, video_id: str) -> None:
    event = EVENTS[4]
    there = shell.json("ask", video_id, f"When does the {event.color} {event.shape} appear?")
    assert Span(there["citations"][0]["start_s"], there["citations"][0]["end_s"]).iou(event.event.span) > 0.8
    absent = shell.json("ask", video_id, f"When does the {ABSENT_LOOK} appear?")
    assert absent["answer"].startswith("Not in this video")
    assert absent["citations"] == []


def test_several_videos_are_asked_in_turn(shell: Shell, video_id: str, tmp_path: Path) -> None:
    other = render(tmp_path / "other.mp4", [ShapesEvent(1, 9, "blue", "ring", "moves up")], 10.0)
    done = shell.run("ask", video_id, str(other), "What happens at 5 seconds?", "--json")
    result = json.loads(done.stdout)
    assert "other: A blue ring moves up." in result["answer"]
    assert {item["video_id"] for item in result["citations"]} != {video_id}
    assert "not in the library yet" in done.stderr
    shell.run("remove", str(other))
    assert other.exists()


def test_questions_are_asked_one_after_the_other_of_a_video_that_stays_read(shell: Shell, video_id: str) -> None:
    count, moment = "How many events are in the video?", f"What happens at {clock(middle(EVENTS[1]))}?"
    questions = [count, "", "What happens at 9:00?", moment, count]
    done = shell.run("ask", video_id, "--interactive", "--json", given="\n".join(questions))
    first, beyond, third, last = json.loads(done.stdout)["answers"]
    assert f"{EVENTS[1].color} {EVENTS[1].shape}" in third["answer"]
    assert beyond["error"]["code"] == "invalid_question"
    assert first["answer"] == last["answer"] == f"{len(EVENTS)}."
    # The first had to read the video, the last only its own words.
    assert last["first_token_s"] < first["first_token_s"] / 3
    said = shell.run("ask", video_id, "--interactive", given=questions[-1]).stdout
    assert said.split() == [f"{len(EVENTS)}."]


def test_search_puts_the_right_moment_first(shell: Shell, video_id: str) -> None:
    event = EVENTS[3]
    for query in (event.text, f"{event.color} {event.shape}"):
        best = shell.json("search", query, "--limit", "3")["moments"][0]
        assert best["text"] == event.text
        assert best["video_id"] == video_id
        assert best["title"] == "five events"
        assert best["source"] == "caption"
        assert Span(best["start_s"], best["end_s"]).iou(event.event.span) > 0.7


def test_moments_are_looked_at_again_unless_told_not_to(shell: Shell, video_id: str) -> None:
    event = EVENTS[3]
    looked = shell.json("search", event.text, "--limit", "1")
    assert looked["moments"][0]["verified"] is True and looked["rejected"] == 0
    assert shell.json("search", event.text, "--limit", "1", "--no-verify")["moments"][0]["verified"] is None


def test_chapters_begin_at_the_start_and_can_be_pasted(shell: Shell, video_id: str) -> None:
    told = shell.json("chapters", video_id)
    assert len(told["chapters"]) == 3 and told["summary"].startswith(f"{len(EVENTS)} events: ")
    assert told["chapters"][0]["start_s"] == 0.0 and told["chapters"][-1]["end_s"] == pytest.approx(DURATION_S, abs=0.1)
    first, *_ = shell.run("chapters", video_id).stdout.splitlines()
    assert first == f"0:00 {told['chapters'][0]['title']}"


def test_without_a_video_the_library_is_asked(shell: Shell, video_id: str) -> None:
    event = EVENTS[1]
    told = shell.json("ask", f"When does the {event.color} {event.shape} appear?")
    assert told["answer"].startswith("five events, ")
    assert any(
        item["video_id"] == video_id and Span(item["start_s"], item["end_s"]).iou(event.event.span) > 0.7
        for item in told["citations"]
    )
    assert told["coverage"]["seconds"] < DURATION_S


def test_exported_subtitles_carry_the_captions_times(shell: Shell, video_id: str, tmp_path: Path) -> None:
    captions = shell.json("caption", video_id)["events"]
    for format in ("srt", "vtt"):
        target = tmp_path / f"captions.{format}"
        shell.run("export", video_id, "--format", format, "-o", str(target))
        lines = pysubs2.load(str(target))
        assert [line.plaintext for line in lines] == [event["text"] for event in captions]
        assert [(line.start, line.end) for line in lines] == [
            (round(event["start_s"] * 1000), round(event["end_s"] * 1000)) for event in captions
        ]
    assert json.loads(shell.run("export", video_id, "--format", "json").stdout)["events"] == captions
    assert shell.run("export", video_id, "--format", "csv").stdout.count("\n") == len(captions) + 1
    assert captions[0]["text"] in shell.run("export", video_id, "--format", "txt").stdout


def test_an_export_never_overwrites_a_video(shell: Shell, video_id: str, video: Path) -> None:
    before = video.read_bytes()
    error = shell.json("export", video_id, "--format", "srt", "-o", str(video), code=1)["error"]
    assert "not overwritten" in error["message"]
    assert video.read_bytes() == before


def test_the_same_content_is_one_video_and_a_prefix_names_it(shell: Shell, video_id: str, video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(video.read_bytes())
    assert shell.json("plan", str(copy))["frames"] == 120
    assert shell.json("caption", str(copy))["video_id"] == video_id
    (row,) = shell.json("list")["videos"]
    assert row["video_id"] == video_id
    assert row["outdated"] is False
    assert shell.json("caption", video_id[:4])["video_id"] == video_id


def test_indexing_again_with_other_options_replaces_what_was_there(tmp_path: Path, video: Path) -> None:
    shell = Shell(tmp_path / "home")
    cut = EVENTS[1].end_s + 0.5
    (whole,) = shell.json("index", str(video), "--end", clock(cut + 1))["videos"]
    events = shell.json("caption", whole["video_id"])["events"]
    assert [event["text"] for event in events] == [event.text for event in EVENTS[:2]]
    (part,) = shell.json("index", str(video), "--start", str(EVENTS[4].start_s - 1))["videos"]
    assert part["video_id"] == whole["video_id"]
    (event,) = shell.json("caption", whole["video_id"])["events"]
    assert event["text"] == EVENTS[4].text
    assert Span(event["start_s"], event["end_s"]).iou(EVENTS[4].event.span) > 0.7
    assert {moment["text"] for moment in shell.json("search", "a shape moves")["moments"]} <= {EVENTS[4].text}


def test_the_plan_is_told_before_anything_is_decoded(shell: Shell, video: Path) -> None:
    plan = shell.json("plan", str(video))
    for name in (
        "frames",
        "temporal_patches",
        "height",
        "width",
        "visual_tokens",
        "timestamp_tokens",
        "total_tokens",
        "patch_period_s",
        "windows",
    ):
        assert name in plan
    assert plan["temporal_patches"] * 2 == plan["frames"]
    assert plan["visual_tokens"] == plan["temporal_patches"] * plan["height"] * plan["width"] // 1024
    smaller = shell.json("plan", str(video), "--context-tokens", "3000")
    assert smaller["total_tokens"] <= 3000 < plan["total_tokens"]
    assert shell.json("plan", str(video), "--fps", "4")["frames"] == 240
    assert shell.json("plan", str(video), "--fps", "40", code=1)["error"]["code"] == "impossible_plan"


def test_a_part_is_planned_and_no_more_frames_than_wished(shell: Shell, video_id: str) -> None:
    plan = shell.json("plan", video_id, "--start", "0:10", "--end", "30", "--max-frames", "30")
    (window,) = plan["windows"]
    assert (window["start_s"], window["end_s"]) == (10.0, 30.0)
    assert plan["frames"] == 30
    assert plan["estimated_seconds"] > 0
    assert plan["estimated_bytes"] > 18_000_000
    said = shell.run("plan", video_id, "--max-frames", "4", code=1).stderr
    assert "4 frames are too few" in said and "takes 12" in said


def test_a_cut_says_where_it_begins_and_overwrites_nothing(shell: Shell, video_id: str, video: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "part.mp4")
    exact = shell.json("cut", video_id, "--start", "0:12", "--end", "0:20.5", "--reencode", "-o", target)
    assert exact["path"] == target
    assert (exact["start_s"], exact["end_s"]) == (12.0, 20.5)
    assert probe(target).duration_s == pytest.approx(8.5, abs=0.05)
    assert "not overwritten" in shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", target, code=1).stderr
    copied = shell.json("cut", video_id, "--start", "0:12", "--end", "0:20.5", "-o", str(tmp_path / "copy.mp4"))
    assert copied["requested"]["start_s"] == 12.0
    # The only key frames of this film lie every 10 seconds.
    assert copied["start_s"] == pytest.approx(10.0, abs=0.01)
    hasty = shell.json(
        "cut", video_id, "--start", "12", "--end", "20.5", "--reencode", "--key-frames-only", "-o", str(tmp_path / "hasty.mp4")
    )
    assert Path(hasty["path"]).read_bytes() == Path(exact["path"]).read_bytes()
    said = shell.run("cut", video_id, "--start", "0:12", "--end", "0:20.5", "-o", str(tmp_path / "again.mp4")).stdout
    assert "begins 2.0 s early" in said and "--reencode" in said
    assert shell.json("cut", video_id, "--start", "20", "--end", "12", code=1)["error"]["code"] == "bad_request"
    assert shell.json("cut", video_id, "--start", "2:00", "--end", "3:00", code=1)["error"]["code"] == "impossible_plan"
    assert shell.json("cut", video_id, "--start", "20", "--end", "3:00", code=1)["error"]["code"] == "impossible_plan"
    playlist = shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", str(tmp_path / "a.m3u8"), code=1).stderr
    assert "end its name in one of .avi" in playlist
    assert "cannot be written" in shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", "/proc/a.mp4", code=1).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.mp4", "copy.mp4", "hasty.mp4", "part.mp4"]


def test_a_contact_sheet_is_one_picture(shell: Shell, video_id: str, tmp_path: Path) -> None:
    target = tmp_path / "sheet.jpg"
    made = shell.json("contact-sheet", video_id, "--columns", "3", "--rows", "2", "-o", str(target))
    assert made["times_s"] == pytest.approx([5, 15, 25, 35, 45, 55], abs=0.05)
    assert target.read_bytes()[:3] == b"\xff\xd8\xff"


def test_damage_costs_frames_and_is_told(shell: Shell, video: Path, tmp_path: Path) -> None:
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    done = shell.run("index", str(path), "--json")
    (row,) = json.loads(done.stdout)["videos"]
    assert row["incomplete"] and row["events"] >= 2
    assert re.search(r"decoded \d+ of \d+ frames, \d+ undecodable between 0:00:\d\d.\d and 0:00:\d\d", done.stderr)
    shell.run("remove", row["video_id"])


def test_key_frames_alone_are_read_when_haste_is_asked_for(shell: Shell, video: Path, video_id: str) -> None:
    slow, fast = (shell.json("locate", video_id, EVENTS[0].text, *flags) for flags in ((), ("--key-frames-only",)))
    assert 0 < fast["coverage"]["frames"] < slow["coverage"]["frames"] / 5
    assert fast["provenance"]["plan"]["key_frames_only"] is True
    # What may have been missed between two key frames, 10 s apart, is said; and nothing is called damaged.
    assert fast["coverage"]["patch_period_s"] == pytest.approx(10, abs=0.5)
    assert fast["coverage"]["uncovered"] == []
    assert all(span["uncertainty_s"] >= 5 for span in fast["spans"])


def test_names_cannot_write_to_the_terminal(shell: Shell, video: Path, tmp_path: Path) -> None:
    odd = tmp_path / "-line\nbreak \x1b[31mred.mp4"
    odd.write_bytes(video.read_bytes() + b"\0")
    said = shell.run("index", str(odd)).stdout + shell.run("list").stdout + shell.run("remove", str(odd)).stdout
    assert "\x1b" not in said
    assert len(said.splitlines()) == 4


def test_a_reader_can_be_chosen_and_is_refused_where_it_would_be_wrong(shell: Shell, video: Path, tmp_path: Path) -> None:
    pytest.importorskip("decord")
    stream = tmp_path / "stream.ts"
    run_ffmpeg("-i", str(video), "-c", "copy", str(stream))
    assert shell.json("index", str(stream), "--backend", "ffmpeg")["videos"][0]["events"] == len(EVENTS)
    error = shell.json("index", str(stream), "--backend", "decord", code=1)["error"]
    assert "decord is not right about mpegts files" in error["message"]
    shell.run("remove", str(stream))


def test_bad_input_is_one_sentence_and_leaves_nothing_behind(shell: Shell, video: Path, video_id: str, tmp_path: Path) -> None:
    whole = video.read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 50)
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "noise.mp4").write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    (tmp_path / "folder.mp4").mkdir()
    names = ["empty.mp4", "text.mp4", "cut.mp4", "noise.mp4", "folder.mp4", "missing.mp4"]
    done = shell.run("index", *(str(tmp_path / name) for name in names), "--json", code=1)
    rows = json.loads(done.stdout)["videos"]
    assert [row["status"] for row in rows] == ["failed"] * len(names)
    for row, name in zip(rows, names, strict=True):
        assert name in row["error"]["message"]
        assert "\n" not in row["error"]["message"]
    assert "Traceback" not in done.stderr
    assert [row["video_id"] for row in shell.json("list")["videos"]] == [video_id]


def test_one_failure_is_an_error_document(shell: Shell, tmp_path: Path) -> None:
    result = shell.json("index", str(tmp_path / "missing.mp4"), code=1)
    assert result["error"]["code"] == "not_found"
    assert "missing.mp4" in result["error"]["message"]


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
def test_failures_have_a_code_and_a_sentence(shell: Shell, video_id: str, words: tuple[str, ...], code: str) -> None:
    result = shell.json(*(video_id if word == "VIDEO" else word for word in words), code=1)
    assert result["error"]["code"] == code
    assert len(result["error"]["message"]) > 20


def test_wrong_usage_is_exit_code_two(shell: Shell) -> None:
    shell.run("export", "x", "--format", "docx", code=2)
    shell.run("index", "x.mp4", "--start", "soon", code=2)
    shell.run("dance", code=2)
    assert shell.json("plan", "x.mp4", "--fps", "0", code=2)["error"]["code"] == "usage"
    assert "locate" in shell.run("--help").stdout


def test_doctor_says_what_was_found(shell: Shell, video_id: str) -> None:
    found = shell.json("doctor")
    assert found["problems"] == []
    assert found["videos"] == 1
    assert found["library"] == str(shell.home)
    assert found["ffmpeg_version"] >= 6
