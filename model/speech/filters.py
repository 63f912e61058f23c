"""Removal of words that were not said: Whisper makes up text for sound without speech, and repeats itself.

The thresholds are those of Whisper's own decoding (`decode_with_fallback` in openai/whisper, transcribe.py), where not said
otherwise.
"""

import re
import unicodedata
from collections.abc import Sequence

from longview.core.scripts import split_sentences
from longview.model.speech.recognizer import Recognition, RecognizedWord

MAX_COMPRESSION_RATIO = 2.4
"""Compression ratio of the text from which it is a loop."""
MAX_NO_SPEECH_PROBABILITY = 0.6
"""Probability of no speech from which a text with a low log probability is made up."""
MIN_LOGPROB = -1.0
"""Mean log probability of a token below which a text is unreliable."""
MIN_CONFIDENCE = 0.3
"""Mean probability of the words below which a text is dropped. Noise that passed the voice activity detector had 0.1 to 0.25,
speech with loud music had 0.5 or more."""
MIN_PASSAGE_WORDS = 12
"""Minimum number of different words of a passage that may be said twice; loops have fewer."""
MAX_REPEATS = 3
"""Maximum number of times that a phrase may follow itself; speakers rarely say one four times."""
MAX_PHRASE_WORDS = 8
"""Maximum length of a repeated phrase, in words."""
DOUBTFUL_NO_SPEECH_PROBABILITY = 0.2
"""Probability of no speech from which a known closing phrase is made up."""
DOUBTFUL_CONFIDENCE = 0.6
"""Mean probability of the words below which a known closing phrase is made up."""
_PUNCTUATION = re.compile(r"[^\w\s]")
CLOSING_PHRASES = frozenset(
    {
        "thank you",
        "thank you for watching",
        "thanks for watching",
        "thank you very much for watching",
        "please subscribe",
        "please subscribe to my channel",
        "dont forget to like and subscribe",
        "see you in the next video",
        "see you next time",
        "bye",
        "you",
        "music",
        "applause",
        "subtitles by the amaraorg community",
        "subtitles by amaraorg",
        "untertitel der amaraorg community",
        "untertitelung des zdf für funk 2017",
        "untertitel im auftrag des zdf für funk 2017",
        "soustitrage société radiocanada",
        "soustitres réalisés par la communauté damaraorg",
        "subtítulos realizados por la comunidad de amaraorg",
        "sottotitoli creati dalla comunità amaraorg",
        "legendas pela comunidade amaraorg",
        "редактор субтитров асемкин корректор аегорова",
        "продолжение следует",
        "ご視聴ありがとうございました",
        "チャンネル登録お願いします",
        "おやすみなさい",
        "시청해주셔서 감사합니다",
        "시청해 주셔서 감사합니다",
        "구독과 좋아요 부탁드립니다",
        "한글자막 by 한효정",
        "字幕由amaraorg社区提供",
        "由amaraorg社群提供的字幕",
        "谢谢观看",
        "感谢观看",
        "請不吝點贊訂閱轉發打賞支持明鏡與點點欄目",
        "请不吝点赞订阅转发打赏支持明镜与点点栏目",
    }
)
"""Phrases that Whisper makes up for silence and music, without punctuation and case: the ends of the subtitled videos that it was
trained on (openai/whisper, discussions 679 and 928)."""


def spoken_words(recognition: Recognition) -> tuple[RecognizedWord, ...]:
    """Return the words of a recognised chunk that were likely said; none if the text is made up as a whole."""
    words = recognition.words
    if not words:
        return ()
    is_repetitive = recognition.compression_ratio > MAX_COMPRESSION_RATIO
    if is_repetitive or sum(word.probability for word in words) / len(words) < DOUBTFUL_CONFIDENCE:
        # Speakers do repeat themselves: only a doubtful text is shortened.
        words = remove_repetitions(words)
    confidence = sum(word.probability for word in words) / len(words)
    is_silent = recognition.no_speech_probability > MAX_NO_SPEECH_PROBABILITY and recognition.mean_logprob < MIN_LOGPROB
    # Where a repetition was removed, the ratio of the rest is unknown, and the words before it are good. A long passage that is
    # said twice, as in a chorus, compresses as well as a loop does, but it has many words, and they are not doubtful.
    is_passage = confidence >= DOUBTFUL_CONFIDENCE and len({word.text.strip().casefold() for word in words}) >= MIN_PASSAGE_WORDS
    is_loop = is_repetitive and len(words) == len(recognition.words) and not is_passage
    if is_silent or is_loop or confidence < MIN_CONFIDENCE:
        return ()
    is_doubtful = recognition.no_speech_probability > DOUBTFUL_NO_SPEECH_PROBABILITY or confidence < DOUBTFUL_CONFIDENCE
    if is_doubtful and _are_closing_phrases("".join(word.text for word in words)):
        return ()
    return words


def remove_repetitions(words: Sequence[RecognizedWord]) -> tuple[RecognizedWord, ...]:
    """Remove a phrase that follows itself more than `MAX_REPEATS` times, except its first occurrence."""
    result = list(words)
    texts = [_normalize(word.text) for word in result]
    start = 0
    while start < len(result):
        for length in range(1, MAX_PHRASE_WORDS + 1):
            phrase, repeats = texts[start : start + length], 1
            while phrase and texts[start + repeats * length : start + (repeats + 1) * length] == phrase:
                repeats += 1
            if len(phrase) == length and repeats > MAX_REPEATS:
                del result[start + length : start + repeats * length]
                del texts[start + length : start + repeats * length]
                break
        start += 1
    return tuple(result)


def _are_closing_phrases(text: str) -> bool:
    """Whether each sentence of a text is a known closing phrase."""
    sentences = [_normalize(sentence) for sentence in split_sentences(text)]
    return _normalize(text) in CLOSING_PHRASES or all(sentence in CLOSING_PHRASES for sentence in sentences if sentence)


def _normalize(text: str) -> str:
    letters = unicodedata.normalize("NFKC", text).lower()
    return " ".join(_PUNCTUATION.sub("", letters).split())
