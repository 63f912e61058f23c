"""Divide the segments of a video into the cues of a subtitle file, by the times of their words and by convention."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise

from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.indexing.exports.layout import (
    Convention,
    Piece,
    break_lines,
    break_rank,
    convention,
    has_own_space,
    line_columns,
    own_lines,
    pieces_of,
    shares,
    text_columns,
)

MIN_CUE_S = 1.0
"""Minimum duration of a cue where the next cue allows it, in seconds.

Source: Ivarsson and Carroll, Code of Good Subtitling Practice. Netflix allows 5/6 s.
"""
MAX_CUE_S = 7.0
"""Maximum duration of a cue, in seconds. Source: the same code; Netflix, Timed Text Style Guide: General Requirements."""
MIN_GAP_S = 0.08
"""Minimum gap between cues that have one, in seconds: two frames at 25 frames per second. A shorter gap flickers.

Source: Netflix, Timed Text Style Guide: General Requirements.
"""
PAUSE_S = 0.3
"""Minimum silence between words that counts as a pause, in seconds: shorter ones occur inside of phrases."""
MAX_PAUSE_S = 1.0
"""Maximum silence inside of a cue, in seconds: a longer one would show words long before they are spoken."""


@dataclass(frozen=True)
class Cue:
    """A subtitle: when it is shown, and its lines."""

    span: Span
    lines: tuple[tuple[Piece, ...], ...]
    source: str


@dataclass
class _Run:
    """Pieces of one source and language without a long pause; cues never reach from one run into another."""

    source: str
    language: str | None
    pieces: list[Piece] = field(default_factory=list)
    segment_ends: set[int] = field(default_factory=set)
    """Numbers of pieces after which a segment ends."""
    cue: Cue | None = None
    """The cue of a segment that keeps its own span; the run has no pieces then."""

    @property
    def start_s(self) -> float:
        return self.cue.span.start_s if self.cue else self.pieces[0].span.start_s

    def spread(self, next_start_s: float) -> "_Run":
        """Return the run with increasing times: pieces that start at the same time share the time until the next one.

        Recognisers that lose track give many words one time; cues between these words would be empty.
        """
        pieces: list[Piece] = []
        for start_s, group in groupby(self.pieces, key=lambda piece: piece.span.start_s):
            same = list(group)
            end = len(pieces) + len(same)
            limit_s = self.pieces[end].span.start_s if end < len(self.pieces) else next_start_s
            until_s = max(start_s, min(limit_s, max(piece.span.end_s for piece in same)))
            spans = shares(Span(start_s, until_s), [text_columns(piece.text) for piece in same])
            estimated_pieces = (replace(piece, span=span, timed=False) for piece, span in zip(same[1:], spans[1:], strict=True))
            pieces += [replace(same[0], span=spans[0]), *estimated_pieces] if len(same) > 1 else same
        return replace(self, pieces=pieces)


def lay_out(segments: Sequence[Segment], duration_s: float) -> list[Cue]:
    """Return the cues of segments in order of time.

    Segments with words, and all speech, are divided and joined into cues. Captions and subtitles without words keep their spans.
    Cues of one source that are divided by words do not overlap.

    Args:
        segments: segments in order of time.
        duration_s: length of the video in seconds. Cues are not extended beyond it.
    """
    cues: list[Cue] = []
    for source in sorted({segment.source for segment in segments}):
        runs = list(_runs(segment for segment in segments if segment.source == source))
        for number, run in enumerate(runs, 1):
            next_start_s = runs[number].start_s if number < len(runs) else float("inf")
            cues += [run.cue] if run.cue else _cues(run.spread(next_start_s), next_start_s, duration_s)
    return sorted(cues, key=lambda cue: cue.span.start_s)


def _runs(segments: Iterable[Segment]) -> Iterator[_Run]:
    """Collect the pieces of one source's segments into runs."""
    run: _Run | None = None
    latest_s = float("-inf")
    for segment in segments:
        pieces = pieces_of(segment)
        if not pieces:
            continue
        traits = traits_of(segment.source)
        if not segment.words and (traits.is_imported or not traits.is_spoken):
            if run:
                yield run
            run = None
            yield _Run(segment.source, segment.language, cue=_own_cue(segment, pieces))
            continue
        for number, piece in enumerate(pieces):
            # Words of overlapping segments, or of an inaccurate recogniser, may go back in time.
            if piece.span.start_s < latest_s:
                piece = replace(piece, span=Span(latest_s, max(latest_s, piece.span.end_s)))
            latest_s = piece.span.start_s
            if run and (run.language != segment.language or piece.span.start_s - run.pieces[-1].span.end_s > MAX_PAUSE_S):
                yield run
                run = None
            run = run or _Run(segment.source, segment.language)
            if number == 0 and run.pieces:
                piece = replace(piece, spaced=not has_own_space(run.pieces[-1].text[-1]))
            run.pieces.append(piece)
        if run:
            run.segment_ends.add(len(run.pieces) - 1)
    if run:
        yield run


def _own_cue(segment: Segment, pieces: Sequence[Piece]) -> Cue:
    """Return the cue of a segment that keeps its span; an imported subtitle of several lines keeps these too."""
    lines = own_lines(segment) if traits_of(segment.source).is_imported else []
    if len(lines) < 2:
        lines = break_lines(pieces, convention(segment.language).line_columns)
    return Cue(segment.span, tuple(map(tuple, lines)), segment.source)


def _cues(run: _Run, next_start_s: float, duration_s: float) -> Iterator[Cue]:
    """Divide a run into cues; `next_start_s`: when the source's next run starts."""
    if next_start_s <= run.pieces[-1].span.start_s:
        # A segment that keeps its span overlaps this run, and cannot follow it.
        next_start_s = float("inf")
    limits = convention(run.language)
    groups = _divide(run, limits, next_start_s)
    starts_s = [group[0].span.start_s for group in groups]
    for group, start_s, following_s in zip(groups, starts_s, [*starts_s[1:], next_start_s], strict=True):
        spoken_until_s = max(piece.span.end_s for piece in group)
        readable_until_s = min(start_s + _reading_s(line_columns(group), limits), duration_s)
        end_s = min(max(spoken_until_s, readable_until_s), start_s + MAX_CUE_S, following_s)
        if following_s - end_s < MIN_GAP_S:
            end_s = following_s if following_s - start_s <= MAX_CUE_S else following_s - MIN_GAP_S
        lines = break_lines(group, limits.line_columns)
        yield Cue(Span(start_s, max(start_s, end_s)), tuple(map(tuple, lines)), run.source)


def _reading_s(columns: int, limits: Convention) -> float:
    """Return how long a cue should be shown, in seconds."""
    return min(max(MIN_CUE_S, columns / limits.columns_per_s), MAX_CUE_S)


# The costs were chosen on English and Japanese prose, such as that of tests/indexing/exports/test_cues.py.
CUE_COST = 1.0
"""Cost of each cue, the unit of the costs: a text gets few cues."""
FILL_COST = 1.0
"""Cost of a full cue. It grows with the square of the fill, so that neighbouring cues have similar lengths."""
SHORTAGE_COST = 3.0
"""Cost of a cue that could be shown for no time at all; less if only a part of its reading time is missing."""
SHORT_COST = 2.0
"""Further cost of a cue that could be shown for less than `MIN_CUE_S`: short neighbouring segments are joined."""
SENTENCE_COST = 1.0
"""Cost of a sentence's end inside of a cue: sentences that can be read separately get separate cues."""
REMAINDER_COST = 3.0
"""Further cost if the cue then ends inside of a sentence."""
PAUSE_COST = 2.0
"""Cost of each second of pauses inside of a cue."""
CLAUSE_BREAK_COST, WORD_BREAK_COST = 1.5, 4.0
"""Costs of a cue that ends after a clause, and between other words without a pause."""
PAUSE_BREAK_COST = 1.0
"""Cost of a cue that ends at the shortest pause; less at a longer pause."""


def _divide(run: _Run, limits: Convention, next_start_s: float) -> list[list[Piece]]:
    """Divide a run's pieces into those of each cue, with the least total cost (a dynamic program over the ends of cues)."""
    pieces = run.pieces
    starts_s = [*(piece.span.start_s for piece in pieces), next_start_s]
    offsets, spaces = _offsets(pieces)
    full = _full_ends(offsets, spaces, limits.line_columns)
    break_costs, pause_costs, sentences = _boundaries(run)

    least, previous = [0.0], [0]
    for end in range(1, len(pieces) + 1):
        least.append(float("inf"))
        previous.append(end - 1)
        for start in range(end - 1, -1, -1):
            is_long = pieces[end - 1].span.end_s - starts_s[start] > MAX_CUE_S
            if full[start] < end or (is_long and start < end - 1):
                break
            columns = offsets[end] - offsets[start] - spaces[end]
            wanted_s = _reading_s(columns, limits)
            cost = least[start] + CUE_COST + FILL_COST * (columns / (2 * limits.line_columns)) ** 2 + break_costs[end]
            shown_s = starts_s[end] - starts_s[start]
            cost += SHORTAGE_COST * max(0.0, 1 - shown_s / wanted_s) + (SHORT_COST if shown_s < MIN_CUE_S else 0.0)
            cost += pause_costs[end - 1] - pause_costs[start]
            if sentences[end - 1] > start:
                cost += SENTENCE_COST + (REMAINDER_COST if break_costs[end] else 0.0)
            if cost < least[end]:
                least[end], previous[end] = cost, start
    ends = [len(pieces)]
    while ends[-1]:
        ends.append(previous[ends[-1]])
    return [pieces[start:end] for start, end in pairwise(reversed(ends))]


def _offsets(pieces: Sequence[Piece]) -> tuple[list[int], list[int]]:
    """Return where each piece would start in one endless line, and the width of the space before it, in columns.

    The last items are the end of the line, and 0.
    """
    spaces = [*(int(piece.spaced) for piece in pieces), 0]
    widths = (text_columns(piece.text) + space for piece, space in zip(pieces, spaces[1:], strict=True))
    return list(accumulate(widths, initial=0)), spaces


def _full_ends(offsets: Sequence[int], spaces: Sequence[int], line_columns: int) -> list[int]:
    """Return where a cue of two lines ends at the latest, for each piece that it can begin with."""
    line_ends, end, count = [], 0, len(offsets) - 1
    for start in range(count):
        while end < count and offsets[end + 1] - offsets[start] - spaces[end + 1] <= line_columns:
            end += 1
        line_ends.append(end)
    line_ends.append(count)
    return [line_ends[end] for end in line_ends]


def _boundaries(run: _Run) -> tuple[list[float], list[float], list[int]]:
    """Return three lists with an item for each boundary: number 0 precedes the first piece, and the last follows the last piece.

    The lists are the cost of a cue's end there, the cost of all pauses up to there, and the latest end of a sentence up to there.
    """
    break_costs, pause_costs, sentences = [0.0], [0.0], [0]
    for number, (before, after) in enumerate(pairwise(run.pieces), 1):
        rank = break_rank(before, after)
        pause_s = after.span.start_s - before.span.end_s
        cost = {0.0: 0.0, 1.0: CLAUSE_BREAK_COST}.get(rank, WORD_BREAK_COST * rank / 2)
        if pause_s >= PAUSE_S or number - 1 in run.segment_ends:
            cost = min(cost, PAUSE_BREAK_COST * PAUSE_S / max(pause_s, PAUSE_S))
        break_costs.append(cost)
        pause_costs.append(pause_costs[-1] + (PAUSE_COST * pause_s if pause_s >= PAUSE_S else 0.0))
        sentences.append(number if rank == 0 else sentences[-1])
    return [*break_costs, 0.0], pause_costs, sentences
