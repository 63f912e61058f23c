"""Mentions: all places of one video where the words of a topic are said, written or shown."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longview.core.sources import traits_of
from longview.core.timeline import Span
from longview.indexing.search.quotes import Quote, sentences_in
from longview.indexing.sqlite.library import Library
from longview.indexing.text.sentences import Sentence
from longview.indexing.text.terms import match_terms, phrase_terms, query_terms

MIN_COVERAGE = 0.55
"""Minimum share of a topic's words, by their rarity in the video, that stand near each other where it is mentioned. A question
may name a topic in more words than the video."""
MAX_PASSAGES = 10_000
"""Maximum number of passages with a word of the topic that are examined."""
_NAME = re.compile(r"\b[A-Z][^\W\d_]++(?:\s++[A-Z][^\W\d_]++)++")
"""A name of several words, each with a capital letter."""
_CAPITALISED = re.compile(r"(?<=\s)[A-Z]\w+")
"""A word with a capital letter that does not begin a topic: mostly a name."""
MAX_NAME_CHARACTERS = 80
"""Maximum length of what is read before the last word of a name, in characters."""
NAME_FACTOR = 2.0
"""Factor of the weight of a word with a capital letter: "the book of Genesis" may be mentioned as "Genesis"."""
EXAMINED_PASSAGES = 20
"""Number of passages that tell the script of a video."""
_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof", "Professor", "Sir", "Lady", "President", "Captain", "Saint", "St")


def find_mentions(
    library: Library, topic: str, *, video_id: str, sources: Sequence[str], within: Span | None = None
) -> tuple[Quote, ...]:
    """Return all mentions of a topic, in order of time; none if its words do not stand near each other anywhere.

    `sources`, `within`: the only sources and the only part of the video that count.
    """
    sought = _Topic.of(library, topic, video_id)
    matching = library.tracks.match_terms(
        tuple(sought.weights), limit=MAX_PASSAGES, video_id=video_id, sources=sources, within=within
    )
    mentions: list[tuple[float, Quote]] = []
    for passage in sorted(library.tracks.passages_by_id(list(matching)).values(), key=lambda passage: passage.span):
        terms = sought.terms_in(passage.text)
        if sought.weight(terms) < MIN_COVERAGE * sought.weight(sought.weights):
            continue
        rarest = max(sought.weights[term] for term in terms)
        for sentence in sentences_in(library, passage, within):
            own = sought.terms_in(sentence.text)
            if any(sought.weights[term] >= rarest - 1e-9 for term in own):
                mentions.append((sought.weight(own), _quote(sentence, sought)))
    return _merge(mentions)


def count_occurrences(text: str, topic: str) -> int:
    """Return how often a text that mentions a topic has it: as often as the rarest of its words, at least once."""
    counts = Counter(match.term for match in match_terms(text, query_terms(topic)))
    return min(counts.values(), default=1)


def name_pattern(word: str) -> re.Pattern[str]:
    """Return an expression for the last word of a name."""
    return re.compile(rf"\b{re.escape(word)}\b")


@dataclass(frozen=True)
class _Name:
    """A name of several words, which is often shortened to the last one."""

    words: tuple[str, ...]
    terms: frozenset[str]

    def is_shortened_in(self, text: str) -> bool:
        """Whether a text has the last word as a name, and not as a part of another one: "Church Street" for "Upper Street"."""
        for match in name_pattern(self.words[-1]).finditer(text):
            before = text[max(0, match.start() - MAX_NAME_CHARACTERS) : match.start()].split()
            if not before or not before[-1][0].isupper() or before[-1].strip(".") in (*self.words, *_TITLES):
                return True
        return False


@dataclass(frozen=True)
class _Topic:
    """The terms of a topic, with their rarity in a video."""

    weights: dict[str, float]
    names: tuple[_Name, ...]
    """Names of the topic that the video has as a whole somewhere."""

    @classmethod
    def of(cls, library: Library, topic: str, video_id: str) -> "_Topic":
        """Weigh the words of a topic. A word in another script than the video's is left out, if the video does not have it."""
        total = library.tracks.passage_count(video_id)
        counts = {term: library.tracks.count_with_term(term, video_id) for term in query_terms(topic)}
        is_latin = _is_latin(library, [term for term, count in counts.items() if count], video_id)
        names_terms = {term for word in _CAPITALISED.findall(_NAME.sub(" ", topic)) for term in query_terms(word)}
        weights = {
            term: math.log((total + 1) / (count + 0.5)) * (NAME_FACTOR if term in names_terms else 1.0)
            for term, count in counts.items()
            if count or term.isascii() == is_latin
        }
        names = [
            _Name(tuple(name.split()), frozenset(query_terms(name)))
            for name in _NAME.findall(topic)
            if library.tracks.match_phrase(phrase_terms(name), limit=1, video_id=video_id)
        ]
        return cls(weights, tuple(names))

    def terms_in(self, text: str) -> frozenset[str]:
        """Return the terms that a text has. A shortened name has those of the whole one."""
        terms = {match.term for match in match_terms(text, tuple(self.weights))}
        for name in self.names:
            if name.is_shortened_in(text):
                terms |= name.terms & self.weights.keys()
        return frozenset(terms)

    def weight(self, terms: Iterable[str]) -> float:
        """Return the weight of some of the terms together."""
        return sum(self.weights[term] for term in terms)


def _is_latin(library: Library, terms: Sequence[str], video_id: str) -> bool:
    """Whether most letters of the passages with any of the terms are Latin."""
    matching = library.tracks.match_terms(tuple(terms), limit=EXAMINED_PASSAGES, video_id=video_id)
    letters = [letter for passage in library.tracks.passages_by_id(list(matching)).values() for letter in passage.text]
    return sum(letter.isascii() for letter in letters if letter.isalpha()) >= sum(map(str.isalpha, letters)) / 2


def _quote(sentence: Sentence, sought: _Topic) -> Quote:
    """Return a sentence as a quote, which begins with the first word of the topic."""
    starts_s = (word.span.start_s for word in sentence.words if sought.terms_in(word.text))
    start_s = next(starts_s, sentence.span.start_s)
    return Quote(Span(start_s, max(start_s, sentence.span.end_s)), sentence.text, sentence.source, sentence.language)


def _merge(mentions: Sequence[tuple[float, Quote]]) -> tuple[Quote, ...]:
    """Merge what speech and subtitles have at one time; the sentence with most of the words stands for it."""
    merged_quotes: list[tuple[float, Quote]] = []
    for weight, quote in sorted(dict.fromkeys(mentions), key=lambda item: item[1].span):
        at_this_time = (index for index, (_, other) in enumerate(merged_quotes) if other.span.overlap_s(quote.span) > 0)
        same = (index for index in at_this_time if _is_same_kind(merged_quotes[index][1], quote))
        index = next(same, None)
        if index is None:
            merged_quotes.append((weight, quote))
        elif weight > merged_quotes[index][0]:
            merged_quotes[index] = (weight, quote)
    return tuple(quote for _, quote in merged_quotes)


def _is_same_kind(quote: Quote, other: Quote) -> bool:
    """Whether two quotes at one time say the same: speech and subtitles do."""
    return quote.source != other.source and traits_of(quote.source).is_spoken and traits_of(other.source).is_spoken
