"""Speech as subtitles: cues and lines by convention, at the times of the words."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longview.core.timeline import Segment, Span, Word, join_words
from longview.indexing.exports import export_segments
from longview.indexing.exports.cues import MAX_CUE_S, MIN_CUE_S, MIN_GAP_S, Cue, lay_out
from longview.indexing.exports.layout import convention, line_columns, line_text
from longview.video.ffmpeg import ffmpeg_path
from tests.support.library_samples import sample_entry

ENTRY = sample_entry("aaaaaaaaaaaa")
ALICE = """Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice
she had peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is the use of a
book," thought Alice "without pictures or conversations?" So she was considering in her own mind (as well as she could, for the
hot day made her feel very sleepy and stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting
up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her. There was nothing so very remarkable in
that; nor did Alice think it so very much out of the way to hear the Rabbit say to itself, "Oh dear! Oh dear! I shall be late!"
In another moment down went Alice after it, never once considering how in the world she was to get out again. The rabbit-hole
went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had not a moment to think about
stopping herself before she found herself falling down a very deep well."""


def spoken(text: str, *, start_s: float = 0.0, characters_per_s: float = 15.0) -> tuple[Word, ...]:
    """Return the words of a text as a person speaks them, with pauses after sentences and clauses."""
    words = []
    for word in text.split():
        end_s = start_s + (len(word) + 1) / characters_per_s
        words.append(Word(Span(start_s, end_s), word))
        start_s = end_s + (0.5 if re.search(r"[.!?]\W*$", word) else 0.2 if re.search(r"[,;:]\W*$", word) else 0.0)
    return tuple(words)


def speech(words: tuple[Word, ...], language: str = "en") -> Segment:
    span = Span(words[0].span.start_s, words[-1].span.end_s)
    return Segment(span, join_words((word.text for word in words), language), "speech", language, words=words)


def lines(cue: Cue) -> list[str]:
    return [line_text(line) for line in cue.lines]


def text(cue: Cue) -> str:
    return " ".join(lines(cue))


def test_natural_speech_breaks_at_punctuation() -> None:
    words = spoken(ALICE)
    cues = lay_out([speech(words[:100]), speech(words[100:])], 1000.0)
    assert " ".join(map(text, cues)) == " ".join(ALICE.split())
    punctuated = [cue for cue in cues if re.search(r"[.,;:!?]\W*$", text(cue))]
    # Cues that are filled with words one after another end at punctuation only by chance: one in seven in this text.
    assert len(punctuated) >= 0.85 * len(cues)
    starts_s = {word.span.start_s for word in words}
    for cue in cues:
        assert cue.span.start_s in starts_s
        assert MIN_CUE_S <= cue.span.duration_s <= MAX_CUE_S
        assert len(text(cue)) / cue.span.duration_s <= 17
        widths = [len(line) for line in lines(cue)]
        assert len(widths) <= 2 and max(widths) <= 42
        assert len(widths) == 1 or min(widths) >= 0.5 * max(widths)


def test_an_abbreviation_ends_no_sentence() -> None:
    sentence = "We met Mr. Smith, Dr. Jones and J. Brown at approx. noon in the old harbour of the town. They had come by boat."
    words = tuple(Word(Span(k / 3, (k + 1) / 3), word) for k, word in enumerate(sentence.split()))
    ends = {text(cue).split()[-1] for cue in lay_out([speech(words)], 1000.0)}
    assert not {"Mr.", "Dr.", "J.", "approx."} & ends
    assert "town." in ends


def test_short_neighbouring_segments_share_a_cue() -> None:
    segments = [speech(spoken("Yes.", start_s=1)), speech(spoken("No.", start_s=1.5)), speech(spoken("No.", start_s=9))]
    cues = lay_out(segments, 1000.0)
    assert [(text(cue), cue.span.start_s) for cue in cues] == [("Yes. No.", 1.0), ("No.", 9.0)]
    other = Segment(Span(1.2, 1.4), "No.", "speech", "de", words=(Word(Span(1.2, 1.4), "No."),))
    assert len(lay_out([segments[0], other], 1000.0)) == 2


def test_a_cue_is_extended_into_silence_only() -> None:
    words = (Word(Span(1, 1.2), "Extraordinarily."), Word(Span(3, 3.4), "Short."), Word(Span(4.05, 4.5), "Last."))
    first, second, last = lay_out([speech((word,)) for word in words], 4.6)
    assert first.span == Span(1, 2)
    # A gap of 0.05 s would flicker.
    assert second.span == Span(3, 4.05)
    assert last.span == Span(4.05, 4.6)


def test_captions_keep_their_spans_and_speech_is_divided() -> None:
    long_text = " ".join(ALICE.split())
    cues = lay_out([Segment(Span(0, 120), long_text, "captions"), Segment(Span(0, 60), long_text, "speech", "en")], 120.0)
    caption, *spoken_cues = sorted(cues, key=lambda cue: cue.source)
    assert caption.span == Span(0, 120) and text(caption) == long_text
    # The source states no times of words: they are estimated from the length of the text.
    assert " ".join(map(text, spoken_cues)) == long_text
    assert max(len(cue.lines) for cue in spoken_cues) == 2
    assert max(cue.span.end_s for cue in spoken_cues) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ja", "どこで生れたかとんと見当がつかぬ。iPhone 15 Pro を買った。「ニャーニャー」と泣いていた事だけは記憶している。"),
        ("zh", "今天我们要讨论一个非常重要的话题，就是人工智能对未来教育的影响，这个问题很多人都在关心。"),
        ("th", "สวัสดีครับ วันนี้ผมจะมาพูดเรื่องการเดินทางไปเชียงใหม่ ซึ่งเป็นจังหวัดที่สวยงามมาก"),
    ],
)
def test_text_without_spaces_keeps_its_text(language: str, sentence: str) -> None:
    # Recognisers state a time for each character, without the spaces of the text.
    characters = [Word(Span(k / 6, (k + 1) / 6), character) for k, character in enumerate(sentence) if character != " "]
    cues = lay_out([Segment(Span(0, 60), sentence, "speech", language, words=tuple(characters))], 60.0)
    assert " ".join("".join(lines(cue)) for cue in cues).replace(" ", "") == sentence.replace(" ", "")
    assert language != "ja" or any("iPhone 15 Pro を買った。" in line for cue in cues for line in lines(cue))
    for cue in cues:
        for line in cue.lines:
            assert line_columns(line) <= convention(language).line_columns
            assert not re.match("[、。，ー」ャっ\u0e30-\u0e3a\u0e47-\u0e4e]", line_text(line))
            assert not re.search("[「เแโใไ]$", line_text(line))


def test_join_words_puts_spaces_where_the_language_does() -> None:
    assert [join_words(["a", "b"], language) for language in ("en", None, "ko", "ja", "zh", "th", "lo", "km", "my")] == [
        *["a b"] * 3,
        *["ab"] * 6,
    ]


def test_words_that_miss_a_part_of_the_text_do_not_hide_it() -> None:
    (cue,) = lay_out([Segment(Span(0, 3), "one two three", "speech", "en", words=(Word(Span(0, 1), "two"),))], 3.0)
    assert text(cue) == "one two three"


def test_words_at_one_time_are_all_shown() -> None:
    words = tuple(Word(Span(2, 12), word) for word in ALICE.split()[:40])
    cues = lay_out([speech(words)], 20.0)
    assert " ".join(map(text, cues)) == join_words((word.text for word in words), "en")
    assert min(cue.span.duration_s for cue in cues) > 1


def test_an_overlapping_subtitle_hides_no_words() -> None:
    timed = Segment(Span(0, 4), "One two.", "subtitles", words=(Word(Span(3, 3.5), "One"), Word(Span(3.5, 4), "two.")))
    cues = lay_out([timed, Segment(Span(1, 2), "Sign", "subtitles")], 20.0)
    assert [(text(cue), cue.span) for cue in cues] == [("Sign", Span(1, 2)), ("One two.", Span(3, 4))]


def test_vtt_with_words_has_increasing_timestamps() -> None:
    words = (Word(Span(1, 1.4), "A"), Word(Span(1.5, 2), "<b>"), Word(Span(1.5, 2), "--> &"), Word(Span(3605, 3606), "late."))
    content = export_segments("vtt", ENTRY, [speech(words)], word_times=True)
    assert "A <00:00:01.500>&lt;b&gt; --&gt; &amp;\n" in content
    assert "01:00:05.000 --> 01:00:06.000\nlate.\n" in content


def test_vtt_with_words_is_read_by_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "words.vtt").write_text(export_segments("vtt", ENTRY, [speech(spoken(ALICE))], word_times=True), encoding="utf-8")
    command = [ffmpeg_path(), "-v", "error", "-i", "words.vtt", "-f", "srt", "-"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    plain = pysubs2.SSAFile.from_string(export_segments("srt", ENTRY, [speech(spoken(ALICE))]), format_="srt")
    read = pysubs2.SSAFile.from_string(result.stdout, format_="srt")
    assert [(line.start, line.end, line.plaintext) for line in read] == [(line.start, line.end, line.plaintext) for line in plain]


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    """Segments of one language in order of time, whose words do not overlap."""
    language = draw(st.sampled_from(["en", "ja", "ko", "th"]))
    alphabet = {"en": "ab,.?-1&é", "ja": "あ漢ー。、「」a", "ko": "한글.,", "th": "กเา่."}[language]
    word_texts = st.text(alphabet, min_size=1, max_size=12) | st.text(alphabet, min_size=60, max_size=90)
    result, time_s = [], 0.0
    for word_count in draw(st.lists(st.integers(1, 25), min_size=1, max_size=5)):
        words = []
        for _ in range(word_count):
            start_s = time_s + draw(st.sampled_from([0.0, 0.0, 0.05, 0.4, 3.0]))
            time_s = start_s + draw(st.floats(0.05, 1.5))
            words.append(Word(Span(start_s, time_s), draw(word_texts)))
        result.append(speech(tuple(words), language))
    return result


@settings(max_examples=60, deadline=None)
@given(segments())
def test_cues_of_any_speech_keep_the_conventions(spoken_segments: list[Segment]) -> None:
    cues = lay_out(spoken_segments, 1e6)
    words = [word for segment in spoken_segments for word in segment.words]
    assert "".join("".join(lines(cue)) for cue in cues).replace(" ", "") == "".join(word.text for word in words)
    starts_s = {word.span.start_s for word in words}
    columns = convention(spoken_segments[0].language).line_columns
    for cue, following in pairwise([*cues, Cue(Span(1e6, 1e6), (), "speech")]):
        gap_s = following.span.start_s - cue.span.end_s
        assert gap_s == 0 or gap_s >= MIN_GAP_S - 1e-9
        assert cue.span.duration_s <= MAX_CUE_S + 1e-9
        assert cue.span.duration_s >= min(MIN_CUE_S, following.span.start_s - cue.span.start_s - MIN_GAP_S) - 1e-9
        assert len(cue.lines) <= 2 and all(line_columns(line) <= columns for line in cue.lines)
        # A word that is wider than a line may be divided between cues, and so may one that begins with what may not begin a line.
        assert cue.span.start_s in starts_s or any(len(word.text) > 25 or word.text[0] in "、。」ー" for word in words)
    for format in ("srt", "vtt"):
        content = export_segments(format, ENTRY, spoken_segments)
        assert len(pysubs2.SSAFile.from_string(content, format_=format)) == len(cues)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 9), st.text(max_size=9)), min_size=1, max_size=30))
def test_words_in_any_order_give_cues_in_order(raw: list[tuple[float, float, str]]) -> None:
    words = tuple(Word(Span(start_s, start_s + duration_s), word) for start_s, duration_s, word in raw)
    cues = lay_out([Segment(Span(0, 20), "", "speech", "en", words=words)], 20.0)
    assert all(cue.span.end_s <= following.span.start_s for cue, following in pairwise(cues))
    assert all(any(line_text(line).strip() for line in cue.lines) for cue in cues)
