"""Metrics of speech recognition and of the search for passages, as pure functions: word error rate, errors of times, R@n."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from longview.app.evaluation.metrics import percentile
from longview.video.timeline import Span


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
        parts = re.sub(r"[^\w\s]", "", re.sub(r"[-–—/]", " ", text)).split()
        result += [
            TimedWord(part, word.start_s if number == 0 else None, word.end_s if number == len(parts) - 1 else None)
            for number, part in enumerate(parts)
        ]
    return result


def align(reference: Sequence[str], recognized: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Align two sequences of words with the fewest substitutions, insertions and deletions (Levenshtein).

    Return pairs of indexes in order; None stands for the word that the other sequence does not have.
    """
    rows = [list(range(len(recognized) + 1))]
    for row, word in enumerate(reference, 1):
        previous, current = rows[-1], [row]
        for column, other in enumerate(recognized, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (word != other)))
        rows.append(current)
    pairs: list[tuple[int | None, int | None]] = []
    row, column = len(reference), len(recognized)
    while row or column:
        cost = rows[row][column]
        if row and column and cost == rows[row - 1][column - 1] + (reference[row - 1] != recognized[column - 1]):
            row, column = row - 1, column - 1
            pairs.append((row, column))
        elif row and cost == rows[row - 1][column] + 1:
            row -= 1
            pairs.append((row, None))
        else:
            column -= 1
            pairs.append((None, column))
    return pairs[::-1]


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

    def add(self, said: Iterable[TimedWord], recognized: Iterable[TimedWord]) -> None:
        """Compare the words that were said with those that were recognised."""
        true_words, words = normalize(said), normalize(recognized)
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
            "word_error_rate": _rounded(self.word_error_rate),
            "substitutions": self.substitutions,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "start_median_s": _rounded(percentile(starts_s, 0.5)),
            "start_p90_s": _rounded(percentile(starts_s, 0.9)),
            "end_median_s": _rounded(percentile(ends_s, 0.5)),
            "end_p90_s": _rounded(percentile(ends_s, 0.9)),
        }


def _add_error(errors_s: list[float], true_s: float | None, time_s: float | None) -> None:
    if true_s is not None and time_s is not None:
        errors_s.append(time_s - true_s)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


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
