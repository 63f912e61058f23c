"""Exports as other programs read them: exact times, every word of every segment, and nothing that a text smuggles in."""

import csv
import html
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pysubs2
import pytest

from longview.core.timeline import Segment, Span, Word
from longview.indexing.errors import ExportNotPossible
from longview.indexing.exports import FORMATS, export_segments
from longview.indexing.exports.layout import MAX_LINE_CHARACTERS, text_columns
from longview.indexing.exports.subtitle_text import WORD_JOINER
from longview.indexing.records.track import Provenance
from tests.support.library_samples import sample_entry, sample_track

ENTRY = sample_entry("aaaaaaaaaaaa")

TIMES = [(0.0, 0.04), (1.001, 2.999), (59.9994, 60.0), (3599.5, 3661.25), (35999.999, 36000.5)]
AWKWARD = [
    "\"quoted\", with, commas; and 'apostrophes'",
    "two\nlines\r\nand\ttabs",
    "=SUM(A1:A9)",
    "+1 -1 @home",
    "@import",
    "-5 degrees outside",
    "a < b & c > d, <b>bold</b>, &amp; and <00:00:01.000>",
    "C:\\New\\house \\h",
    "points --> to the right",
    "00:00:01,000 --> later",
    "12",
    "NOTE this",
    "WEBVTT",
    "빨간 원 · Ünïcødé · 🎬",
    "a very long sentence " * 20,
    "averyveryverylongwordthatdoesnotfitonanylineofanysubtitle",
    "00:00:01.000 and 00:00:02.000, or 00:00:01,000 and 00:00:02,000",
    "&" * 60,
]
HOSTILE = "a\x00b\x1b[31m\u202egnp.exe\u2028next\x85line\ud800 <script>{\\an8}\\N\n\n2\n00:00:09,000 --> 00:00:10,000\nfake"


def squeeze(text: str) -> str:
    return " ".join(text.split())


def caption(start_s: float, end_s: float, text: str) -> Segment:
    return Segment(Span(start_s, end_s), text, "captions")


def subtitles(format: str, segments: list[Segment]) -> list[pysubs2.SSAEvent]:
    return list(pysubs2.SSAFile.from_string(export_segments(format, ENTRY, segments), format_=format))


def displayed_text(line: pysubs2.SSAEvent, format: str) -> str:
    """Return the text as a player shows it."""
    text = line.plaintext.replace(WORD_JOINER, "")
    return html.unescape(text) if format == "vtt" else text


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitle_times_are_exact_to_the_millisecond(format: str) -> None:
    lines = subtitles(format, [caption(*times, "something") for times in TIMES])
    assert [(line.start, line.end) for line in lines] == [(round(start * 1000), round(end * 1000)) for start, end in TIMES]


@pytest.mark.parametrize("text", AWKWARD, ids=lambda text: text[:15])
@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_keep_every_word(format: str, text: str) -> None:
    before, line, after = subtitles(format, [caption(0, 1, "before"), caption(1, 2, text), caption(2, 3, "after")])
    expected = squeeze(text)
    if format == "srt":
        # SRT has no escapes, so these are replaced by similar characters.
        expected = expected.replace("<", "‹").replace(">", "›")
    assert squeeze(displayed_text(line, format)).replace(" ", "") == expected.replace(" ", "")
    assert (before.plaintext, after.plaintext) == ("before", "after")


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_braces_become_parentheses(format: str) -> None:
    # Players would interpret them as styles.
    (line,) = subtitles(format, [caption(0, 1, "a sign {\\an8} says {EXIT}")])
    assert displayed_text(line, format) == "a sign (\\an8) says (EXIT)"


def test_subtitle_lines_have_a_maximum_length() -> None:
    (line,) = subtitles("srt", [caption(0, 1, "a very long sentence " * 20)])
    assert max(map(len, line.plaintext.splitlines())) <= MAX_LINE_CHARACTERS


def test_webvtt_text_cannot_end_its_cue_or_open_a_tag() -> None:
    cues = export_segments("vtt", ENTRY, [caption(0, 1, "<c>a</c> --> b & c")]).split("\n\n", 1)[1]
    assert cues.count("-->") == 1
    assert "<" not in cues


@pytest.mark.parametrize("text", AWKWARD, ids=lambda text: text[:15])
def test_csv_keeps_the_text_and_disarms_formulas(text: str) -> None:
    content = export_segments("csv", ENTRY, [caption(1.001, 3661.25, text), caption(2, 3, "after")])
    first, second = csv.DictReader(io.StringIO(content, newline=""))
    assert first["text"].removeprefix("'" if text[0] in "=+-@" else "") == text
    assert first["text"][0] not in "=+-@"
    assert (float(first["start_s"]), float(first["end_s"])) == (1.001, 3661.25)
    assert (first["start"], first["end"]) == ("0:00:01.0", "1:01:01.2")
    assert second["text"] == "after"


def test_json_has_segments_title_path_and_provenance() -> None:
    segments = [caption(*times, text) for times, text in zip(TIMES, AWKWARD, strict=False)]
    captions_provenance = Provenance("org/a@1", "4", {"patch_period_s": 1.0}, "1a2b3c4d" * 5, "qwen3-vl")
    track = sample_track("captions", provenance=captions_provenance, updated_at="2026-11-26T10:00:00+00:00")
    video = replace(sample_entry("aaaaaaaaaaaa", 'a "title"'), tracks=(track, sample_track("speech")))
    document = json.loads(export_segments("json", video, segments))
    for row, segment in zip(document["events"], segments, strict=True):
        assert row["text"] == segment.text
        assert row["start_s"] == pytest.approx(segment.span.start_s, abs=5e-4)
        assert row["end_s"] == pytest.approx(segment.span.end_s, abs=5e-4)
    assert document["title"] == 'a "title"'
    assert Path(document["path"]) == video.path
    provenance = {
        "checkpoint": "org/a@1",
        "revision": "1a2b3c4d" * 5,
        "profile": "qwen3-vl",
        "prompt_version": "4",
        "plan": {"patch_period_s": 1.0},
        "made_at": "2026-11-26T10:00:00+00:00",
    }
    assert document["tracks"] == [{"source": "captions", "provenance": provenance}]


def test_vtt_says_what_made_it_in_a_comment() -> None:
    plan = {"patch_period_s": 1.0, "width": 448, "height": 256, "windows": [{}] * 20}
    captions_provenance = Provenance("Qwen/Qwen3-VL-8B-Instruct@1", "4", plan, "1a2b3c4d" * 5, "qwen3-vl")
    track = sample_track("captions", provenance=captions_provenance, updated_at="2026-11-26T10:00:00+00:00")
    content = export_segments("vtt", replace(ENTRY, tracks=(track, sample_track("speech"))), [caption(1, 2, "something")])
    assert content.split("\n\n")[:2] == [
        "WEBVTT",
        "NOTE Made with Longview\ncaptions: Qwen/Qwen3-VL-8B-Instruct, revision 1a2b3c4d, profile qwen3-vl, prompts 4, "
        "2 frames per second of 448 x 256 in 20 windows; 26 Nov 2026",
    ]


ARROWS = ["a --> b", "a ---> b", "-\x00-> b", "a\n\n1\n00:00:01.000 --> 00:00:02.000\nfake"]


@pytest.mark.parametrize("name", [HOSTILE, *ARROWS], ids=ascii)
def test_comment_of_vtt_cannot_contain_a_cue(name: str) -> None:
    track = sample_track("captions", provenance=Provenance(f"{name}@1", name, {"language": name}, name, name))
    content = export_segments("vtt", replace(ENTRY, tracks=(track,)), [caption(1, 2, "something")])
    header, comment, cue, end = content.split("\n\n")
    assert (header, end) == ("WEBVTT", "") and comment.startswith("NOTE Made with Longview\ncaptions: ")
    assert content.count("-->") == cue.count("-->") == 1
    (line,) = pysubs2.SSAFile.from_string(content, format_="vtt")
    assert (line.start, line.plaintext) == (1000, "something")


def test_json_has_source_language_confidence_and_words() -> None:
    words = (Word(Span(61.2504, 61.5), "Hello,", 0.98765), Word(Span(61.5, 62), "world."))
    segment = Segment(Span(61.2504, 62), "Hello, world.", "speech", "en", 0.9, words)
    (event,) = json.loads(export_segments("json", ENTRY, [segment], word_times=True))["events"]
    assert event == {
        "start_s": 61.25,
        "end_s": 62.0,
        "start": "0:01:01.3",
        "end": "0:01:02.0",
        "source": "speech",
        "language": "en",
        "text": "Hello, world.",
        "confidence": 0.9,
        "words": [
            {"start_s": 61.25, "end_s": 61.5, "text": "Hello,", "confidence": 0.988},
            {"start_s": 61.5, "end_s": 62.0, "text": "world.", "confidence": None},
        ],
    }
    (event,) = json.loads(export_segments("json", ENTRY, [segment]))["events"]
    assert "words" not in event


def test_text_has_one_line_per_caption() -> None:
    segments = [caption(0, 2.5, "A red circle."), caption(3599.5, 3661.25, "A blue ring.")]
    assert export_segments("txt", ENTRY, segments).splitlines() == [
        "0:00:00.0 - 0:00:02.5  A red circle.",
        "0:59:59.5 - 1:01:01.2  A blue ring.",
    ]


def test_every_format_but_srt_distinguishes_several_sources() -> None:
    segments = [
        Segment(Span(5, 7), "Hello.", "speech", "en"),
        Segment(Span(0, 9), "A man waves.", "captions"),
        Segment(Span(5, 7), "Hallo.", "subtitles", "de"),
    ]
    expected = [("captions", "A man waves."), ("speech", "Hello."), ("subtitles", "Hallo.")]
    events = json.loads(export_segments("json", ENTRY, segments))["events"]
    assert [(event["source"], event["text"]) for event in events] == expected
    rows = list(csv.DictReader(io.StringIO(export_segments("csv", ENTRY, segments))))
    assert list(rows[0]) == ["start_s", "end_s", "start", "end", "source", "language", "text"]
    assert [(row["source"], row["text"]) for row in rows] == expected
    assert [row["language"] for row in rows] == ["", "en", "de"]
    assert re.findall("<c[.](.*?)>(.*?)</c>", export_segments("vtt", ENTRY, segments)) == expected
    assert re.findall("  \\[(.*?)\\] (.*)", export_segments("txt", ENTRY, segments)) == expected
    with pytest.raises(ExportNotPossible, match="captions, speech, subtitles.*choose one source, or export to VTT"):
        export_segments("srt", ENTRY, segments)
    assert "<" not in export_segments("vtt", ENTRY, segments[:1])
    assert "[" not in export_segments("txt", ENTRY, segments[:1])


@pytest.mark.parametrize("format", ["srt", "csv", "txt"])
def test_word_times_need_vtt_or_json(format: str) -> None:
    with pytest.raises(ExportNotPossible, match="VTT or JSON"):
        export_segments(format, ENTRY, [], word_times=True)


@pytest.mark.parametrize("prefix", ["", " ", "\t", "\r\n", "\n", "\u00a0", "\u3000", "\x00\x1b", "\u200b", "\ufeff"], ids=ascii)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_csv_disarms_hidden_formulas(prefix: str, sign: str) -> None:
    (row,) = csv.DictReader(io.StringIO(export_segments("csv", ENTRY, [caption(0, 1, f"{prefix}{sign}1+1")]), newline=""))
    assert row["text"].startswith("'")
    assert row["text"].endswith(f"{sign}1+1")


@pytest.mark.parametrize("words", [False, True], ids=["text", "words"])
@pytest.mark.parametrize("source", ["captions", "speech", "subtitles"])
@pytest.mark.parametrize("format", FORMATS)
def test_hostile_text_stays_one_segment(format: str, source: str, words: bool) -> None:
    spoken = tuple(Word(Span(4 + k / 9, 4 + k / 9), word) for k, word in enumerate(HOSTILE.split(" "))) if words else ()
    segments = [Segment(Span(1, 2), " \x00\n", source), Segment(Span(4, 5), HOSTILE, source, words=spoken)]
    content = export_segments(format, ENTRY, segments, word_times=words and format in ("vtt", "json"))
    content.encode("utf-8")
    assert "�" in content
    if format == "json":
        assert json.loads(content)["events"][1]["text"] == HOSTILE.replace("\ud800", "�")
        return
    assert not set("\x00\x1b\u202e\u2028\x85") & set(content)
    if format in ("srt", "vtt"):
        blocks = content.removeprefix("WEBVTT\n\n").rstrip("\n").split("\n\n")
        times = [re.fullmatch(r"00:00:0([4-8])[.,]\d{3} --> 00:00:0[4-8][.,]\d{3}", block.split("\n")[1]) for block in blocks]
        assert all(times) and content.count("-->") == len(times)
        assert not re.search(r"[{}]|\\N|<script>", content)
    elif format == "csv":
        assert len(list(csv.reader(io.StringIO(content)))) == 3
    else:
        assert len(content.splitlines()) == 2


def test_a_file_name_that_is_no_text_can_be_exported() -> None:
    entry = replace(ENTRY, path=Path(os.fsdecode(b"/videos/\xff.mp4")))
    assert json.loads(export_segments("json", entry, []).encode())["path"].endswith("�.mp4")


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_imported_subtitles_keep_their_lines(format: str) -> None:
    text = "- Where is the White Rabbit, who was always late?\n- 1984"
    (line,) = subtitles(format, [Segment(Span(0, 1), text, "subtitles", "en")])
    assert displayed_text(line, format) == text


@pytest.mark.parametrize(("language", "columns"), [("zh", 32), ("ja", 26), ("ko", 32), (None, 42)])
def test_full_width_text_has_shorter_lines(language: str | None, columns: int) -> None:
    text = "빨간 원이 움직입니다 " * 9 if language == "ko" else "红色的圆在移动，然后停下。" * 9
    content = export_segments("srt", ENTRY, [Segment(Span(0, 60), text, "captions", language)])
    lines = content.splitlines()[2:-1]
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert columns - 12 <= max(text_columns(line) for line in lines) <= columns
    assert not any(line.startswith(("，", "。")) for line in lines)


@pytest.mark.parametrize("format", FORMATS)
def test_video_without_captions_is_a_valid_empty_file(format: str) -> None:
    content = export_segments(format, ENTRY, [])
    if format in ("srt", "vtt"):
        assert subtitles(format, []) == []
        assert content.startswith("WEBVTT") == (format == "vtt")
    elif format == "json":
        assert json.loads(content)["events"] == []
    elif format == "csv":
        assert list(csv.DictReader(io.StringIO(content))) == []
    else:
        assert content == ""
