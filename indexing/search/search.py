"""Search the tracks of videos by words and vectors; return moments, best first, with the segments that support them.

A passage's score is the cosine of the embeddings plus half of its BM25 score, which is divided by the best score that the query's
terms can have. On 24 questions about three transcripts in one library, the right passage came among the first three for 0.79 of
them; with sums of z-scores for 0.67, with reciprocal ranks for 0.58, and with cosines alone for 0.71 (docs/quality.md).
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span, Word
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.vectors import VectorIndex
from longview.indexing.text.passages import SCREEN_GAP_S, Passage
from longview.indexing.text.terms import match_terms, merge_matches, phrase_terms, query_terms

MAX_CANDIDATES = 200
"""Maximum number of passages that terms and vectors propose each."""
MIN_COSINE = 0.3
"""Minimum cosine of a caption that has no term of the query: unrelated English sentences had 0.1 to 0.25 with this encoder."""
MIN_WINDOW_COSINE = 0.1
"""Minimum cosine of a window of words that has no term of the query. The window that answers a question has 0.12 to 0.33, and the
best window for an unrelated one 0.17 to 0.39, so that no threshold separates them: weak matches come last instead."""
TERM_WEIGHT = 0.5
"""Weight of the BM25 score, from 0 to 1, beside a cosine with the weight 1."""
BM25_K1 = 1.2
"""Saturation parameter of FTS5's BM25; a term contributes at most its IDF times `BM25_K1` + 1."""
PHRASE_BONUS = 0.5
"""Added to the score of a passage that has the whole query as a phrase, so that a quotation comes before what is similar to it. A
single occurrence of all terms has a BM25 score of about half of the best possible one."""
MAX_GROUP_GAP_S = 1.0
"""Maximum time between segments of different sources that support one moment, in seconds."""
MAX_GROUP_SPAN_S = 60.0
"""Length of the first part of a segment in which other sources support the same moment, in seconds. A line such as the name of
a channel may stay on screen for hours."""


@dataclass(frozen=True)
class Evidence:
    """A segment that supports a moment."""

    segment: Segment
    span: Span
    """The part of the segment that matches: from the first matching word on, where the source has times of words."""
    highlights: tuple[tuple[int, int], ...] = ()
    """Ranges of characters in the segment's text that match words of the query."""


@dataclass(frozen=True)
class Moment:
    """A span of a video that matches a query."""

    video_id: str
    title: str
    evidence: tuple[Evidence, ...]
    """Segments of one time, at most one of each source, best first."""
    score: float
    """Score from 0 to 1 of the best passage."""
    verified: bool | None = None
    """Whether the video confirms the caption; None: it was not verified, could not be, or no caption supports the moment."""

    @property
    def span(self) -> Span:
        """The span of the best evidence."""
        return self.evidence[0].span

    @property
    def text(self) -> str:
        """The text of the best evidence."""
        return self.evidence[0].segment.text

    @property
    def source(self) -> str:
        """The source of the best evidence."""
        return self.evidence[0].segment.source

    @property
    def has_words(self) -> bool:
        """Whether any evidence has a word of the query; otherwise it is only similar in meaning."""
        return any(item.highlights for item in self.evidence)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of all evidence, best first."""
        return tuple(item.segment.source for item in self.evidence)


@dataclass(frozen=True)
class PassageScore:
    """How well a passage matches a query."""

    cosine: float
    terms: float
    """BM25 score as a share of the best possible one."""
    has_phrase: bool
    """Whether the passage has the whole query as a phrase."""

    @property
    def total(self) -> float:
        """The score from 0 to 1."""
        bonus = PHRASE_BONUS if self.has_phrase else 0.0
        return round(min(1.0, max(0.0, self.cosine + TERM_WEIGHT * self.terms + bonus) / (1 + TERM_WEIGHT)), 4)

    def is_match(self, passage: Passage) -> bool:
        """Whether a passage has a term of the query or is similar to it."""
        return self.terms > 0 or self.cosine >= (MIN_WINDOW_COSINE if traits_of(passage.source).is_spoken else MIN_COSINE)


def captions_with_all_words(library: Library, query: str, video_id: str, *, limit: int = 50) -> tuple[Span, ...]:
    """Return the spans of a video's captions that have every word of a query, in any inflection."""
    tracks = library.tracks
    matches = tracks.match_terms(query_terms(query), limit=limit, video_id=video_id, sources=["captions"], require_all=True)
    return tuple(passage.span for passage in tracks.passages_by_id(list(matches)).values())


def search(
    library: Library,
    vectors: VectorIndex,
    query: str,
    *,
    limit: int = 10,
    video_id: str | None = None,
    sources: Sequence[str] | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Moment, ...]:
    """Return the moments of the library, or of one video, that match a query in any of the encoder's languages.

    Segments of different sources at one time are one moment. `sources`: the only sources that are searched.

    Raises:
        Cancelled: the operation was cancelled.
    """
    terms = query_terms(query)
    scores = score_passages(library, vectors, query, terms, limit, video_id, sources, progress=progress)
    candidates = library.tracks.passages_by_id(list(scores))
    passages = {number: passage for number, passage in candidates.items() if scores[number].is_match(passage)}
    numbers = sorted(passages, key=lambda number: (-scores[number].total, passages[number].video_id, passages[number].span))
    best_passages = [(passages[number], scores[number].total) for number in numbers]
    titles = library.titles()
    moments: list[Moment] = []
    # The best segment of two windows may be one that reaches into both.
    shown_segments: set[tuple[str, Segment]] = set()
    for passage, score, evidence in _ranked_evidence(library, vectors, query, terms, best_passages):
        if passage.video_id not in titles or (passage.video_id, evidence.segment) in shown_segments:
            continue
        shown_segments.add((passage.video_id, evidence.segment))
        index = next((index for index, moment in enumerate(moments) if _belongs_to(moment, passage, evidence)), None)
        if index is not None:
            earlier = moments[index]
            moments[index] = Moment(earlier.video_id, earlier.title, (*earlier.evidence, evidence), earlier.score)
        elif len(moments) < limit:
            moments.append(Moment(passage.video_id, titles[passage.video_id], (evidence,), score))
        else:
            break
    return tuple(moments)


def _ranked_evidence(
    library: Library, vectors: VectorIndex, query: str, terms: tuple[str, ...], best_passages: Sequence[tuple[Passage, float]]
) -> Iterator[tuple[Passage, float, Evidence]]:
    """Yield the evidence of passages, best first: the best segment of each, and every other one that has a word of the query.

    Windows overlap, so the best segment of a window that overlaps a better one is the same or a worse choice; what it has with
    words of the query is evidence of its own all the same. The score of such a segment is that of its passage times its share of
    the words of the query.
    """
    covered_spans: dict[tuple[str, str, str | None], list[Span]] = {}
    others: list[tuple[float, int, Passage, Evidence]] = []
    place = 0
    for passage, score in best_passages:
        while others and -others[0][0] >= score:
            minus_score, _, other, evidence = heapq.heappop(others)
            yield other, round(-minus_score, 4), evidence
        key = (passage.video_id, passage.source, passage.language)
        is_covered = traits_of(passage.source).is_spoken and any(
            span.overlap_s(passage.span) > 0 for span in covered_spans.get(key, [])
        )
        if is_covered and not match_terms(passage.text, terms):
            continue
        segments = _segments_of(library, passage)
        if not is_covered and segments:
            covered_spans.setdefault(key, []).append(passage.span)
            yield passage, score, _evidence_of(_best_segment(vectors, query, terms, segments), terms)
        if traits_of(passage.source).is_spoken:
            for segment in segments:
                count = len({match.term for match in match_terms(segment.text, terms)})
                if count:
                    place += 1
                    heapq.heappush(others, (-score * count / len(terms), place, passage, _evidence_of(segment, terms)))
    while others:
        minus_score, _, other, evidence = heapq.heappop(others)
        yield other, round(-minus_score, 4), evidence


def score_passages(  # noqa: PLR0913 (the query, and what limits the passages, as in `Tracks.match_terms`)
    library: Library,
    vectors: VectorIndex,
    query: str,
    terms: tuple[str, ...],
    limit: int,
    video_id: str | None,
    sources: Sequence[str] | None = None,
    within: Span | None = None,
    progress: Progress = NO_PROGRESS,
) -> dict[int, PassageScore]:
    """Return the scores of the passages that have a term of the query or are most similar to it, by their ids."""
    tracks = library.tracks
    among = sorted(tracks.passage_ids(video_id, sources, within=within)) if video_id or sources is not None else None
    cosines = dict(vectors.search(query, limit=max(MAX_CANDIDATES, limit), among=among, progress=progress))
    most = max(MAX_CANDIDATES, limit)
    term_scores = tracks.match_terms(terms, limit=most, video_id=video_id, sources=sources, within=within)
    phrase = phrase_terms(query) if terms else ()
    with_phrase = tracks.match_phrase(phrase, limit=most, video_id=video_id, sources=sources, within=within)
    other_ids = [number for number in {**term_scores, **dict.fromkeys(with_phrase)} if number not in cosines]
    others = tracks.passages_by_id(other_ids)
    similarities = vectors.similarities([passage.text for passage in others.values()], query)
    cosines |= dict(zip(others, map(float, similarities), strict=True))
    best_possible = _best_possible_score(library, terms) if term_scores else 1.0
    return {
        number: PassageScore(cosine, min(1.0, term_scores.get(number, 0.0) / best_possible), number in with_phrase)
        for number, cosine in cosines.items()
    }


def _best_possible_score(library: Library, terms: Sequence[str]) -> float:
    """Return the BM25 score that a passage with all terms many times would approach. Terms of no passage do not count."""
    total = library.tracks.passage_count()
    score = 0.0
    for term in terms:
        count = library.tracks.count_with_term(term)
        if count:
            # FTS5 bounds the IDF of frequent terms (fts5Bm25GetData in fts5_aux.c).
            score += max(1e-6, math.log((total - count + 0.5) / (count + 0.5))) * (BM25_K1 + 1)
    return score or 1.0


def _segments_of(library: Library, passage: Passage) -> list[Segment]:
    """Return the segments of a passage; none if it was replaced meanwhile."""
    if not (traits_of(passage.source).is_spoken or traits_of(passage.source).is_screen):
        return [Segment(passage.span, passage.text, passage.source, passage.language)]
    within, start_s = passage.span, passage.span.start_s
    if traits_of(passage.source).is_screen:
        # A line that stays on screen for hours makes the passage as long, but the others begin with it.
        within = Span(start_s, min(within.end_s, start_s + SCREEN_GAP_S))
    nearby = [item.segment for item in library.tracks.segments(passage.video_id, passage.source, within=within)]
    if traits_of(passage.source).is_screen:
        return [segment for segment in nearby if segment.span.start_s >= start_s]
    return [segment for segment in nearby if segment.language == passage.language]


def _best_segment(vectors: VectorIndex, query: str, terms: tuple[str, ...], segments: Sequence[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    similarities = vectors.similarities([segment.text for segment in segments], query)
    shares = [len({match.term for match in match_terms(segment.text, terms)}) / max(1, len(terms)) for segment in segments]
    best = max(range(len(segments)), key=lambda index: (float(similarities[index]) + TERM_WEIGHT * shares[index], -index))
    return segments[best]


def _evidence_of(segment: Segment, terms: tuple[str, ...]) -> Evidence:
    highlights = merge_matches(match_terms(segment.text, terms))
    word = _word_at(segment, highlights[0][0]) if highlights else None
    start_s = word.span.start_s if word else segment.span.start_s
    return Evidence(segment, Span(start_s, max(start_s, segment.span.end_s)), highlights)


def _word_at(segment: Segment, position: int) -> Word | None:
    """Return the word of a segment that has a character of its text; None if the segment has no times of words."""
    end, last = 0, None
    for word in segment.words:
        start = segment.text.find(word.text, end)
        if start < 0:
            continue
        if start > position:
            return last
        end, last = start + len(word.text), word
    return last


def _belongs_to(moment: Moment, passage: Passage, evidence: Evidence) -> bool:
    """Whether evidence of another source supports a moment at the same time."""
    return (
        moment.video_id == passage.video_id
        and passage.source not in moment.sources
        and _beginning(moment.span).overlap_s(_beginning(evidence.span)) >= -MAX_GROUP_GAP_S
    )


def _beginning(span: Span) -> Span:
    return Span(span.start_s, min(span.end_s, span.start_s + MAX_GROUP_SPAN_S))
