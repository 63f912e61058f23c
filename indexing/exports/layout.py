"""Lay out the text of subtitles: join words as their language does, measure their width, and break lines.

Widths are in columns: a full-width character of Chinese, Japanese or Korean has two, a half-width character one, and a combining
mark none. Style guides count the same way: a half-width character is half a character.
Source: Netflix, Japanese Timed Text Style Guide.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from longview.core.scripts import CLOSING_MARKS, UNSPACED_SCRIPTS, ends_sentence
from longview.core.timeline import Segment, Span, Word, join_words
from longview.indexing.exports.cleaning import clean_text, one_line

MAX_LINE_CHARACTERS = 42
"""Maximum length of a line in most languages, in characters. Source: Netflix, Timed Text Style Guides of these languages."""
MAX_LINES = 2
"""Maximum number of lines of a cue. Source: Netflix, Timed Text Style Guide: General Requirements."""


@dataclass(frozen=True)
class Convention:
    """Limits of a language's subtitles."""

    line_columns: int
    """Maximum width of a line, in columns."""
    columns_per_s: float
    """Maximum reading speed, in columns per second."""


_DEFAULT = Convention(MAX_LINE_CHARACTERS, 17.0)
_CHINESE = Convention(2 * 16, 2 * 9.0)
_CONVENTIONS = {"zh": _CHINESE, "yue": _CHINESE, "ja": Convention(2 * 13, 2 * 4.0), "ko": Convention(2 * 16, 2 * 12.0)}
"""The languages that have other limits, in full-width characters a line and a second.

Source: Netflix, Timed Text Style Guides for Simplified Chinese, Japanese and Korean, programmes for adults.
"""

_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}\u3000-\u303f\uff00-\uff9f]")
"""Characters of scripts without spaces, with their punctuation."""
_NEVER_FIRST = frozenset("ーゝゞ々〻ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶะาำๅๆฯະາຳໆ")
_NEVER_LAST = frozenset("เแโใไເແໂໃໄ")
"""With marks and punctuation, the characters that never begin or end a line. Source: JIS X 4051; Unicode, Thai and Lao vowels."""
_HIRAGANA = re.compile("[\u3041-\u309f]")
_CLAUSE_END = re.compile(f"[,;:،؛、，；：—–][{CLOSING_MARKS}]*$")


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that no line break divides: a word with its punctuation, or a character of a language without spaces."""

    text: str
    span: Span
    spaced: bool
    """Whether a space separates it from the piece before it."""
    timed: bool
    """Whether the source states its time; it is estimated otherwise."""


def convention(language: str | None) -> Convention:
    """Return the limits of subtitles in a language."""
    return _CONVENTIONS.get(_primary(language), _DEFAULT)


def text_columns(text: str) -> int:
    """Return the width of a text, in columns."""
    return len(text) if text.isascii() else sum(map(_character_columns, text))


def line_text(line: Sequence[Piece]) -> str:
    """Return the text of a line."""
    return "".join(f" {piece.text}" if number and piece.spaced else piece.text for number, piece in enumerate(line))


def line_columns(line: Sequence[Piece]) -> int:
    """Return the width of a line, in columns."""
    return text_columns(line_text(line))


def pieces_of(segment: Segment) -> list[Piece]:
    """Return the pieces of a segment's text in order; none is wider than a line. A segment without text has none."""
    words = [replace(word, text=one_line(word.text)) for word in segment.words]
    words = [word for word in words if word.text]
    text, joined_words = one_line(segment.text), join_words((word.text for word in words if word.text), segment.language)
    # The text has the spaces that a language without spaces puts around foreign words, and may have more punctuation.
    chunks = _chunks(text, words)
    if chunks is None and sum(map(str.isalnum, text)) <= sum(map(str.isalnum, joined_words)):
        chunks = _chunks(joined_words, words)
    if chunks is None:
        return text_pieces(text, segment.span, segment.language)
    pieces: list[Piece] = []
    for word, chunk, before in zip(words, chunks, ["", *chunks], strict=False):
        spaced = before.endswith(" ")
        if pieces and not spaced and not _is_breakable(pieces[-1].text, chunk):
            span = Span(pieces[-1].span.start_s, max(pieces[-1].span.end_s, word.span.end_s))
            pieces[-1] = replace(pieces[-1], text=pieces[-1].text + chunk.strip(), span=span)
        else:
            pieces.append(Piece(chunk.strip(), word.span, spaced, timed=True))
    columns = convention(segment.language).line_columns
    return [part for piece in pieces for part in _divide_piece(piece, columns)]


def text_pieces(text: str, span: Span, language: str | None) -> list[Piece]:
    """Return the pieces of a text without times of words; each piece gets a share of the span by its width."""
    parts: list[tuple[str, bool]] = []
    for word in one_line(text).split():
        starts = [0, *(k for k in range(1, len(word)) if _is_wide(word[k - 1 : k + 1]) and _is_breakable(word[k - 1], word[k]))]
        parts += [(word[start:end], start == 0) for start, end in pairwise([*starts, len(word)])]
    spans = shares(span, [text_columns(part) for part, _ in parts])
    pieces = [Piece(part, part_span, spaced, timed=False) for (part, spaced), part_span in zip(parts, spans, strict=True)]
    columns = convention(language).line_columns
    return [part for piece in pieces for part in _divide_piece(piece, columns)]


def own_lines(segment: Segment) -> list[list[Piece]]:
    """Return the lines that a segment's text has itself, such as the turns of a dialogue in an imported subtitle."""
    lines = [text_pieces(line, segment.span, segment.language) for line in clean_text(segment.text).splitlines()]
    return [line for line in lines if line]


def break_lines(pieces: Sequence[Piece], columns: int) -> list[list[Piece]]:
    """Break pieces into lines of at most `columns` columns.

    Two lines are broken after punctuation and have a similar length, where possible. More lines are filled one after another.
    """
    lines: list[list[Piece]] = []
    for piece in pieces:
        if lines and line_columns([*lines[-1], piece]) <= columns:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    if len(lines) != MAX_LINES:
        return lines

    def cost(number: int) -> float:
        upper, lower = line_columns(pieces[:number]), line_columns(pieces[number:])
        if max(upper, lower) > columns:
            return float("inf")
        # An upper line may be shorter, but a lower line that is much shorter looks like a remainder.
        imbalance = abs(upper - lower) / columns + max(0.0, 0.6 * upper - lower) / columns
        return imbalance + 0.4 * break_rank(pieces[number - 1], pieces[number])

    best = min(range(1, len(pieces)), key=cost)
    return [list(pieces[:best]), list(pieces[best:])]


def break_rank(before: Piece, after: Piece) -> float:
    """Return how much a break between two pieces disturbs reading: 0 after a sentence, 1 after a clause, 2 or more elsewhere."""
    if ends_sentence(before.text, after.text):
        return 0.0
    if before.text.endswith("."):
        # An abbreviation belongs to the word after it.
        return 2.5
    if _CLAUSE_END.search(before.text) or (after.spaced and _UNSPACED.match(before.text[-1])):
        return 1.0
    if not after.spaced:
        # Most phrases in Japanese begin with Kanji or Katakana and end with Hiragana.
        return 1.6 if _HIRAGANA.match(before.text[-1]) and not _HIRAGANA.match(after.text[0]) else 2.2
    # Articles, prepositions and conjunctions are short in most languages, and belong to the word after them.
    return 2.5 if len(before.text) <= 3 else 2.0


def has_own_space(character: str) -> bool:
    """Whether a character is full-width punctuation, which needs no space after it."""
    return _is_wide(character) and unicodedata.category(character).startswith("P")


def _primary(language: str | None) -> str:
    return (language or "").partition("-")[0].lower()


@lru_cache(maxsize=4096)
def _character_columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if _is_wide(character) else 1


def _is_wide(text: str) -> bool:
    return any(unicodedata.east_asian_width(character) in "WF" for character in text)


def _is_breakable(before: str, after: str) -> bool:
    """Whether a line may be broken between two texts that no space separates."""
    last, first = before[-1], after[0]
    if not (_UNSPACED.match(last) or _UNSPACED.match(first)):
        return False
    is_first_allowed = first not in _NEVER_FIRST and unicodedata.category(first) not in ("Mn", "Mc", "Me", "Pe", "Pf", "Po", "Cf")
    return is_first_allowed and last not in _NEVER_LAST and unicodedata.category(last) not in ("Ps", "Pi", "Cf")


def _chunks(text: str, words: Sequence[Word]) -> list[str] | None:
    """Divide a text before each of its words but the first; None unless it has all words in order and no others."""
    starts, position = [0], 0
    for word in words:
        start = text.find(word.text, position)
        if start < 0 or any(map(str.isalnum, text[position:start])):
            return None
        # Opening quotes and brackets belong to the word after them.
        starts.append(max(position, text.rfind(" ", position, start) + 1) if " " in text[position:start] else start)
        position = start + len(word.text)
    if not words or any(map(str.isalnum, text[position:])):
        return None
    return [text[start:end] for start, end in pairwise([0, *starts[2:], len(text)])]


def _divide_piece(piece: Piece, columns: int) -> Iterator[Piece]:
    """Divide a piece that is wider than a line."""
    parts, width = [""], 0
    for character in piece.text:
        width += _character_columns(character)
        if width > columns:
            parts.append("")
            width = _character_columns(character)
        parts[-1] += character
    if len(parts) == 1:
        yield piece
        return
    for number, (part, span) in enumerate(zip(parts, shares(piece.span, list(map(text_columns, parts))), strict=True)):
        yield Piece(part, span, piece.spaced and not number, piece.timed and not number)


def shares(span: Span, weights: Sequence[int]) -> list[Span]:
    """Divide a span into consecutive parts in proportion to their weights."""
    total, position = sum(weights) or 1, 0
    times_s = [span.start_s]
    for weight in weights:
        position += weight
        times_s.append(min(span.end_s, span.start_s + span.duration_s * position / total))
    return [Span(start_s, end_s) for start_s, end_s in pairwise(times_s)]
