"""Commands that write files: exports, cuts and contact sheets."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pysubs2
import pytest

from longview.core.timeline import Segment, Span
from longview.indexing.sqlite.library import Library
from longview.video.probing.probe import probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.shell import Shell


@pytest.fixture
def other_path(tmp_path: Path) -> Path:
    """A video that is not in the library."""
    return render(tmp_path / "other.mp4", [ShapesEvent(1, 9, "blue", "ring", "moves up")], 10.0)


def test_exports_have_the_captions_with_their_times(shell: Shell, video_id: str, tmp_path: Path) -> None:
    captions = shell.json("caption", video_id)["events"]
    for format in ("srt", "vtt"):
        target = tmp_path / f"captions.{format}"
        shell.run("export", video_id, "--format", format, "-o", str(target))
        lines = pysubs2.load(str(target))
        assert [line.plaintext for line in lines] == [event["text"] for event in captions]
        assert [(line.start, line.end) for line in lines] == [
            (round(event["start_s"] * 1000), round(event["end_s"] * 1000)) for event in captions
        ]
    exported = json.loads(shell.run("export", video_id, "--format", "json").stdout)["events"]
    assert [{key: event[key] for key in captions[0]} for event in exported] == captions
    assert shell.run("export", video_id, "--format", "csv").stdout.count("\n") == len(captions) + 1
    assert captions[0]["text"] in shell.run("export", video_id, "--format", "txt").stdout


def test_export_never_overwrites_a_video(shell: Shell, video_id: str, video: Path) -> None:
    data = video.read_bytes()
    error = shell.json("export", video_id, "--format", "srt", "-o", str(video), code=1)["error"]
    assert "not overwritten" in error["message"]
    assert video.read_bytes() == data


def test_earlier_captions_can_be_listed_and_exported(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "library")
    path = render(tmp_path / "a ring.mp4", [ShapesEvent(1, 4, "cyan", "ring", "moves up")], 5.0, fps=5)
    (row,) = shell.call("index", str(path), "--sources", "captions")["videos"]
    library, video_id = Library(shell.library), row["video_id"]
    (entry,) = library.videos()
    (track,) = entry.tracks
    older = replace(track, provenance=replace(track.provenance, prompt_version="1", revision="1a2b3c4d" * 5))
    library.put_captions(video_id, older, [Segment(Span(1, 2), "A hoop.", "captions")], summary="A hoop.", chapters=())
    target = tmp_path / "before.vtt"
    shell.call("export", video_id, "--format", "vtt", "-o", str(target))
    printed = shell.run("list").stdout
    assert (
        f"Captioned by demo (prompts 1); the default is now demo (prompts 2). `longview index '{path}' --sources captions`"
        in printed
    )
    shell.call("index", str(path), "--sources", "captions")
    *_, earlier, current = shell.call("versions", video_id)["versions"]
    assert (earlier["current"], earlier["segments"], earlier["summary"]) == (False, 1, "A hoop.") and earlier["replaced_at"]
    assert (earlier["provenance"]["prompt_version"], earlier["provenance"]["revision"]) == ("1", "1a2b3c4d" * 5)
    assert (current["current"], current["replaced_at"], current["provenance"]["profile"]) == (True, None, "demo")
    document = shell.call("export", video_id, "--format", "vtt", "--version", str(earlier["number"]))
    assert (document["content"], document["sources"], document["version"]) == (
        target.read_text(),
        ["captions"],
        earlier["number"],
    )
    *_, earlier_line, current_line = shell.run("versions", video_id).stdout.splitlines()
    assert re.fullmatch(
        r" +\d+  captions +demo, revision 1a2b3c4d, prompts 1, "
        r"2 frames per second of 224 x 128 in 1 window; \d+ \w+ \d+; 1 event; earlier",
        earlier_line,
    )
    assert current_line.endswith("; 1 event; current")
    missing = shell.call("export", video_id, "--format", "srt", "--version", "99", code=1)["error"]
    assert missing["code"] == "unknown_version" and f"`longview versions {video_id}`" in missing["message"]
    both = shell.call("export", video_id, "--format", "srt", "--version", "1", "--source", "speech", code=1)["error"]
    assert "leave out --source" in both["message"]


def test_cut_reports_its_span_and_overwrites_nothing(shell: Shell, video_id: str, tmp_path: Path) -> None:
    span = ("--start", "0:12", "--end", "0:20.5")
    target = str(tmp_path / "part.mp4")
    exact = shell.json("cut", video_id, *span, "--reencode", "-o", target)
    assert exact["path"] == target
    assert (exact["start_s"], exact["end_s"]) == (12.0, 20.5)
    assert probe(target).duration_s == pytest.approx(8.5, abs=0.05)
    assert "not overwritten" in shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", target, code=1).stderr
    copy = shell.json("cut", video_id, *span, "-o", str(tmp_path / "copy.mp4"))
    assert copy["requested"]["start_s"] == 12.0
    # The video has a key frame every 10 seconds.
    assert copy["start_s"] == pytest.approx(10.0, abs=0.01)
    printed = shell.run("cut", video_id, *span, "-o", str(tmp_path / "again.mp4")).stdout
    assert "begins 2.0 s early" in printed and "--reencode" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.mp4", "copy.mp4", "part.mp4"]


def test_impossible_cut_writes_nothing(shell: Shell, video_id: str, tmp_path: Path) -> None:
    assert shell.json("cut", video_id, "--start", "20", "--end", "12", code=1)["error"]["code"] == "bad_request"
    assert shell.json("cut", video_id, "--start", "2:00", "--end", "3:00", code=1)["error"]["code"] == "impossible_plan"
    assert shell.json("cut", video_id, "--start", "20", "--end", "3:00", code=1)["error"]["code"] == "impossible_plan"
    playlist = shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", str(tmp_path / "a.m3u8"), code=1).stderr
    assert "use one of .avi" in playlist
    assert "cannot be written" in shell.run("cut", video_id, "--start", "1", "--end", "2", "-o", "/proc/a.mp4", code=1).stderr
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet_is_one_image(shell: Shell, video_id: str, tmp_path: Path) -> None:
    target = tmp_path / "sheet.jpg"
    document = shell.json("contact-sheet", video_id, "--columns", "3", "--rows", "2", "-o", str(target))
    assert document["times_s"] == pytest.approx([5, 15, 25, 35, 45, 55], abs=0.05)
    assert target.read_bytes()[:3] == b"\xff\xd8\xff"


def test_cut_and_contact_sheet_do_not_index_a_new_file(shell: Shell, video_id: str, other_path: Path, tmp_path: Path) -> None:
    library = shell.json("list")
    target = tmp_path / "part.mp4"
    cut = shell.json("cut", str(other_path), "--start", "2", "--end", "5", "--reencode", "-o", str(target))
    assert (cut["path"], cut["start_s"], cut["end_s"]) == (str(target), 2.0, 5.0)
    assert probe(target).duration_s == pytest.approx(3.0, abs=0.05)
    sheet = shell.json("contact-sheet", str(other_path), "--columns", "2", "--rows", "1", "-o", str(tmp_path / "sheet.jpg"))
    assert sheet["times_s"] == pytest.approx([2.5, 7.5], abs=0.05)
    assert shell.json("list") == library
