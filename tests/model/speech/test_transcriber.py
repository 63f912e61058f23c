"""Recognised words get their times in the video, across the silences that were removed, and become sentences."""

import numpy as np
import pytest

from longview.core.timeline import Span, Word
from longview.model.speech.recognizer import RecognizedWord
from longview.model.speech.transcriber import divide_words, timed_words
from longview.model.speech.voice_activity import SpeechChunk, SpeechPart

CHUNK = SpeechChunk(
    np.zeros(16_000 * 8, np.float32), (SpeechPart(0.0, Span(10.0, 13.0)), SpeechPart(3.0, Span(60.0, 65.0))), done_s=65.0
)
"""Three seconds of speech from 10 s on, and five from 60 s on, without the silence between."""


def recognized(*words: tuple[str, float, float]) -> list[RecognizedWord]:
    return [RecognizedWord(text, start_s, end_s, 0.9) for text, start_s, end_s in words]


def test_words_get_the_times_of_their_own_part() -> None:
    words = timed_words(
        recognized((" one", 0.5, 1.0), (" two", 2.5, 3.1), (" three", 2.9, 3.6), (" four", 7.5, 9.0)), CHUNK, "en"
    )
    spans = [(word.text, word.span.start_s, word.span.end_s) for word in words]
    # A word that reaches over the removed silence is in one part, and begins after the padding of the detector.
    assert spans == [("one", 10.5, 11.0), ("two", 12.5, 13.0), ("three", 60.15, 60.6), ("four", 64.5, 65.0)]


def test_pieces_without_a_space_belong_to_the_word_before() -> None:
    pieces = recognized((" by", 0, 0.2), (" 4", 0.2, 0.4), ("%", 0.4, 0.6), (" gym", 0.6, 0.8), ("nasium", 0.8, 1.2))
    assert [word.text for word in timed_words(pieces, CHUNK, "en")] == ["by", "4%", "gymnasium"]
    unspaced = recognized(("今日", 0, 0.4), (" Python", 0.4, 0.6), ("を", 0.6, 0.7), ("使う", 0.7, 1.0))
    assert [word.text for word in timed_words(unspaced, CHUNK, "ja")] == ["今日", "Python", "を", "使う"]


@pytest.mark.parametrize("start_s", [0.0, 3600.0])
def test_words_are_divided_at_sentences_and_pauses(start_s: float) -> None:
    words, time_s = [], start_s
    for text in ["Good", "morning.", "We", "begin", "<pause>", "now,", "with", "“questions?”", "Yes"]:
        if text == "<pause>":
            time_s += 1.5
            continue
        words.append(Word(Span(time_s, time_s + 0.3), text, 0.9))
        time_s += 0.4
    texts = [" ".join(word.text for word in part) for part in divide_words(words)]
    assert texts == ["Good morning.", "We begin", "now, with “questions?”", "Yes"]


def test_text_without_punctuation_is_divided_all_the_same() -> None:
    words = [Word(Span(number, number + 1), f"word{number}", 0.9) for number in range(200)]
    parts = list(divide_words(words))
    assert [word for part in parts for word in part] == words
    assert max(sum(len(word.text) + 1 for word in part) for part in parts) < 420
