"""Transcripts without times: their sentences, placed at the times of recognised words.

The words of the transcript and the recognised words are compared without case, punctuation and accents. Languages that are
written without spaces, and Korean, in which recognition errs in the spaces, are compared by characters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from longview.core.scripts import UNSPACED_SCRIPTS, split_sentences
from longview.core.timeline import Segment, Span, Word
from longview.video.errors import UnreadableSubtitles
from longview.video.subtitles.alignment import align
from longview.video.subtitles.cues import TRACK, clean_text
from longview.video.subtitles.encoding import read_text_file

MAX_TRANSCRIPT_BYTES = 4 << 20
"""Maximum size of a transcript, in bytes: that of two days of fast speech."""
MAX_SENTENCE_CHARACTERS = 240
"""Length from which on a sentence without punctuation is split, in characters: about 15 seconds of speech."""
MIN_MATCHED_SHARE = 0.3
"""Minimum share of a sentence's words that must be recognised. Of 1,773 sentences of other talks, 10 reach it by chance."""
MAX_PAUSE_S = 20.0
"""Maximum time between two recognised words of one sentence, in seconds. Beyond it, one of them matched by chance."""
MAX_INTERPOLATED_S = 5.0
"""Maximum time between two recognised words, in seconds, in which the words between them get interpolated times."""
MAX_MISRECOGNISED_WORDS = 25
"""Maximum number of consecutive words that were all recognised as others: a long sentence."""
MAX_LENGTH_RATIO = 2.0
"""Maximum ratio between the lengths of misrecognised words and of what was recognised in their place."""
ANCHOR_WORDS, MIN_ANCHORS = 4, 5
"""Number of words before and after them that are looked at, and minimum number of these that must be recognised. In another talk,
single words match by chance."""
NEARBY_WORDS = 2
"""Number of words before and after a word in which a recognised one counts as nearby."""
DISPLAYED_WORD = re.compile(rf"[^\w\s]*[{UNSPACED_SCRIPTS}][^\w\s]*|[^\s{UNSPACED_SCRIPTS}]+")
COMPARED_UNIT = re.compile(rf"[{UNSPACED_SCRIPTS}\uac00-\ud7af]|[^\W_{UNSPACED_SCRIPTS}\uac00-\ud7af]+")
"""What is compared: a character of these scripts or a Korean syllable, or else a word without apostrophes and hyphens."""
APOSTROPHE = re.compile("['’ʼ]")
SPEAKER = re.compile(r"[^\s:：]{1,30}+(?: [^\s:：]{1,30}+){0,3}+[:：]\s*+(?=\S)")
"""A name of up to four words with a colon at the start of a line. It is shown, but not spoken."""
DIRECTION = re.compile(r"\[[^\[\]]*\]")
"""A stage direction, a sound or a time in square brackets. It is shown, but not spoken."""
MARKDOWN = (
    (re.compile(r"!\[[^\[\]]{0,500}\]\([^()\s]{0,2000}\)"), ""),
    (re.compile(r"\[([^\[\]]{0,500})\]\([^()\s]{0,2000}\)"), r"\1"),
    (re.compile(r"^[ \t]{0,3}(?:[-*_=][ \t]?){3,}$", re.MULTILINE), ""),
    (re.compile(r"^[ \t]{0,3}(?:#{1,6}|>|[-*+]|\d{1,3}\.)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"[*`]|~~|(?<!\w)_{1,3}|_{1,3}(?!\w)"), ""),
)
"""Markup of Markdown and its replacements: images, links, rules, marks at the start of a line, and emphasis."""


@dataclass(frozen=True)
class Alignment:
    """A transcript whose sentences were placed at the times of recognised words."""

    segments: tuple[Segment, ...]
    """One segment per sentence, in order, with the source `subtitles`, and with those words whose times are known."""
    unmatched_share: float
    """Share of the transcript's words near which no word was recognised, 0 to 1; 1 if the transcript has no words."""
    unmatched: tuple[str, ...]
    """Sentences, headings and stage directions that could not be placed, in order."""


@dataclass(frozen=True)
class _Sentence:
    text: str
    words: tuple[str, ...]
    """The words that are spoken, as displayed."""


def read_transcript(path: Path) -> str:
    """Read a transcript from a text or Markdown file.

    Raises:
        UnreadableSubtitles: the file cannot be read, is too large, is not text, or contains no words.
    """
    text = read_text_file(path, max_bytes=MAX_TRANSCRIPT_BYTES).text
    lines = "\n".join(map(clean_text, text.splitlines()))
    if not COMPARED_UNIT.search(lines):
        raise UnreadableSubtitles(f"{path} contains no words; choose a transcript.")
    return lines


def align_transcript(text: str, words: Sequence[Word]) -> Alignment:
    """Place the sentences of a transcript at the times of recognised words.

    Raises:
        UnreadableSubtitles: the transcript is larger than `MAX_TRANSCRIPT_BYTES`.
    """
    if len(text) > MAX_TRANSCRIPT_BYTES:
        raise UnreadableSubtitles(f"The transcript has more than {MAX_TRANSCRIPT_BYTES >> 20} MB; split it.")
    sentences = list(_sentences(text))
    own_words = [word for sentence in sentences for word in sentence.words]
    spans = _matched_spans(own_words, sorted(words, key=lambda word: word.span))
    segments, unmatched_texts = [], []
    is_placed = [False] * len(own_words)
    begin = 0
    for sentence in sentences:
        end = begin + len(sentence.words)
        sentence_spans = _without_outliers(spans[begin:end])
        matched_spans = [span for span in sentence_spans if span is not None]
        if matched_spans and len(matched_spans) >= MIN_MATCHED_SHARE * len(sentence.words):
            is_placed[begin:end] = [span is not None for span in sentence_spans]
            timed_words = tuple(_timed_words(sentence.words, sentence_spans))
            span = Span(matched_spans[0].start_s, max(span.end_s for span in matched_spans))
            segments.append(Segment(span, sentence.text, TRACK, words=timed_words))
        else:
            unmatched_texts.append(sentence.text)
        begin = end
    distant = sum(not any(is_placed[max(0, at - NEARBY_WORDS) : at + NEARBY_WORDS + 1]) for at in range(len(is_placed)))
    return Alignment(tuple(segments), distant / len(is_placed) if is_placed else 1.0, tuple(unmatched_texts))


# -- words -------------------------------------------------------------------------------------------------------------


def _units(word: str) -> list[str]:
    """Return what is compared of a word: its characters or parts, without case, accents and punctuation."""
    decomposed_word = unicodedata.normalize("NFKD", word.casefold())
    plain = "".join(character for character in decomposed_word if unicodedata.category(character) != "Mn")
    # Korean syllables are composed again.
    return COMPARED_UNIT.findall(unicodedata.normalize("NFC", APOSTROPHE.sub("", plain)))


def _matched_spans(own_words: Sequence[str], speech_words: Sequence[Word]) -> list[Span | None]:
    """Return the span of each spoken word that was recognised, and None for each other one."""
    spoken_units, spoken_owners = _all_units(own_words)
    units, owners = _all_units([word.text for word in speech_words])
    counts = [0] * len(speech_words)
    ranks = []
    for owner in owners:
        ranks.append(counts[owner])
        counts[owner] += 1
    spans: list[Span | None] = [None] * len(own_words)
    matches: dict[int, int] = {}
    for spoken_unit, unit in align(spoken_units, units):
        owner = owners[unit]
        whole = speech_words[owner].span
        part_s = whole.duration_s / counts[owner]
        start_s = whole.start_s + ranks[unit] * part_s
        end_s = whole.end_s if ranks[unit] == counts[owner] - 1 else start_s + part_s
        index = spoken_owners[spoken_unit]
        anchor = spans[index]
        spans[index] = Span(start_s, end_s) if anchor is None else Span(anchor.start_s, max(anchor.start_s, end_s))
        matches[index] = owner
    _place_misrecognised(own_words, speech_words, spans, matches)
    return spans


def _place_misrecognised(
    own_words: Sequence[str], speech_words: Sequence[Word], spans: list[Span | None], matches: dict[int, int]
) -> None:
    """Give words that were recognised as others the times of those: both stand between the same two matched words."""
    for (before, first), (after, last) in pairwise(sorted(matches.items())):
        words, others = own_words[before + 1 : after], speech_words[first + 1 : last]
        if not words or not others or len(words) > MAX_MISRECOGNISED_WORDS:
            continue
        nearby = range(before - ANCHOR_WORDS + 1, after + ANCHOR_WORDS)
        length, other_length = sum(map(len, words)), sum(len(other.text) for other in others)
        is_plausible = 1 / MAX_LENGTH_RATIO <= length / max(1, other_length) <= MAX_LENGTH_RATIO
        if not is_plausible or sum(index in matches for index in nearby) < MIN_ANCHORS:
            continue
        start_s, duration_s = others[0].span.start_s, others[-1].span.end_s - others[0].span.start_s
        position = 0
        for index, word in enumerate(words, before + 1):
            begin_s = start_s + duration_s * position / length
            position += len(word)
            spans[index] = Span(begin_s, max(begin_s, start_s + duration_s * position / length))


def _all_units(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the units of all words, and for each unit the position of its word."""
    pairs = [(unit, index) for index, word in enumerate(words) for unit in _units(word)]
    return [unit for unit, _ in pairs], [index for _, index in pairs]


def _without_outliers(spans: Sequence[Span | None]) -> list[Span | None]:
    """Keep the largest group of a sentence's spans between which no pause is longer than `MAX_PAUSE_S`."""
    groups: list[list[int]] = []
    last_s = 0.0
    for index, span in enumerate(spans):
        if span is None:
            continue
        if not groups or span.start_s - last_s > MAX_PAUSE_S:
            groups.append([])
        groups[-1].append(index)
        last_s = span.end_s
    largest: list[int] = max(groups, key=len, default=[])
    members = set(largest)
    return [span if index in members else None for index, span in enumerate(spans)]


def _timed_words(words: Sequence[str], spans: Sequence[Span | None]) -> Iterator[Word]:
    """Yield the words with known times, and those between two of them with times in proportion to their lengths."""
    anchors = [(index, span) for index, span in enumerate(spans) if span is not None]
    yield Word(anchors[0][1], words[anchors[0][0]])
    for (before, before_span), (after, after_span) in pairwise(anchors):
        between = words[before + 1 : after]
        start_s = min(before_span.end_s, after_span.start_s)
        gap_s = after_span.start_s - start_s
        if between and gap_s <= MAX_INTERPOLATED_S:
            length = sum(map(len, between))
            for word in between:
                end_s = start_s + gap_s * len(word) / length
                yield Word(Span(start_s, end_s), word)
                start_s = end_s
        yield Word(after_span, words[after])


# -- sentences ---------------------------------------------------------------------------------------------------------


def _sentences(text: str) -> Iterator[_Sentence]:
    """Split a transcript into sentences, without Markdown."""
    for pattern, replacement in MARKDOWN:
        text = pattern.sub(replacement, text)
    for line in _lines(text):
        speaker = SPEAKER.match(line)
        begin = speaker.end() if speaker else 0
        for piece in _pieces(line[begin:]):
            yield _Sentence(f"{line[:begin]}{piece}", _spoken_words(piece))
            begin = 0


def _spoken_words(sentence: str) -> tuple[str, ...]:
    """Return the words of a sentence with their punctuation, without stage directions."""
    words: list[str] = []
    for word in DISPLAYED_WORD.findall(DIRECTION.sub(" ", sentence)):
        if COMPARED_UNIT.search(word):
            words.append(word)
        elif words:
            # In French, a space precedes some punctuation.
            words[-1] += f" {word}"
    return tuple(words)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text. A line that begins with a small letter continues the one before."""
    parts: list[str] = []
    for line in map(clean_text, text.splitlines()):
        if parts and not line[:1].islower():
            yield " ".join(parts)
            parts = []
        if line:
            parts.append(line)
    if parts:
        yield " ".join(parts)


def _pieces(line: str) -> Iterator[str]:
    """Split a line at the ends of sentences, and a long sentence without punctuation between words."""
    for sentence in split_sentences(line):
        yield from _short_pieces(sentence)


def _short_pieces(sentence: str) -> Iterator[str]:
    begin = 0
    while len(sentence) - begin > MAX_SENTENCE_CHARACTERS:
        end = sentence.rfind(" ", begin, begin + MAX_SENTENCE_CHARACTERS) + 1 or begin + MAX_SENTENCE_CHARACTERS
        yield sentence[begin:end].strip()
        begin = end
    if sentence[begin:].strip():
        yield sentence[begin:].strip()
