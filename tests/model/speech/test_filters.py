"""Words that were not said are removed: loops, closing phrases of subtitled videos, and text for sound without speech."""

import pytest

from longview.model.speech.filters import remove_repetitions, spoken_words
from longview.model.speech.recognizer import Recognition, RecognizedWord


def words(text: str, probability: float = 0.9) -> tuple[RecognizedWord, ...]:
    return tuple(RecognizedWord(f" {word}", number, number + 0.5, probability) for number, word in enumerate(text.split()))


def recognition(
    text: str, *, probability: float = 0.9, logprob: float = -0.2, no_speech: float = 0.05, ratio: float = 1.4
) -> Recognition:
    return Recognition(words(text, probability), "en", 0.9, logprob, no_speech, ratio)


def text_of(result: tuple[RecognizedWord, ...]) -> str:
    return "".join(word.text for word in result).strip()


@pytest.mark.parametrize(
    "made_up",
    [
        recognition("Thanks for watching!", no_speech=0.4),
        recognition("Thank you. Thank you.", probability=0.5),
        recognition("ご視聴ありがとうございました", probability=0.4),
        recognition("Subtitles by the Amara.org community", no_speech=0.3),
        recognition("some words about nothing", no_speech=0.8, logprob=-1.3),
        recognition("oh well you know it is that", probability=0.15),
        recognition("la li lu " * 3, ratio=3.1),
        recognition("so we can see that this is the way to do it again and " * 2, ratio=2.5, probability=0.5),
    ],
    ids=lambda item: text_of(item.words)[:25],
)
def test_text_for_sound_without_speech_is_removed(made_up: Recognition) -> None:
    assert spoken_words(made_up) == ()


@pytest.mark.parametrize(
    "said",
    [
        recognition("Thank you."),
        recognition("Thanks for watching the birds with us", no_speech=0.4),
        recognition("That is all I know about it", no_speech=0.7, logprob=-0.4),
        recognition("No no no no I said no, pin 0 0 0 0 seven"),
        # A chorus, or a passage that is played twice, in one chunk.
        recognition(
            "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for it. " * 2, ratio=2.5
        ),
    ],
    ids=lambda item: text_of(item.words)[:25],
)
def test_words_that_were_said_stay(said: Recognition) -> None:
    assert spoken_words(said) == said.words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("we go " + "on and on " * 9 + "home", "we go on and on home"),
        ("yes " * 30, "yes"),
        ("the end. " * 4, "the end."),
        ("no no no never", "no no no never"),
    ],
)
def test_repeated_phrase_is_kept_once(text: str, expected: str) -> None:
    assert text_of(remove_repetitions(words(text))) == expected


def test_words_before_a_loop_stay_whatever_the_ratio() -> None:
    result = spoken_words(recognition("this was said " + "and then " * 20, ratio=5.0))
    assert text_of(result) == "this was said and then"
