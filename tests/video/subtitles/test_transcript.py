"""Tests of transcripts without times, which are placed at the times of recognised words."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from longview.core.timeline import Segment, Span, Word
from longview.video.errors import UnreadableSubtitles
from longview.video.subtitles.transcript import MAX_TRANSCRIPT_BYTES, align_transcript, read_transcript
from tests.support.sentences import SENTENCES, lines_of

ENDS = ["", *(f"{middle}{end}" for middle in ("r", "st", "l", "nd", "k") for end in ("a", "en", "os", "ing", "u", "ix", "al"))]
VOCABULARY = [f"{start}{middle}{end}" for start in "bdfgklmn" for middle in "aeiou" for end in ENDS]


def spoken(texts: Sequence[str], start_s: float = 0.0) -> list[Word]:
    """Return words of half a second each, without pauses."""
    words = " ".join(texts).split()
    return [Word(Span(start_s + index / 2, start_s + index / 2 + 0.5), word) for index, word in enumerate(words)]


def sentences(count: int, seed: int = 0) -> list[str]:
    """Return sentences of 10 words in which frequent words are as frequent as in speech."""
    source = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(VOCABULARY))]
    return [" ".join(source.choices(VOCABULARY, weights, k=10)).capitalize() + "." for _ in range(count)]


def misheard(words: Sequence[Word], share: float) -> list[Word]:
    """Replace, leave out or repeat a share of the words."""
    source, result = random.Random(1), []
    for word in words:
        error = source.random() / share
        if error < 0.6:
            result.append(Word(word.span, source.choice(VOCABULARY)))
        elif not 0.6 <= error < 0.8:
            result += [word] * (2 if error < 1 else 1)
    return result


def greatest_error_s(segments: Sequence[Segment], texts: Sequence[str]) -> float:
    """Return the greatest difference between the edges of segments and the true times of `spoken(texts)`, in seconds."""
    starts_s = {text: 5.0 * index for index, text in enumerate(texts)}
    return max(
        max(abs(segment.span.start_s - starts_s[segment.text]), abs(segment.span.end_s - starts_s[segment.text] - 5))
        for segment in segments
    )


def test_spoken_sentences_get_the_times_of_their_words() -> None:
    text = (
        "# Episode 4: *The river*\n\nANNA: Hello, **everybody**! We talk about [rivers](https://example.org/a).\n[laughter]\n\n"
        "Dr. Brown: It\u2019s over-\nrated, if you\nask me.\n\nThis passage was cut from the video before it was published.\n"
    )
    heard = spoken(["hello every body we talk about rivers its over rated if you asked me"], start_s=10)
    alignment = align_transcript(text, heard)
    assert [(segment.text, segment.span) for segment in alignment.segments] == [
        ("ANNA: Hello, everybody!", Span(10, 11.5)),
        ("We talk about rivers.", Span(11.5, 13.5)),
        ("Dr. Brown: It\u2019s over- rated, if you ask me.", Span(13.5, 17)),
    ]
    assert alignment.unmatched == (
        "Episode 4: The river",
        "[laughter]",
        "This passage was cut from the video before it was published.",
    )
    assert alignment.unmatched_share == pytest.approx(9 / 26)
    assert {segment.source for segment in alignment.segments} == {"subtitles"}


def test_misrecognised_sentence_stands_between_its_neighbours() -> None:
    text = "The ash fell on the town for days.\nPhreatomagmatic Krakatoa!\nThe sound was heard far away from the island."
    heard = [
        "the ash fell on the town for days",
        "free at a magnetic cracker toe",
        "the sound was heard far away from the island",
    ]
    alignment = align_transcript(text, spoken(heard))
    assert [segment.text for segment in alignment.segments] == text.split("\n")
    first, second, third = (segment.span for segment in alignment.segments)
    assert first.end_s <= second.start_s < second.end_s <= third.start_s
    assert second.duration_s == pytest.approx(3.0)


def test_words_between_matched_ones_get_interpolated_times() -> None:
    heard = [Word(Span(1, 2), "alpha"), Word(Span(2, 3), "beta"), Word(Span(6, 7), "gamma"), Word(Span(30, 31), "delta")]
    (segment,) = align_transcript("Alpha beta one seven gamma.", heard).segments
    times = [(word.text, word.span.start_s, word.span.end_s) for word in segment.words]
    assert times[:2] == [("Alpha", 1, 2), ("beta", 2, 3)]
    assert times[2:] == [("one", 3, 4.125), ("seven", 4.125, 6), ("gamma.", 6, 7)]


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_recognition_errors_move_sentences_little(share: float) -> None:
    texts = sentences(300)
    alignment = align_transcript("\n".join(texts), misheard(spoken(texts), share))
    assert len(alignment.segments) >= 298
    assert alignment.unmatched_share < 0.02
    assert greatest_error_s(alignment.segments, texts) < 4


def test_passages_that_only_one_side_has_move_nothing() -> None:
    texts = sentences(400)
    heard = [word for word in spoken(texts) if not 500 <= word.span.start_s < 800]
    transcript = [*texts[:250], *sentences(60, seed=9), *texts[280:]]
    alignment = align_transcript("\n".join(transcript), misheard(heard, 0.1))
    placed = [segment for segment in alignment.segments if segment.text in texts]
    assert len(placed) >= 400 - 60 - 30 - 2
    assert len(alignment.segments) - len(placed) <= 2
    assert greatest_error_s(placed, texts) < 4


def test_another_video_is_mostly_unmatched() -> None:
    alignment = align_transcript("\n".join(sentences(300, seed=1)), spoken(sentences(300, seed=2)))
    assert alignment.unmatched_share > 0.9
    assert len(alignment.segments) <= 15


def test_three_hours_take_seconds() -> None:
    texts = sentences(3000)
    heard = misheard(spoken(texts), 0.2)
    begin_s = time.process_time()
    alignment = align_transcript("\n".join(texts), heard)
    assert time.process_time() - begin_s < 10
    assert len(alignment.segments) >= 2990
    assert greatest_error_s(alignment.segments, texts) < 4


@pytest.mark.parametrize("language", ["ko", "ja", "zh-Hans", "fr", "ru"])
def test_sentences_of_every_script_are_placed(language: str) -> None:
    texts = lines_of(language)
    joined = "".join(texts).replace(" ", "") if language in ("ko", "ja", "zh-Hans") else " ".join(texts)
    # Recognisers split Japanese and Chinese into pieces of one or a few characters, and write Korean with other spaces.
    pieces = [joined[at : at + 2] for at in range(0, len(joined), 2)] if " " not in joined else joined.lower().split()
    alignment = align_transcript("\n".join(texts), spoken([" ".join(pieces)]))
    assert " ".join(segment.text for segment in alignment.segments) == " ".join(texts)
    assert alignment.unmatched_share == 0
    spans = [segment.span for segment in alignment.segments]
    assert spans == sorted(spans)
    assert spans[0].start_s == 0
    assert spans[-1].end_s == pytest.approx(len(pieces) / 2, abs=0.5)
    for segment in alignment.segments:
        assert "".join(word.text for word in segment.words).replace(" ", "") == segment.text.replace(" ", "")


def test_text_without_punctuation_is_split_between_words() -> None:
    words = " ".join(sentences(40)).replace(".", "").lower()
    segments = align_transcript(words, spoken([words])).segments
    assert " ".join(segment.text for segment in segments) == words
    assert all(segment.span.duration_s <= 40 for segment in segments)


@pytest.mark.parametrize("text", ["", "\n\n", "# ---", "[music]", "a\n" * 9_000, "*[_" * 9_000, "a:" * 9_000, "世" * 9_000])
def test_degenerate_transcripts_are_unmatched_without_delay(text: str) -> None:
    begin_s = time.process_time()
    alignment = align_transcript(text, spoken(["something else"]))
    assert (alignment.segments, alignment.unmatched_share) == ((), 1.0)
    assert align_transcript(text, []).segments == ()
    assert time.process_time() - begin_s < 2


@pytest.mark.parametrize("language", ["ko", "ja", "pl", "ru"])
def test_transcripts_in_legacy_encodings_are_read(language: str, tmp_path: Path) -> None:
    path, text = tmp_path / "film.txt", "\n".join(lines_of(language))
    path.write_bytes(text.encode(SENTENCES[language][0][0]))
    assert read_transcript(path) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"---\n", "no words"),
        (b"\0\1\2" * 99, "not a text file"),
        (b"a " * MAX_TRANSCRIPT_BYTES, "more than 4 MB"),
    ],
    ids=["empty", "no words", "binary", "large"],
)
def test_files_that_are_no_transcripts_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "film.txt").write_bytes(content)
    with pytest.raises(UnreadableSubtitles, match=message):
        read_transcript(tmp_path / "film.txt")
