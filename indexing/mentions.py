"""Mentions: all places of one video where the words of a topic are said, written or shown."""

import math
import re
from collections.abc import Sequence

from longview.indexing.library import Library
from longview.indexing.passages import Passage, is_windowed
from longview.indexing.quotes import Quote, sentences_in
from longview.indexing.sentences import Sentence
from longview.indexing.terms import match_terms, query_terms
from longview.video.timeline import Span

MIN_COVERAGE = 0.6
"""Minimum share of a topic's words, by their rarity in the video, that stand near each other where it is mentioned. A question
may name a topic in more words than the video."""
MAX_PASSAGES = 10_000
_NAME = re.compile(r"\b(?:[A-Z][\w'’-]+|\w*\d\w*)(?:\s+(?:[A-Z][\w'’-]+|\w*\d\w*))*")
"""A run of words that begin with a capital letter or have a digit."""
MAX_GAP_S = 10.0
"""Maximum time between two sentences of one mention, in seconds."""


def find_mentions(
    library: Library, topic: str, *, video_id: str, sources: Sequence[str], within: Span | None = None
) -> tuple[Quote, ...]:
    """Return all mentions of a topic, in order of time; none if its words do not stand near each other anywhere.

    `sources`, `within`: the only sources and the only part of the video that count.
    """
    terms = query_terms(_essential_words(topic))
    total = library.tracks.passage_count(video_id)
    weights = {term: math.log((total + 1) / (library.tracks.count_with_term(term, video_id) + 0.5)) for term in terms}
    least = MIN_COVERAGE * sum(weights.values())
    matching = library.tracks.match_terms(terms, limit=MAX_PASSAGES, video_id=video_id, sources=sources)
    mentions: list[tuple[float, Quote]] = []
    for passage in sorted(library.tracks.passages_by_id(list(matching)).values(), key=lambda passage: passage.span):
        if _weight(passage.text, weights) >= least and (within is None or passage.span.overlap_s(within) > 0):
            mentions += _in_passage(library, passage, weights, within)
    return _merge(mentions)


def _essential_words(topic: str) -> str:
    """Return the last word of each name in a topic, or all of a topic without names: people are mentioned by their last names."""
    return " ".join(name.split()[-1] for name in _NAME.findall(topic)) or topic


def _in_passage(library: Library, passage: Passage, weights: dict[str, float], within: Span | None) -> list[tuple[float, Quote]]:
    """Return the sentences of a passage that have the rarest of its words, each with the weight of all its words."""
    sentences = sentences_in(library, passage, within)
    present = {match.term for match in match_terms(passage.text, tuple(weights))}
    rarest = max(weights[term] for term in present)
    return [
        (_weight(sentence.text, weights), _quote(sentence))
        for sentence in sentences
        if any(weights[match.term] >= rarest - 1e-9 for match in match_terms(sentence.text, tuple(weights)))
    ]


def _weight(text: str, weights: dict[str, float]) -> float:
    return sum(weights[term] for term in {match.term for match in match_terms(text, tuple(weights))})


def _quote(sentence: Sentence) -> Quote:
    return Quote(sentence.span, sentence.text, sentence.source, sentence.language)


def _merge(mentions: Sequence[tuple[float, Quote]]) -> tuple[Quote, ...]:
    """Merge what is mentioned at one time in one kind of source; the sentence with most of the words stands for it."""
    merged: list[tuple[float, Quote]] = []
    ends_s: dict[int, float] = {}
    for weight, quote in sorted(dict.fromkeys(mentions), key=lambda item: item[1].span):
        index = next(
            (
                index
                for index in reversed(range(len(merged)))
                if _is_same_kind(merged[index][1], quote) and quote.span.start_s - ends_s[index] <= MAX_GAP_S
            ),
            None,
        )
        if index is None:
            index = len(merged)
            merged.append((weight, quote))
        elif weight > merged[index][0]:
            merged[index] = (weight, quote)
        ends_s[index] = max(ends_s.get(index, 0.0), quote.span.end_s)
    return tuple(quote for _, quote in merged)


def _is_same_kind(quote: Quote, other: Quote) -> bool:
    """Whether two quotes at one time say the same: speech and subtitles do."""
    return quote.source == other.source or (is_windowed(quote.source) and is_windowed(other.source))
