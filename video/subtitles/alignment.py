"""Alignment of two long sequences of words, one of which was recognised from speech and contains errors.

Runs of words that occur exactly once in both sequences are anchors, as in a patience diff, so that the time does not grow with
the product of the lengths. Between two anchors, the words are aligned with affine gap costs (Gotoh 1982): a missing passage
costs as much as a missing word, so that the words beside it are not scattered over it.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

ANCHOR_WORDS = (6, 4, 3)
"""Numbers of words of an anchor. Shorter anchors are only used where longer ones leave too much for `MAX_CELLS`."""
MAX_CELLS = 1 << 24
"""Maximum product of the lengths of two passages between anchors: 4,000 words each take 16 MB and 0.3 s. Longer passages without
a common run of three words are different texts."""
MATCH_SCORE = 2
MISMATCH_SCORE = -1
"""Score of a word that was recognised as another one."""
GAP_SCORE = -3
"""Score of a gap of any length."""
MATCHED, UP, LEFT = 0, 1, 2
"""Steps of an alignment: a pair of words, a word of the first sequence alone, and one of the second alone."""
EXTENDS_UP, EXTENDS_LEFT = 4, 8
"""Flags of a cell: the gap that ends there began before."""

Pairs = list[tuple[int, int]]


def align(first: Sequence[Hashable], second: Sequence[Hashable]) -> Pairs:
    """Return the pairs of positions at which both sequences have the same word, increasing in both."""
    numbers: dict[Hashable, int] = {}
    first_ids, second_ids = (
        np.asarray([numbers.setdefault(word, len(numbers)) for word in words], np.int64) for words in (first, second)
    )
    return list(_align(first_ids, second_ids, 0, 0, ANCHOR_WORDS))


def _align(
    first: NDArray[np.int64], second: NDArray[np.int64], first_start: int, second_start: int, anchor_words: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of two passages that start at `first_start` and `second_start`."""
    if not (len(first) and len(second)):
        return
    if len(first) * len(second) <= MAX_CELLS:
        yield from ((first_start + i, second_start + j) for i, j in _aligned_passage(first, second))
        return
    if not anchor_words:
        return
    i = j = 0
    for anchor_i, anchor_j in [*_anchors(first, second, anchor_words[0]), (len(first), len(second))]:
        passages = first[i:anchor_i], second[j:anchor_j]
        yield from _align(*passages, first_start + i, second_start + j, anchor_words[1:])
        if anchor_i < len(first):
            yield first_start + anchor_i, second_start + anchor_j
        i, j = anchor_i + 1, anchor_j + 1


def _anchors(first: NDArray[np.int64], second: NDArray[np.int64], words: int) -> Pairs:
    """Return the pairs of the longest increasing series of runs of `words` words that occur once in each sequence."""
    if min(len(first), len(second)) < words:
        return []
    runs = [np.lib.stride_tricks.sliding_window_view(sequence, words) for sequence in (first, second)]
    _, ids = np.unique(np.concatenate(runs), axis=0, return_inverse=True)
    ids = ids.reshape(-1)
    positions = [_unique_positions(part) for part in np.split(ids, [len(runs[0])])]
    common = np.intersect1d(positions[0][0], positions[1][0], assume_unique=True)
    i, j = (starts[np.searchsorted(values, common)] for values, starts in positions)
    order = np.argsort(i)
    series = _longest_increasing(list(zip(i[order].tolist(), j[order].tolist(), strict=True)))
    pairs: Pairs = []
    for start_i, start_j in series:
        for offset in range(words):
            pair = start_i + offset, start_j + offset
            # Runs overlap; two of them may also touch in one sequence only.
            if not pairs or (pair[0] > pairs[-1][0] and pair[1] > pairs[-1][1]):
                pairs.append(pair)
    return pairs


def _unique_positions(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values that occur once, sorted, and their positions."""
    values, starts, counts = np.unique(ids, return_index=True, return_counts=True)
    return values[counts == 1], starts[counts == 1]


def _longest_increasing(pairs: Pairs) -> Pairs:
    """Return the longest series of pairs, which are sorted by their first number, that also increases in the second."""
    ends: list[int] = []
    end_indices: list[int] = []
    previous: list[int] = []
    for index, (_, value) in enumerate(pairs):
        length = bisect_left(ends, value)
        previous.append(end_indices[length - 1] if length else -1)
        ends[length:] = [value] if length == len(ends) else [value, *ends[length + 1 :]]
        end_indices[length:] = [index] if length == len(end_indices) else [index, *end_indices[length + 1 :]]
    series, index = [], end_indices[-1] if end_indices else -1
    while index >= 0:
        series.append(pairs[index])
        index = previous[index]
    return series[::-1]


def _aligned_passage(first: NDArray[np.int64], second: NDArray[np.int64]) -> Pairs:
    """Return the pairs of equal words in the best alignment of two passages."""
    steps = _steps(first, second)
    pairs: Pairs = []
    i, j = len(first), len(second)
    while i and j:
        step = int(steps[i - 1, j - 1])
        direction = step & 3
        if direction == MATCHED:
            i, j = i - 1, j - 1
            if first[i] == second[j]:
                pairs.append((i, j))
        elif direction == UP:
            while step & EXTENDS_UP and i > 1:
                i -= 1
                step = int(steps[i - 1, j - 1])
            i -= 1
        else:
            while step & EXTENDS_LEFT and j > 1:
                j -= 1
                step = int(steps[i - 1, j - 1])
            j -= 1
    return pairs[::-1]


def _steps(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the last step of the best alignment of each pair of prefixes, of shape (len(first), len(second)), with flags.

    A row is computed at once: a gap that ends in a cell began at the best cell to its left, wherever that is, because its score
    does not depend on its length.
    """
    steps = np.empty((len(first), len(second)), np.uint8)
    # Scores of the row above, with a column before the first word. A gap at the start costs as much as any other.
    above = np.full(len(second) + 1, GAP_SCORE, np.int32)
    above[0] = 0
    up = np.full(len(second) + 1, 2 * GAP_SCORE, np.int32)
    for i, word in enumerate(first):
        extends_up = up >= above + GAP_SCORE
        up = np.maximum(up, above + GAP_SCORE)
        pair_scores = above[:-1] + np.where(second == word, MATCH_SCORE, MISMATCH_SCORE)
        best = np.concatenate([[GAP_SCORE], np.maximum(pair_scores, up[1:])])
        highest = np.maximum.accumulate(best)
        left = highest[:-1] + GAP_SCORE
        row = np.concatenate([best[:1], np.maximum(best[1:], left)])
        direction = np.where(row[1:] == pair_scores, MATCHED, np.where(row[1:] == up[1:], UP, LEFT))
        extends_left = np.concatenate([[False], highest[1:-1] > best[1:-1]])
        steps[i] = direction + EXTENDS_UP * extends_up[1:] + EXTENDS_LEFT * extends_left
        above = row.astype(np.int32)
    return steps
