"""Sentences: the segments of speech and subtitles, joined and divided at the ends of sentences, so that they can be quoted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longview.core.scripts import UNSPACED_LANGUAGES, ends_sentence
from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span, Word, join_words
from longview.indexing.text.passages import timed_words

MAX_SENTENCE_S = 20.0
"""Maximum length of a sentence, in seconds. Automatic transcripts may have no punctuation."""
MAX_PAUSE_S = 2.0
"""Maximum pause within a sentence, in seconds."""
_UNSPACED_END = re.compile(r"(?<=[。！？!?…])")
"""The end of a sentence in a text without spaces."""


@dataclass(frozen=True)
class Sentence:
    """A sentence that is said, or a line or caption as it stands."""

    span: Span
    text: str
    source: str
    language: str | None
    words: tuple[Word, ...] = ()
    """The words of a sentence that is said, with their times; estimated where the source has none."""


def sentences_of(segments: Sequence[Segment]) -> tuple[Sentence, ...]:
    """Return the sentences of segments, in order of time.

    Captions and lines on screen are sentences as they are. Segments of each other source and language are joined and divided at
    the ends of sentences.
    """
    sentences = [
        Sentence(segment.span, segment.text, segment.source, segment.language)
        for segment in segments
        if not traits_of(segment.source).is_spoken
    ]
    keys = dict.fromkeys((segment.source, segment.language) for segment in segments if traits_of(segment.source).is_spoken)
    for source, language in keys:
        own_segments = [segment for segment in segments if (segment.source, segment.language) == (source, language)]
        sentences += [
            Sentence(_span(words), _join(words, language), source, language, tuple(words)) for words in _divide(own_segments)
        ]
    return tuple(sorted(sentences, key=lambda sentence: (sentence.span, sentence.source)))


def _divide(segments: Sequence[Segment]) -> Iterator[list[Word]]:
    words: list[Word] = []
    for segment in sorted(segments, key=lambda segment: segment.span):
        # A language without spaces has no words here; its segments are divided where a sentence ends within them.
        for word in _words(segment):
            if words and (
                word.span.start_s - words[-1].span.end_s > MAX_PAUSE_S
                or word.span.end_s - words[0].span.start_s > MAX_SENTENCE_S
                or ends_sentence(words[-1].text)
            ):
                yield words
                words = []
            words.append(word)
    if words:
        yield words


def _words(segment: Segment) -> Iterator[Word]:
    if segment.words or segment.language not in UNSPACED_LANGUAGES:
        yield from timed_words(segment)
        return
    parts = [part for part in _UNSPACED_END.split(segment.text) if part.strip()]
    total, position = max(1, len("".join(parts))), 0
    for part in parts:
        start_s = segment.span.start_s + segment.span.duration_s * position / total
        position += len(part)
        yield Word(Span(start_s, segment.span.start_s + segment.span.duration_s * position / total), part.strip())


def _span(words: Sequence[Word]) -> Span:
    return Span(words[0].span.start_s, max(word.span.end_s for word in words))


def _join(words: Sequence[Word], language: str | None) -> str:
    return join_words((word.text for word in words), language)
