"""Tests of subtitle streams of real containers, read in the decoding process."""

from pathlib import Path

import pytest

from longview.core.progress import Cancelled, Progress
from longview.video.decoding.decoder import Decoder
from longview.video.errors import UnreadableSubtitles
from tests.support.barcodes import run_ffmpeg

SOURCE = ("-f", "lavfi", "-i", "testsrc2=duration=4:rate=10:size=64x64")
SRT = """1
00:00:00,500 --> 00:00:01,000
<i>Hello</i> {\\an8}there,
second line

2
00:00:01,200 --> 00:00:02,000
일본어 日本語, comma

3
00:00:01,200 --> 00:00:03,000
the end
"""
EXPECTED = [(0.5, 1.0, "Hello there, second line"), (1.2, 2.0, "일본어 日本語, comma"), (1.2, 3.0, "the end")]
CONTAINERS = {
    "subrip.mkv": ("-c:v", "libx264", "-c:s", "copy"),
    "ass.mkv": ("-c:v", "libx264", "-c:s", "ass"),
    "webvtt.webm": ("-c:v", "libvpx", "-c:s", "webvtt"),
    "mov_text.mp4": ("-c:v", "libx264", "-c:s", "mov_text"),
    "late.mkv": ("-c:v", "libx264", "-c:s", "subrip", "-output_ts_offset", "100"),
}


def make(folder: Path, name: str, srt: str = SRT) -> Path:
    (folder / "words.srt").write_text(srt, encoding="utf-8")
    target = folder / name
    languages = ("-metadata:s:s:0", "language=ger")
    run_ffmpeg(*SOURCE, "-i", str(folder / "words.srt"), "-map", "0:v", "-map", "1:s", *CONTAINERS[name], *languages, str(target))
    return target


@pytest.mark.parametrize("name", CONTAINERS)
def test_stream_is_read_with_the_times_of_players(name: str, tmp_path: Path, decoder: Decoder) -> None:
    # mov_text shows one text at a time, so that overlapping subtitles follow each other.
    srt = SRT.replace("00:00:01,200 --> 00:00:03,000", "00:00:02,000 --> 00:00:03,000")
    expected = [*EXPECTED[:2], (2.0, 3.0, "the end")]
    video = decoder.probe(make(tmp_path, name, srt))
    (stream,) = video.subtitle_streams
    subtitles = decoder.subtitles(video, stream.index)
    assert [segment.text for segment in subtitles.segments] == [text for *_, text in expected]
    times_s = [time_s for segment in subtitles.segments for time_s in (segment.span.start_s, segment.span.end_s)]
    assert times_s == pytest.approx([time_s for start_s, end_s, _ in expected for time_s in (start_s, end_s)], abs=1e-3)
    assert {segment.language for segment in subtitles.segments} == {"de"}
    assert subtitles.problems == ()


def test_many_long_subtitles_arrive_in_batches(tmp_path: Path, decoder: Decoder) -> None:
    texts = [f"{index}" + f" {'ü' * 900}" * 4 for index in range(300)]
    cues = (text.replace(" ", "\n") for text in texts)
    srt = "".join(f"{index}\n00:00:00,{index:03d} --> 00:00:03,000\n{cue}\n\n" for index, cue in enumerate(cues))
    video = decoder.probe(make(tmp_path, "subrip.mkv", srt))
    subtitles = decoder.subtitles(video, video.subtitle_streams[0].index)
    assert [segment.text for segment in subtitles.segments] == texts


def test_damaged_subtitles_are_left_out_and_counted(tmp_path: Path, decoder: Decoder) -> None:
    path = make(tmp_path, "subrip.mkv")
    video = decoder.probe(path)
    data = path.read_bytes()
    path.write_bytes(data.replace("일".encode(), b"\xff\xff\xff"))
    subtitles = decoder.subtitles(video, video.subtitle_streams[0].index)
    assert [segment.text for segment in subtitles.segments] == [EXPECTED[0][2], EXPECTED[2][2]]
    assert subtitles.problems == ("1 subtitle is damaged and was left out.",)


def test_subtitles_before_the_damage_of_a_cut_file_are_read(tmp_path: Path, decoder: Decoder) -> None:
    path = make(tmp_path, "subrip.mkv")
    video = decoder.probe(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"the end")])
    subtitles = decoder.subtitles(video, video.subtitle_streams[0].index)
    assert [segment.text for segment in subtitles.segments] == [EXPECTED[0][2], EXPECTED[1][2]]


def test_streams_without_text_are_refused(tmp_path: Path, decoder: Decoder) -> None:
    run_ffmpeg(*SOURCE, "-c:v", "libx264", str(tmp_path / "a.mkv"))
    (tmp_path / "words.srt").write_text(SRT, encoding="utf-8")
    video = decoder.probe(tmp_path / "a.mkv")
    with pytest.raises(UnreadableSubtitles, match="no subtitle stream 0"):
        decoder.subtitles(video, 0)


def test_reading_can_be_cancelled(tmp_path: Path, decoder: Decoder) -> None:
    video = decoder.probe(make(tmp_path, "subrip.mkv"))
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        decoder.subtitles(video, video.subtitle_streams[0].index, progress)
