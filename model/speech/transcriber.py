"""Transcription: blocks of sound on the video's clock -> segments of speech with words, chunk by chunk."""

import re
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.scripts import UNSPACED_LANGUAGES, ends_sentence
from longview.core.timeline import Segment, Span, Word, join_words
from longview.model.speech.filters import spoken_words
from longview.model.speech.recognizer import Language, RecognizedWord, SpeechRecognizer
from longview.model.speech.voice_activity import SpeechChunk, speech_chunks
from longview.video.decoding.audio import AudioBlock

SOURCE = "speech"
MIN_SHARE_AFTER_PAUSE = 0.25
"""Minimum share of a word after a pause, by the recogniser's times, at which all of it is after the pause."""
ONSET_S = 0.15
"""Time from the start of a piece of speech to its first word, in seconds. The detector's padding is before it, or half of a short
silence."""
MAX_PAUSE_S = 1.0
"""Pause that ends a segment, in seconds."""
MAX_SEGMENT_CHARACTERS = 250
"""Length from which a segment ends at the next comma or pause, in characters."""
MIN_PAUSE_S = 0.25
"""Pause at which a long segment may end, in seconds."""
MAX_RUN_ON_CHARACTERS = 400
"""Length at which a segment ends between any two words, in characters."""
_CLAUSE_END = re.compile(r"[,;:，、；：]['\"”’)\]]*$")


@dataclass(frozen=True)
class TranscribedChunk:
    """The segments of one chunk of speech."""

    segments: tuple[Segment, ...]
    done_s: float
    """Time up to which the sound is transcribed, in seconds."""
    language: Language
    duration_s: float
    """Speech in the chunk, in seconds."""
    seconds_spent: float = 0.0
    """Time that its recognition took, in seconds."""


def transcribe(
    recognizer: SpeechRecognizer,
    blocks: Iterable[AudioBlock],
    *,
    language: str | None = None,
    expected: Language | None = None,
    vocabulary: str | None = None,
    done_s: float = 0.0,
    progress: Progress = NO_PROGRESS,
) -> Generator[TranscribedChunk]:
    """Yield the segments of consecutive blocks of sound, in order of time.

    `language`, `expected` and `vocabulary`: see `SpeechRecognizer.recognize`. `done_s`: time up to which chunks are left out,
    because an earlier run has recognised them, in seconds.

    Raises:
        Cancelled: the operation was cancelled.
    """
    for chunk in speech_chunks(blocks):
        if chunk.done_s <= done_s:
            continue
        started_s = time.monotonic()
        recognition = recognizer.recognize(
            chunk.samples, language=language, expected=expected, vocabulary=vocabulary, progress=progress
        )
        spent_s = time.monotonic() - started_s
        words = timed_words(spoken_words(recognition), chunk, recognition.language)
        if words or expected is None:
            expected = Language(recognition.language, recognition.language_probability)
        segments = tuple(_segment(part, recognition.language) for part in divide_words(words))
        yield TranscribedChunk(segments, chunk.done_s, expected, chunk.duration_s, spent_s)


def timed_words(words: Sequence[RecognizedWord], chunk: SpeechChunk, language: str) -> list[Word]:
    """Return words with their times in the video.

    In languages with spaces, a piece that does not begin with a space belongs to the word before it.
    """
    is_spaced = language not in UNSPACED_LANGUAGES
    result: list[Word] = []
    for word in words:
        # A word does not reach over a silence that was removed. Whisper begins the first word after a pause too early.
        part = chunk.part_at(word.end_s - (word.end_s - word.start_s) * MIN_SHARE_AFTER_PAUSE)
        start_s = chunk.time_s(max(word.start_s, part.offset_s + (ONSET_S if part.span.start_s > 0 else 0.0)))
        end_s = min(max(part.span.start_s + word.end_s - part.offset_s, start_s), part.span.end_s)
        start_s = max(start_s, result[-1].span.start_s) if result else start_s
        text = word.text.strip()
        if is_spaced and result and not word.text.startswith(" "):
            before = result[-1]
            span = Span(before.span.start_s, max(before.span.end_s, end_s))
            confidence = min(before.confidence or 0.0, word.probability)
            result[-1] = Word(span, before.text + text, round(confidence, 3))
        elif text:
            result.append(Word(Span(start_s, max(start_s, end_s)), text, round(word.probability, 3)))
    return result


def divide_words(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Divide words into sentences: at punctuation and at pauses."""
    part: list[Word] = []
    for word in words:
        if part and _ends_before(part, word):
            yield part
            part = []
        part.append(word)
    if part:
        yield part


def _ends_before(part: Sequence[Word], word: Word) -> bool:
    pause_s = word.span.start_s - part[-1].span.end_s
    length = sum(len(item.text) + 1 for item in part)
    if pause_s > MAX_PAUSE_S or ends_sentence(part[-1].text) or length > MAX_RUN_ON_CHARACTERS:
        return True
    return length > MAX_SEGMENT_CHARACTERS and (pause_s > MIN_PAUSE_S or bool(_CLAUSE_END.search(part[-1].text)))


def _segment(words: Sequence[Word], language: str) -> Segment:
    confidences = [word.confidence for word in words if word.confidence is not None]
    return Segment(
        Span(words[0].span.start_s, max(word.span.end_s for word in words)),
        join_words([word.text for word in words], language),
        SOURCE,
        language,
        round(sum(confidences) / len(confidences), 3) if confidences else None,
        tuple(words),
    )
