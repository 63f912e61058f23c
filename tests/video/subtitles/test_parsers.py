"""Tests of subtitle files: their encodings, formats and defects, and the files that belong to a video."""

import math
import tempfile
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longview.core.timeline import Span
from longview.video.errors import UnreadableSubtitles
from longview.video.language_tags import language_code
from longview.video.subtitles.cues import MAX_CUE_CHARACTERS
from longview.video.subtitles.encoding import read_text_file
from longview.video.subtitles.parsers import MAX_SUBTITLE_BYTES, SubtitleFile, read_subtitles
from longview.video.subtitles.sidecars import find_sidecars
from tests.support.sentences import SENTENCES, lines_of

UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
FILES_IN_ENCODINGS = [(language, encoding) for language, (legacy, _) in SENTENCES.items() for encoding in (*legacy, *UNICODE)]
ASS_HEAD = "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nStyle: broken\n\n[Events]\n"


def srt(texts: list[str]) -> str:
    return "".join(
        f"{index + 1}\r\n00:00:{index:02d},000 --> 00:00:{index:02d},900\r\n{text}\r\n\r\n" for index, text in enumerate(texts)
    )


def parse_subtitles(content: bytes, name: str, *, offset_s: float = 0.0) -> SubtitleFile:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        return read_subtitles(Path(folder, name), offset_s=offset_s)


def parse(text: str, name: str = "film.srt") -> SubtitleFile:
    return parse_subtitles(text.encode(), name)


def cues(subtitles: SubtitleFile) -> list[tuple[float, float, str]]:
    return [(segment.span.start_s, segment.span.end_s, segment.text) for segment in subtitles.segments]


@pytest.mark.parametrize(("language", "encoding"), FILES_IN_ENCODINGS)
def test_text_is_right_in_every_encoding(language: str, encoding: str) -> None:
    lines = lines_of(language)
    for size in (len(lines), 5):
        for first in range(0, len(lines), size):
            subtitles = parse_subtitles(srt(lines[first : first + size]).encode(encoding), "film.srt")
            assert [segment.text for segment in subtitles.segments] == lines[first : first + size]
            assert not subtitles.problems


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("cp1253", ["Το νερό βράζει στους εκατό βαθμούς.", "Πού πηγαίνεις τώρα;", "Θα φύγουμε αύριο το πρωί."]),
        ("cp1254", ["Su yüz derecede kaynar.", "Şimdi nereye gidiyorsun?", "Yarın sabah erkenden yola çıkalım."]),
        ("cp874", ["น้ำเดือดที่หนึ่งร้อยองศา", "ตอนนี้คุณจะไปไหน", "พรุ่งนี้เราออกเดินทางแต่เช้า"]),
        ("koi8-r", ["Вода кипит при ста градусах.", "Куда ты сейчас идёшь?", "Давай выедем завтра рано утром."]),
        ("iso8859-2", ["Woda wrze w stu stopniach.", "Dokąd teraz idziesz, siostro?", "Jutro rano wyruszymy wcześnie."]),
    ],
)
def test_text_of_three_subtitles_is_right_in_rarer_encodings(encoding: str, lines: list[str]) -> None:
    subtitles = parse_subtitles(srt(lines).encode(encoding), "film.srt")
    assert [segment.text for segment in subtitles.segments] == lines and not subtitles.problems


def test_language_in_a_wrong_name_does_not_damage_the_text() -> None:
    for language in ("ru", "el", "ja"):
        (segment,) = parse_subtitles(srt(["Größere Häuser stehen drüben."]).encode("cp1252"), f"film.{language}.srt").segments
        assert segment.text == "Größere Häuser stehen drüben."


@pytest.mark.parametrize("language", ["pl", "cs", "hu", "ru", "ko"])
def test_language_in_the_name_decides_for_a_single_sentence(language: str) -> None:
    (encoding,) = SENTENCES[language][0]
    for line in lines_of(language):
        (segment,) = parse_subtitles(srt([line]).encode(encoding), f"film.{language}.srt").segments
        assert segment.text == line


def test_few_damaged_bytes_in_utf8_are_reported() -> None:
    content = srt(["물은 백 도에서 끓습니다."] * 8).encode()
    subtitles = parse_subtitles(content.replace("끓".encode(), b"\xff", 1), "film.srt")
    assert [segment.text for segment in subtitles.segments[1:]] == ["물은 백 도에서 끓습니다."] * 7
    assert subtitles.problems == ("1 character of the file cannot be decoded as utf-8.",)


@pytest.mark.parametrize("format", ["srt", "vtt", "ass", "ssa"])
def test_well_formed_files_are_read_as_by_pysubs2(format: str) -> None:
    source = pysubs2.SSAFile()
    for index in range(200):
        text = rf"Line {index}, with a comma\N{{\i1}}and{{\i0}} a second line"
        source.append(pysubs2.SSAEvent(start=index * 61_230, end=index * 61_230 + 1_500, text=text))
    expected = [(line.start / 1000, line.end / 1000, " ".join(line.plaintext.split())) for line in source]
    assert cues(parse(source.to_string(format), f"film.{format}")) == expected


@pytest.mark.parametrize(
    ("text", "expected", "problems"),
    [
        ("1\n100:00:01,000 --> 100:00:02,5\nHour 100", [(360001.0, 360002.5, "Hour 100")], 0),
        ("1\n00:00:05,000 --> 00:00:06,000\nlater\n\n2\n00:00:01,000 --> 00:00:02,000\nearlier",
         [(1, 2, "earlier"), (5, 6, "later")], 0),
        ("-00:00:03,000 --> -00:00:01,000\ngone\n\n-00:00:01,000 --> 00:00:02,000\ncut", [(0, 2, "cut")], 2),
        ("00:00:09,000 --> 00:00:02,000\ngone\n\n00:00:01,000 --> 00:00:02,000\nok", [(1, 2, "ok")], 1),
        ("00:00:01,000 --> 00:00:02,000\nsame\n\n00:00:01,000 --> 00:00:02,000\nsame", [(1, 2, "same")], 1),
        ("00:00:01,000 --> 00:00:03,000\none\n\n00:00:02,000 --> 00:00:04,000\ntwo", [(1, 3, "one"), (2, 4, "two")], 0),
        ("00:00:01,000 --> 00:0x:02,000\ngone\n\n00:00:01,000 --> 00:00:02,000\nok", [(1, 2, "ok")], 1),
        ("1\r\r\n00:00:01.5 --> 00:00:02.25 X1:40\r\r\n1984\r\r\n\r\r\n2\r\r\n0:0:3,0-->0:0:4,0\r\r\nok",
         [(1.5, 2.25, "1984"), (3, 4, "ok")], 0),
    ],
    ids=["hour 100", "order", "negative", "reversed", "duplicate", "overlap", "broken times", "loose syntax"],
)  # fmt: skip
def test_defects_of_srt_files(text: str, expected: list[tuple[float, float, str]], problems: int) -> None:
    subtitles = parse(text)
    assert cues(subtitles) == expected
    assert len(subtitles.problems) == problems


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (r"{\an8}<font color='red'>stop</font> &amp; <b>go</b><br>now", "stop & go now"),
        ("he said <unk> {EXIT} 1 < 2", "he said <unk> {EXIT} 1 < 2"),
        ("AT&T?a=1&copy=2 &lt;i&gt;", "AT&T?a=1&copy=2 <i>"),
        ("\u202etxet\u202c\x00\x07 two\tlines\nof\u2028text\ufeff", "txet two lines of text"),
    ],
)
def test_markup_becomes_plain_text(markup: str, text: str) -> None:
    assert cues(parse(f"00:00:01,000 --> 00:00:02,000\n{markup}")) == [(1, 2, text)]


def test_webvtt_blocks_and_settings_are_not_text() -> None:
    subtitles = parse(
        "\ufeffWEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\nintro\n"
        "00:01.000 --> 00:02.000 align:left line:0\n<v Anna>Hello <c.loud>there</c>\n\nNOTE\na comment\nof two lines\n\n"
        "7\n01:00:00.000 --> 01:00:01.000\nBye &lt;3\n"
    )
    assert cues(subtitles) == [(1, 2, "Hello there"), (3600, 3601, "Bye <3")]


def test_lines_of_rolling_captions_appear_once() -> None:
    subtitles = parse(
        "WEBVTT\n\n00:01.000 --> 00:03.000\n \nfirst<00:01.500><c> line</c>\n\n00:03.000 --> 00:03.010\nfirst line\n \n\n"
        "00:03.010 --> 00:05.000\nfirst line\nsecond<00:04.000><c> line</c>\n\n00:05.000 --> 00:05.010\nsecond line\n \n"
    )
    assert cues(subtitles) == [(1, 3, "first line"), (3.01, 5, "second line")]


def test_ass_shows_dialogue_without_drawings_and_tags() -> None:
    subtitles = parse(
        ASS_HEAD + "Format: Start, End, Layer, Text\n"
        r"Dialogue: 0:00:01.00,0:00:02.50,0,{\k20}ka{\k30}ra{\pos(1,2)}oke,\Nwith\hcomma {a note}" + "\n"
        r"Dialogue: 0:00:03.00,0:00:04.00,0,{\p1}m 0 0 l 100 0{\p0}sign" + "\n"
        "Comment: 0:00:05.00,0:00:06.00,0,hidden\n"
        r"Dialogue: 0:00:03.00,0:00:04.00,1,{\bord3}sign" + "\n"
        "Dialogue: soon,0:00:04.00,0,gone\n"
    )
    assert cues(subtitles) == [(1, 2.5, "karaoke, with comma"), (3, 4, "sign")]
    assert len(subtitles.problems) == 2


def test_clipping_leaves_out_what_follows_the_video() -> None:
    text = "00:00:01,000 --> 00:00:20,000\nlong\n\n00:10:00,000 --> 00:10:01,000\nfar"
    clipped = parse(text).clipped_to(10.0)
    assert cues(clipped) == [(1, 10, "long")]
    assert clipped.problems == ("1 subtitle starts after the end of the video (0:00:10.0) and was left out.",)


def test_an_offset_moves_all_times() -> None:
    subtitles = parse_subtitles(b"00:00:01,000 --> 00:00:02,000\na\n\n00:00:05,000 --> 00:00:06,000\nb", "a.srt", offset_s=-1.5)
    assert cues(subtitles) == [(0, 0.5, "a"), (3.5, 4.5, "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"WEBVTT\n\n", "contains no subtitles"),
        (b"Dear diary, today nothing happened.", "contains no subtitles"),
        (b"\0\0\0\x20ftypisom" + bytes(range(256)) * 64, "not a text file"),
        (b"\xff\xfe" + bytes(range(256)) * 64, "not a text file"),
        (b"0" * (MAX_SUBTITLE_BYTES + 1), "more than 20 MB"),
    ],
    ids=["empty", "blank", "header only", "prose", "video", "audio", "large"],
)
def test_a_file_without_subtitles_is_one_clear_error(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_bytes(content)
    with pytest.raises(UnreadableSubtitles, match=message) as error:
        read_subtitles(path)
    assert error.value.code == "unreadable_subtitles"


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.srt", Path("/dev/zero"), Path("a\0.srt")):
        with pytest.raises(UnreadableSubtitles):
            read_subtitles(path)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.sampled_from(["", "WEBVTT\n\n", ASS_HEAD]))
def test_any_content_gives_finite_sorted_times_or_an_error(content: bytes, head: str) -> None:
    times = b"00:00:01,000 --> 99:99:99,999\n" if not head.startswith("[") else b"Dialogue: 0,0:00:01.00,9999:99:99.99,D,,0,0,0,,"
    try:
        subtitles = parse_subtitles(head.encode() + times + content, "film.srt")
    except UnreadableSubtitles:
        return
    spans = [segment.span for segment in subtitles.segments]
    assert spans == sorted(spans)
    assert all(math.isfinite(span.end_s) and span.start_s >= 0 for span in spans)


def test_sidecars_are_those_of_this_video(tmp_path: Path) -> None:
    mine = ["Film.srt", "film.en.VTT", "film.forced.srt", "film.part2b.srt", "film.pt-BR.ass"]
    others = ["film2.srt", "film.part2.srt", "film.part2.en.srt", "film.txt", "a film.srt"]
    for name in (*mine, *others, "film.mp4", "film.part2.mp4"):
        (tmp_path / name).write_text(name)
    (tmp_path / "film.de.srt").mkdir()
    assert [path.name for path in find_sidecars(tmp_path / "film.mp4")] == mine
    assert [path.name for path in find_sidecars(tmp_path / "film.part2.mp4")] == ["film.part2.srt", "film.part2.en.srt"]
    assert find_sidecars(tmp_path / "none" / "film.mp4") == ()


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("film.srt", None), ("film.en.srt", "en"), ("film.pt-BR.forced.srt", "pt"), ("film.zh-Hant.srt", "zh"),
        ("film.eng.hi.srt", "en"), ("film.hi.srt", "hi"), ("film.1080p.srt", None), ("film.forced.srt", None),
    ],
)  # fmt: skip
def test_language_of_a_file_name(name: str, language: str | None) -> None:
    (segment,) = parse("00:00:01,000 --> 00:00:02,000\ntext", name).segments
    assert segment.language == language
    assert segment.span == Span(1, 2)


def test_language_codes_are_iso_639_1_where_there_is_one() -> None:
    tags = ("kor", "eng", "ger", "deu", "zh-Hant", "pt_BR", "JPN", "gsw", "und", "", "klingon")
    assert [language_code(tag) for tag in tags] == ["ko", "en", "de", "de", "zh", "pt", "ja", "gsw", None, None, None]


@pytest.mark.parametrize("end", [b"\r" * 1_000_000, b"\r\r\n" * 100_000, b" " * 300_000 + b"x", b"<1:" * 100_000, b"1" * 300_000])
@pytest.mark.timeout(60)
def test_file_of_one_repeated_text_is_read_at_once(end: bytes) -> None:
    subtitles = parse_subtitles(srt(["Words."]).encode() + end, "film.srt")
    assert subtitles.segments[0].text.startswith("Words.")


@pytest.mark.parametrize(
    ("head", "cue"),
    [
        ("", b"00:00 --> 00:01\na\n"),
        ("WEBVTT\n\n", b"00:00.000 --> 00:01.000\na\n\n"),
        (ASS_HEAD, b"Dialogue: 0,0:00:01.00,0:00:02.00,,,,,,,a\n"),
    ],
    ids=["srt", "vtt", "ass"],
)
@pytest.mark.timeout(60)
def test_too_many_cues_are_refused_before_they_are_parsed(head: str, cue: bytes) -> None:
    content = head.encode() + cue * ((MAX_SUBTITLE_BYTES - 1000) // len(cue))
    with pytest.raises(UnreadableSubtitles, match="more than 200000 subtitles"):
        parse_subtitles(content, "film.srt")


def test_text_of_a_cue_is_cut_where_no_subtitle_is_as_long() -> None:
    subtitles = parse(srt(["a" * 20_000, "b" * MAX_CUE_CHARACTERS]))
    assert [segment.text for segment in subtitles.segments] == ["a" * MAX_CUE_CHARACTERS, "b" * MAX_CUE_CHARACTERS]
    assert subtitles.problems == ("1 subtitle has more than 10000 characters and was cut.",)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_long_file_of_unmarked_utf16_is_read(tmp_path: Path, encoding: str) -> None:
    # More than is examined, and the first letter outside of ASCII comes late.
    cues = [f"{number}\n00:00:{number % 60:02d},000 --> 00:00:{number % 60:02d},900\nPlain words.\n" for number in range(1, 1500)]
    text = "\n".join([*cues, "1500\n00:25:00,000 --> 00:25:01,000\nNaïve café, schön.\n"])
    path = tmp_path / "long.srt"
    path.write_bytes(text.encode(encoding))
    assert read_text_file(path, max_bytes=1 << 20).text.endswith("Naïve café, schön.\n")
