"""Metrics of speech and text recognition and of the search for passages, as pure functions: error rates, errors of times, R@n."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rapidfuzz.distance import Levenshtein

from longview.app.evaluation.metrics import percentile
from longview.core.timeline import Span

_JOINT = re.compile(r"[-–—/]")
_PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True)
class TimedWord:
    """A word with its start and end, in seconds, as far as they are known."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


def normalize(words: Iterable[TimedWord]) -> list[TimedWord]:
    """Return words in small letters and without punctuation. A word with a hyphen becomes two, with the time between unknown."""
    result = []
    for word in words:
        text = unicodedata.normalize("NFKC", word.text).lower()
        parts = _PUNCTUATION.sub("", _JOINT.sub(" ", text)).split()
        result += [
            TimedWord(part, word.start_s if number == 0 else None, word.end_s if number == len(parts) - 1 else None)
            for number, part in enumerate(parts)
        ]
    return result


def align(reference: Sequence[str], recognized: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Align two sequences of words with the fewest substitutions, insertions and deletions (Levenshtein).

    Return pairs of indexes in order; None stands for the word that the other sequence does not have.
    """
    pairs: list[tuple[int | None, int | None]] = []
    for step in Levenshtein.opcodes(reference, recognized):
        rows, columns = range(step.src_start, step.src_end), range(step.dest_start, step.dest_end)
        # A replaced part has as many words on either side.
        pairs += zip_longest(rows, columns)
    return pairs


@dataclass
class WordScores:
    """Errors of recognised words. Times are compared where a word is recognised as it was said."""

    words: int = 0
    """Number of words that were said."""
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    start_errors_s: list[float] = field(default_factory=list)
    """Recognised start minus true start of each word, in seconds."""
    end_errors_s: list[float] = field(default_factory=list)
    mistakes: list[dict[str, str | float | None]] = field(default_factory=list)
    """Each word that was not recognised as it was said, with its time."""

    @property
    def word_error_rate(self) -> float | None:
        """Substitutions, insertions and deletions per word that was said; None without words."""
        return (self.substitutions + self.insertions + self.deletions) / self.words if self.words else None

    def add(self, reference: Iterable[TimedWord], recognized_words: Iterable[TimedWord]) -> None:
        """Compare the words that were said with those that were recognised."""
        true_words, words = normalize(reference), normalize(recognized_words)
        self.words += len(true_words)
        for true_index, index in align([word.text for word in true_words], [word.text for word in words]):
            true_word = None if true_index is None else true_words[true_index]
            word = None if index is None else words[index]
            if true_word and word and true_word.text == word.text:
                _add_error(self.start_errors_s, true_word.start_s, word.start_s)
                _add_error(self.end_errors_s, true_word.end_s, word.end_s)
                continue
            self.substitutions += bool(true_word and word)
            self.deletions += word is None
            self.insertions += true_word is None
            time_s = (true_word or word or TimedWord("")).start_s
            said_text, text = true_word.text if true_word else None, word.text if word else None
            self.mistakes.append({"at_s": time_s, "said": said_text, "recognized": text})

    def extend(self, other: "WordScores") -> None:
        """Add the errors of another recording."""
        self.words += other.words
        self.substitutions += other.substitutions
        self.insertions += other.insertions
        self.deletions += other.deletions
        self.start_errors_s += other.start_errors_s
        self.end_errors_s += other.end_errors_s

    def summary(self) -> dict[str, float | int | None]:
        """Return the rate, the counts, and the median and the 90th percentile of the absolute errors of times, in seconds."""
        starts_s, ends_s = ([abs(error_s) for error_s in errors_s] for errors_s in (self.start_errors_s, self.end_errors_s))
        return {
            "words": self.words,
            "word_error_rate": _round(self.word_error_rate),
            "substitutions": self.substitutions,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "start_median_s": _round(percentile(starts_s, 0.5)),
            "start_p90_s": _round(percentile(starts_s, 0.9)),
            "end_median_s": _round(percentile(ends_s, 0.5)),
            "end_p90_s": _round(percentile(ends_s, 0.9)),
        }


def _add_error(errors_s: list[float], true_s: float | None, time_s: float | None) -> None:
    if true_s is not None and time_s is not None:
        errors_s.append(time_s - true_s)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@dataclass
class LineScores:
    """Errors of lines that were read on screen."""

    lines: int = 0
    """Number of lines that were shown."""
    exact: int = 0
    """Number of lines that were read without an error, at their time."""
    characters: int = 0
    """Number of characters that were shown, without spaces."""
    errors: int = 0
    """Substituted, inserted and deleted characters of the lines; those of a line that was not read are deleted."""
    additional: int = 0
    """Number of lines that were read and not shown."""
    time_errors_s: list[float] = field(default_factory=list)
    """Differences between read and true starts and ends, in seconds."""

    def add(self, true_lines: Sequence[tuple[str, Span]], read_lines: Sequence[tuple[str, Span]]) -> None:
        """Compare lines with those that were read: each with the most similar one of its time, which counts once."""
        remaining = list(read_lines)
        for text, span in true_lines:
            plain = _without_spaces(text)
            self.lines += 1
            self.characters += len(plain)
            candidates = [(_edits(plain, _without_spaces(line[0])), line) for line in remaining if line[1].overlap_s(span) > 0]
            edits, best = min(candidates, key=lambda item: item[0], default=(len(plain), None))
            if best is None or edits >= len(plain):
                self.errors += len(plain)
                continue
            remaining.remove(best)
            self.errors += edits
            self.exact += edits == 0
            self.time_errors_s += [abs(best[1].start_s - span.start_s), abs(best[1].end_s - span.end_s)]
        self.additional += len(remaining)

    def summary(self) -> dict[str, float | int | None]:
        """Return the share of lines without an error, the character error rate, and the errors of times, in seconds."""
        return {
            "lines": self.lines,
            "exact": _round(self.exact / self.lines if self.lines else None),
            "character_error_rate": _round(self.errors / self.characters if self.characters else None),
            "additional": self.additional,
            "time_median_s": _round(percentile(self.time_errors_s, 0.5)),
            "time_p90_s": _round(percentile(self.time_errors_s, 0.9)),
        }


def _without_spaces(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def _edits(text: str, other: str) -> int:
    return Levenshtein.distance(text, other)


def roc_auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Return the probability that a positive has a higher score than a negative; a tie counts half. None if there is no pair."""
    pairs = [(first > second) + 0.5 * (first == second) for first in positives for second in negatives]
    return sum(pairs) / len(pairs) if pairs else None


def first_correct(starts_s: Sequence[float | None], truth: Span, *, slack_s: float) -> int | None:
    """Return the rank, from 1, of the first result that starts in a true span or at most `slack_s` seconds from it.

    `starts_s`: start of each result, in seconds; None for a result of another video. Return None if no result is correct.
    """
    return next(
        (
            rank
            for rank, start_s in enumerate(starts_s, 1)
            if start_s is not None and truth.start_s - slack_s <= start_s <= truth.end_s + slack_s
        ),
        None,
    )
