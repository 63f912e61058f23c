"""Tests of subtitle files and transcripts that are read in the decoding process: whatever is in them, the application continues.

The processes are real, and so are their failures: Python starts them with a `sitecustomize` that replaces a part of the parser.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.core.progress import Cancelled, Progress
from longview.video.decoding.decoder import Decoder
from longview.video.errors import UnreadableSubtitles
from longview.video.probing.guard import Limits
from longview.video.subtitles.parsers import read_subtitles
from longview.video.subtitles.transcript import read_transcript

FAILING_PARSER = """
import os, re
from longview.video.subtitles import parsers, transcript

def fail(*arguments):
    if os.environ["FAILURE"] == "hang":
        re.match(r"(a|a)+$", "a" * 60 + "b")
    os.abort()

parsers.html_text = transcript.clean_text = fail
"""
LIMITS = Limits(stall_s=3.0)
SRT = "1\n00:00:01,000 --> 00:00:02,000\nWords.\n\n"


@pytest.fixture
def failing_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Decoder]:
    """A decoder whose processes fail in the way that is the parameter."""
    (tmp_path / "sitecustomize.py").write_text(FAILING_PARSER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("FAILURE", request.param)
    decoder = Decoder(LIMITS, processes=1)
    yield decoder
    decoder.close()


def read(decoder: Decoder, path: Path, progress: Progress) -> object:
    return decoder.transcript(path, progress) if path.suffix == ".txt" else decoder.subtitle_file(path, progress=progress)


@pytest.mark.parametrize(
    ("failing_decoder", "sentence"),
    [("hang", "Decoding hung for 3 s and was stopped"), ("crash", "The decoding process crashed")],
    indirect=["failing_decoder"],
)
@pytest.mark.parametrize("name", ["words.srt", "words.txt", pytest.param("words.vtt", marks=pytest.mark.slow)])
def test_parser_that_hangs_or_crashes_is_a_sentence(failing_decoder: Decoder, sentence: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(f"WEBVTT\n\n{SRT}" if name.endswith(".vtt") else SRT)
    with pytest.raises(UnreadableSubtitles, match=f"{name} cannot be read. {sentence}"):
        read(failing_decoder, path, Progress())


@pytest.mark.parametrize("failing_decoder", ["hang"], indirect=True)
@pytest.mark.parametrize("name", ["words.srt", "words.txt"])
def test_reading_that_hangs_can_be_cancelled(failing_decoder: Decoder, name: str, tmp_path: Path) -> None:
    path, progress = tmp_path / name, Progress()
    path.write_text(SRT)
    timer = threading.Timer(0.5, progress.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        read(failing_decoder, path, progress)


def test_large_files_arrive_whole(decoder: Decoder, tmp_path: Path) -> None:
    subtitles, transcript = tmp_path / "film.de.srt", tmp_path / "film.txt"
    words = 'é😀"' * 40
    times = (f"{index // 3600:02d}:{index // 60 % 60:02d}:{index % 60:02d},250" for index in range(5000))
    subtitles.write_text("".join(f"{time_} --> {time_}\n{index} {words}\n\n" for index, time_ in enumerate(times)))
    transcript.write_text("é😀 Wörter.\n" * 100_000)
    result = decoder.subtitle_file(subtitles, offset_s=1.5)
    assert len(result.segments) == 5000 and result == read_subtitles(subtitles, offset_s=1.5)
    assert decoder.transcript(transcript) == read_transcript(transcript)


def test_unreadable_file_does_not_end_the_process(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "words.srt"
    path.write_bytes(b"\0" * 100)
    process = decoder.pool.acquire()
    decoder.pool.release(process)
    with pytest.raises(UnreadableSubtitles, match="not a text file"):
        decoder.subtitle_file(path)
    path.write_text(SRT)
    assert [segment.text for segment in decoder.subtitle_file(path).segments] == ["Words."]
    assert decoder.pool.acquire() is process
    decoder.pool.release(process)
