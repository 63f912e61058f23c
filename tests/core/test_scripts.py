"""Where a sentence ends, in several scripts and with abbreviations; one rule for transcripts, replies and subtitles."""

import pytest

from longview.core.scripts import ends_sentence, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Lee came. She left!", ["Dr. Lee came.", "She left!"]),
        ("Das gilt z.B. hier. Ja.", ["Das gilt z.B. hier.", "Ja."]),
        ("He said “no.” Then he went", ["He said “no.”", "Then he went"]),
        ("これは猫です。「はい。」犬もいます", ["これは猫です。", "「はい。」", "犬もいます"]),
        ("क्या यह है। हाँ।", ["क्या यह है।", "हाँ।"]),
        ("a line\nJ. R. Smith\n\nlast", ["a line", "J. R. Smith", "last"]),
        ("3.5 metres. No. He left.", ["3.5 metres.", "No.", "He left."]),
        ("", []),
    ],
    ids=["title", "German", "quotation", "Japanese", "Hindi", "lines", "number", "empty"],
)
def test_text_is_split_at_the_ends_of_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("word", "following", "is_end"),
    [
        ("end.", "The", True),
        ("Mr.", "", False),
        ("(z.B.", "", False),
        ("approx.", "five", False),
        ("what?”", "he", True),
        ("a", "", False),
    ],
)
def test_word_ends_a_sentence(word: str, following: str, is_end: bool) -> None:
    assert ends_sentence(word, following) is is_end
