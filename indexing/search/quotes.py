"""Quotes: the sentences of one video that may answer a question, and the confidence that an answer is among them.

Passages are ranked by the score of the search plus `COVERAGE_WEIGHT` times their coverage of the question's words. A word counts
by its rarity in the video, and by the cosine of the most similar word of the passage, so that a paraphrase and another language
count too. The sum of the best coverage and half of the best cosine of a sentence tells questions that a video answers from those
about absent topics: on 36 questions about three transcripts its ROC AUC was 0.92, and that of the cosines alone 0.79
(docs/quality.md).
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import traits_of
from longview.core.timeline import Span, join_words
from longview.indexing.search.search import TERM_WEIGHT, score_passages
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.vectors import VectorIndex
from longview.indexing.text.passages import SCREEN_GAP_S, Passage
from longview.indexing.text.sentences import Sentence, sentences_of
from longview.indexing.text.terms import STOP_WORDS, query_terms

MAX_RANKED_PASSAGES = 30
"""Maximum number of passages whose words are compared with those of the question."""
COVERAGE_WEIGHT = 0.3
"""Weight of the coverage of the question's words, from 0 to 1, beside a cosine with the weight 1."""
SENTENCE_WEIGHT = 0.5
"""Weight of the best cosine of a sentence in the confidence, beside the best coverage with the weight 1."""
MIN_WORD_COSINE = 0.3
"""Cosine of two words up to which they have nothing in common; unrelated words have 0.1 to 0.3 with this encoder."""
SAME_WORD_COSINE = 0.95
"""Cosine from which two words count as the same one: inflections have 0.85 to 0.95."""
MISSING_NAME_PENALTY = 0.15
"""Reduction of the confidence for each name of the question that the video does not have, for at most two."""
MAX_MISSING_NAMES = 2
MAX_QUOTE_SENTENCES = 3
MAX_QUOTE_CHARACTERS = 320
"""Maximum size of a quote of several sentences, in characters."""
MIN_STANDING_S, MAX_LENGTH_RATIO = 60.0, 4.0
"""Minimum time of a line on screen that is left out of a slide, in seconds, and as a multiple of that of the shortest line."""
CONTEXT_S = 10.0
"""Time before and after a passage in which its first and last sentence may begin and end, in seconds."""
_QUESTION_WORDS = """
    according big call called come comes does doing far get goes going happen happens happening kind large long make makes many
    mean much often old one people person role say saying share show shown shows sort speak speaker speakers talk talks tell tells
    thing things think type video whose
    was wer wie wo wann warum wieso weshalb wozu welche welcher welches wird werden ist sind hat haben der die das ein eine und
    qué quién cómo dónde cuándo cuánto cuánta cuántos cuántas por para cuál es son está el la los las un una de del se
    que quoi qui comment où quand pourquoi combien quel quelle quels quelles est sont le les des du
    무엇 무슨 무엇을 뭐 뭐라고 뭘 어떤 어떻게 언제 어디 어디서 누구 누가 왜 얼마나 얼마 몇 대해 대해서는
"""
QUESTION_WORDS = frozenset(_QUESTION_WORDS.split())
"""Words of questions that say nothing about their subject, in the languages with most users."""
_GERMAN_WORDS = frozenset(
    ["der", "die", "das", "und", "ist", "wird", "hat", "wer", "wie", "wann", "warum", "wo", "welche", "den"]
)
"""Frequent words that tell a German question."""
_PRONOUN = re.compile(
    r"(?:he|she|they|it|his|her|their|this|that|these|those|er|sie|es|él|ella|ellos|ellas|il|elle|ils|elles)", re.IGNORECASE
)
_WORD = re.compile(r"[^\W_]++(?:['’][^\W\d_]++)*+")


@dataclass(frozen=True)
class Quote:
    """One to three consecutive sentences of one source."""

    span: Span
    text: str
    source: str
    language: str | None


@dataclass(frozen=True)
class QuoteMatches:
    """The quotes of a video that match a question best."""

    quotes: tuple[Quote, ...]
    """Best first."""
    confidence: float
    """The confidence that an answer is among the quotes, from 0 to 1."""


def find_quotes(
    library: Library,
    vectors: VectorIndex,
    question: str,
    *,
    video_id: str,
    within: Span | None = None,
    limit: int = 3,
    progress: Progress = NO_PROGRESS,
) -> QuoteMatches:
    """Return the quotes of a video that match a question best, in any of the encoder's languages.

    `within`: the only part of the video that is quoted.

    Raises:
        Cancelled: the operation was cancelled.
    """
    terms = query_terms(question)
    scores = score_passages(library, vectors, question, terms, MAX_RANKED_PASSAGES, video_id, within=within, progress=progress)
    passages = library.tracks.passages_by_id(list(scores))
    numbers = sorted(passages, key=lambda number: -scores[number].total)[:MAX_RANKED_PASSAGES]
    if not numbers:
        return QuoteMatches((), 0.0)
    words = _QuestionWords.of(library, vectors, question, video_id, [passages[number].text for number in numbers])
    coverages = {number: words.coverage(passages[number].text) for number in numbers}
    totals = {
        number: scores[number].cosine + TERM_WEIGHT * scores[number].terms + COVERAGE_WEIGHT * coverages[number]
        for number in numbers
    }
    best_numbers = sorted(numbers, key=lambda number: (-totals[number], passages[number].span))
    around = {number: _sentences_around(library, passages[number]) for number in best_numbers}
    sentences = {number: _inside(around[number], passages[number], within) for number in best_numbers}
    texts = list(dict.fromkeys(sentence.text for number in best_numbers for sentence in sentences[number]))
    cosines = dict(zip(texts, map(float, vectors.similarities(texts, question)), strict=True))
    quotes: list[Quote] = []
    for number in best_numbers:
        if len(quotes) == limit:
            break
        quote = _best_quote(vectors, question, words, sentences[number], around[number])
        if quote and not any(_is_same_place(quote, other) for other in quotes):
            quotes.append(quote)
    support = max(coverages.values()) + SENTENCE_WEIGHT * max(cosines.values(), default=0.0)
    support -= MISSING_NAME_PENALTY * min(MAX_MISSING_NAMES, words.missing_names)
    return QuoteMatches(tuple(quotes), round(min(1.0, max(0.0, support / (1 + SENTENCE_WEIGHT))), 4))


@dataclass(frozen=True)
class _QuestionWords:
    """The words of a question, and how similar the words of passages are to them."""

    weights: NDArray[np.float64]
    """Rarity of each word in the video (words,)."""
    similarities: dict[str, NDArray[np.float64]]
    """For each word of the passages: its similarity to each word of the question, 0 to 1 (words,)."""
    missing_names: int
    """Number of names of the question that the video does not have, though it is in the same script."""

    @classmethod
    def of(cls, library: Library, vectors: VectorIndex, question: str, video_id: str, texts: Sequence[str]) -> "_QuestionWords":
        """Compare the words of a question with all words of passages."""
        words = _content_words(question)
        vocabulary = list(dict.fromkeys(word for text in texts for word in _words(text)))
        total = library.tracks.passage_count(video_id)
        counts = {word: _count(library, word, video_id) for word in words}
        weights = np.array([math.log((total + 1) / (count + 0.5)) for count in counts.values()])
        cosines = vectors.embed([word.lower() for word in words]) @ vectors.embed(vocabulary).T
        similarities = np.clip((cosines - MIN_WORD_COSINE) / (1 - MIN_WORD_COSINE), 0.0, 1.0)
        similarities[cosines >= SAME_WORD_COSINE] = 1.0
        stems = {word: set(query_terms(word)) for word in (*words, *vocabulary)}
        for row, word in enumerate(words):
            for column, other in enumerate(vocabulary):
                if stems[word] and stems[word] <= stems[other]:
                    similarities[row, column] = 1.0
        # In German all nouns have capital letters.
        is_german = any(word.lower() in _GERMAN_WORDS for word in _WORD.findall(question))
        names = [word for word in _names(question) if counts.get(word) == 0 and not is_german]
        has_script = any(_script(word) == "LATIN" for word in vocabulary)
        columns = {word: similarities[:, column] for column, word in enumerate(vocabulary)}
        return cls(weights, columns, len(names) if has_script else 0)

    def coverage(self, text: str) -> float:
        """Return the share of the question's words that a text has, or has similar words to, by their weight."""
        columns = [self.similarities[word] for word in dict.fromkeys(_words(text)) if word in self.similarities]
        total = float(self.weights.sum())
        if not columns or total <= 0:
            return 0.0
        return float(self.weights @ np.max(columns, axis=0)) / total


def _content_words(question: str) -> list[str]:
    words = [word for word in dict.fromkeys(_WORD.findall(question)) if word.lower() not in STOP_WORDS]
    return [word for word in words if word.lower() not in QUESTION_WORDS] or words or _WORD.findall(question)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def _names(question: str) -> list[str]:
    """Return the words after the first one that begin with a Latin capital letter."""
    words = _WORD.findall(question)[1:]
    return [word for word in words if word[0].isupper() and len(word) > 1 and _script(word) == "LATIN"]


def _script(word: str) -> str:
    return unicodedata.name(word[0], "").split(" ")[0]


def _count(library: Library, word: str, video_id: str) -> int:
    """Return the number of passages of a video that have a word. A word of several terms is as frequent as its rarest one."""
    return min((library.tracks.count_with_term(term, video_id) for term in query_terms(word)), default=0)


def sentences_in(library: Library, passage: Passage, within: Span | None) -> tuple[Sentence, ...]:
    """Return the sentences of a passage, also those that begin before it or end after it."""
    return _inside(_sentences_around(library, passage), passage, within)


def _inside(sentences: Sequence[Sentence], passage: Passage, within: Span | None) -> tuple[Sentence, ...]:
    span = passage.span
    return tuple(
        sentence
        for sentence in sentences
        if sentence.span.overlap_s(span) > min(0.5, 0.4 * sentence.span.duration_s)
        and (within is None or sentence.span.overlap_s(within) > 0)
    )


def _sentences_around(library: Library, passage: Passage) -> tuple[Sentence, ...]:
    """Return the sentences of a passage and, of what is said, those just before and after it."""
    span = passage.span
    wider = Span(max(0.0, span.start_s - CONTEXT_S), span.end_s + CONTEXT_S) if traits_of(passage.source).is_spoken else span
    segments = [item.segment for item in library.tracks.segments(passage.video_id, passage.source, within=wider)]
    if traits_of(passage.source).is_spoken:
        segments = [segment for segment in segments if segment.language == passage.language]
    elif traits_of(passage.source).is_screen:
        # A line that stays for hours makes the passage as long, but the others begin with it.
        lines, latest_s = passage.text.split("\n"), span.start_s + SCREEN_GAP_S
        segments = [item for item in segments if item.text in lines and span.start_s <= item.span.start_s <= latest_s]
    else:
        segments = [segment for segment in segments if segment.text == passage.text]
    return sentences_of(segments)


def _best_quote(
    vectors: VectorIndex,
    question: str,
    words: _QuestionWords,
    sentences: Sequence[Sentence],
    around: Sequence[Sentence],
) -> Quote | None:
    """Return the consecutive sentences that match a question best, or all lines of a screen.

    `around`: the sentences, and those just before and after them.
    """
    if not sentences:
        return None
    if traits_of(sentences[0].source).is_screen:
        return screen_quote(sentences)
    runs = [
        sentences[start : start + count]
        for start in range(len(sentences))
        for count in range(1, MAX_QUOTE_SENTENCES + 1)
        if start + count <= len(sentences)
    ]
    runs = [run for run in runs if len(run) == 1 or _size(run) <= MAX_QUOTE_CHARACTERS]
    texts = [_text(run) for run in runs]
    cosines = vectors.similarities(texts, question)
    scores = [float(cosine) + COVERAGE_WEIGHT * words.coverage(text) for cosine, text in zip(cosines, texts, strict=True)]
    run = runs[max(range(len(runs)), key=lambda index: scores[index])]
    if len(run) > 1 and _ends_with_question(run[-1].text) and words.coverage(_text(run[:-1])) >= words.coverage(_text(run)):
        # The next question of a talk is not part of an answer.
        run = run[:-1]
    return _quote(_in_context(run, around))


def screen_quote(lines: Sequence[Sentence]) -> Quote:
    """Return lines that appear together as one quote, from top to bottom as far as they are stored in that order."""
    shortest_s = min(line.span.duration_s for line in lines)
    # A line that stays for the whole video, such as the name of a channel, is not part of the slide that it begins with.
    lines = [line for line in lines if line.span.duration_s <= max(MIN_STANDING_S, MAX_LENGTH_RATIO * shortest_s)]
    span = Span(min(line.span.start_s for line in lines), max(line.span.end_s for line in lines))
    return Quote(span, " / ".join(line.text for line in lines), lines[0].source, lines[0].language)


def _in_context(run: Sequence[Sentence], around: Sequence[Sentence]) -> Sequence[Sentence]:
    """Return consecutive sentences with those without which they cannot be understood.

    A pronoun at the beginning refers to the sentence before it. A question is followed by its answer.
    """
    run = list(run)
    start, end = around.index(run[0]), around.index(run[-1]) + 1
    first = _WORD.search(run[0].text)
    if start > 0 and first and _PRONOUN.fullmatch(first[0]) and _size(run) <= MAX_QUOTE_CHARACTERS:
        run.insert(0, around[start - 1])
    if all(_ends_with_question(sentence.text) for sentence in run):
        run += around[end : end + 2]
    return run


def _ends_with_question(text: str) -> bool:
    return text.rstrip("\"'”’»)] ").endswith(("?", "？"))


def _quote(run: Sequence[Sentence]) -> Quote:
    span = Span(run[0].span.start_s, max(sentence.span.end_s for sentence in run))
    return Quote(span, _text(run), run[0].source, run[0].language)


def _text(run: Sequence[Sentence]) -> str:
    return join_words((sentence.text for sentence in run), run[0].language)


def _size(run: Sequence[Sentence]) -> int:
    return sum(len(sentence.text) for sentence in run)


def _is_same_place(quote: Quote, other: Quote) -> bool:
    """Whether two quotes are of one time. Speech and subtitles say the same there."""
    is_same_kind = quote.source == other.source or (traits_of(quote.source).is_spoken and traits_of(other.source).is_spoken)
    return is_same_kind and quote.span.overlap_s(other.span) > 0
