"""Exports as other programs read them: exact times, and every word of every caption."""

import csv
import html
import io
import json
from pathlib import Path

import pysubs2
import pytest

from longview.indexing.exports import FORMATS, MAX_LINE_CHARACTERS, WORD_JOINER, ExportFormat, event_row, export_captions
from longview.video.timeline import Event, Span
from tests.indexing.samples import sample_entry

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
]


def squeeze(text: str) -> str:
    return " ".join(text.split())


def subtitles(format: ExportFormat, events: list[Event]) -> list[pysubs2.SSAEvent]:
    return list(pysubs2.SSAFile.from_string(export_captions(format, sample_entry("aaaaaaaaaaaa"), events), format_=format))


def displayed_text(line: pysubs2.SSAEvent, format: ExportFormat) -> str:
    """Return the text as a player shows it."""
    text = line.plaintext.replace(WORD_JOINER, "")
    return html.unescape(text) if format == "vtt" else text


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitle_times_are_exact_to_the_millisecond(format: ExportFormat) -> None:
    lines = subtitles(format, [Event(Span(*times), "something") for times in TIMES])
    assert [(line.start, line.end) for line in lines] == [(round(start * 1000), round(end * 1000)) for start, end in TIMES]


@pytest.mark.parametrize("text", AWKWARD, ids=lambda text: text[:15])
@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_keep_every_word(format: ExportFormat, text: str) -> None:
    before, line, after = subtitles(format, [Event(Span(0, 1), "before"), Event(Span(1, 2), text), Event(Span(2, 3), "after")])
    expected = squeeze(text)
    if format == "srt":
        # SRT has no escapes, so these are replaced by similar characters.
        expected = expected.replace("<", "‹").replace(">", "›")
    assert squeeze(displayed_text(line, format)).replace(" ", "") == expected.replace(" ", "")
    assert (before.plaintext, after.plaintext) == ("before", "after")


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_braces_become_parentheses(format: ExportFormat) -> None:
    # Players would interpret them as styles.
    (line,) = subtitles(format, [Event(Span(0, 1), "a sign {\\an8} says {EXIT}")])
    assert displayed_text(line, format) == "a sign (\\an8) says (EXIT)"


def test_subtitle_lines_have_a_maximum_length() -> None:
    (line,) = subtitles("srt", [Event(Span(0, 1), "a very long sentence " * 20)])
    assert max(map(len, line.plaintext.splitlines())) <= MAX_LINE_CHARACTERS


def test_webvtt_text_cannot_end_its_cue_or_open_a_tag() -> None:
    cues = export_captions("vtt", sample_entry("aaaaaaaaaaaa"), [Event(Span(0, 1), "<c>a</c> --> b & c")]).split("\n\n", 1)[1]
    assert cues.count("-->") == 1
    assert "<" not in cues


@pytest.mark.parametrize("text", AWKWARD, ids=lambda text: text[:15])
def test_csv_keeps_the_text_and_disarms_formulas(text: str) -> None:
    content = export_captions(
        "csv", sample_entry("aaaaaaaaaaaa"), [Event(Span(1.001, 3661.25), text), Event(Span(2, 3), "after")]
    )
    first, second = csv.DictReader(io.StringIO(content, newline=""))
    assert first["text"].removeprefix("'" if text[0] in "=+-@" else "") == text
    assert first["text"][0] not in "=+-@"
    assert (float(first["start_s"]), float(first["end_s"])) == (1.001, 3661.25)
    assert (first["start"], first["end"]) == ("0:00:01.0", "1:01:01.2")
    assert second["text"] == "after"


def test_json_has_events_title_path_and_provenance() -> None:
    events = [Event(Span(*times), text) for times, text in zip(TIMES, AWKWARD, strict=False)]
    video = sample_entry("aaaaaaaaaaaa", 'a "title"')
    document = json.loads(export_captions("json", video, events))
    assert document["events"] == [event_row(event) for event in events]
    for row, event in zip(document["events"], events, strict=True):
        assert row["text"] == event.text
        assert row["start_s"] == pytest.approx(event.span.start_s, abs=5e-4)
        assert row["end_s"] == pytest.approx(event.span.end_s, abs=5e-4)
    assert document["title"] == 'a "title"'
    assert Path(document["path"]) == video.path
    assert document["provenance"] == {"checkpoint": "demo@1", "prompt_version": "1", "plan": {"patch_period_s": 1.0}}


def test_text_has_one_line_per_caption() -> None:
    events = [Event(Span(0, 2.5), "A red circle."), Event(Span(3599.5, 3661.25), "A blue ring.")]
    assert export_captions("txt", sample_entry("aaaaaaaaaaaa"), events).splitlines() == [
        "0:00:00.0 - 0:00:02.5  A red circle.",
        "0:59:59.5 - 1:01:01.2  A blue ring.",
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_video_without_captions_is_a_valid_empty_file(format: ExportFormat) -> None:
    content = export_captions(format, sample_entry("aaaaaaaaaaaa"), [])
    if format in ("srt", "vtt"):
        assert subtitles(format, []) == []
        assert content.startswith("WEBVTT") == (format == "vtt")
    elif format == "json":
        assert json.loads(content)["events"] == []
    elif format == "csv":
        assert list(csv.DictReader(io.StringIO(content))) == []
    else:
        assert content == ""
