"""Cues: the subtitles of a file or stream as they are stored, and their conversion to segments with plain text."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from longview.core.timeline import Segment, Span
from longview.video.errors import UnreadableSubtitles

TRACK = "subtitles"
"""Source of all segments that come from subtitles or transcripts."""
MAX_CUES = 200_000
"""Maximum number of subtitles in a file or stream: more than one per second in two days of video."""
MAX_CUE_CHARACTERS = 10_000
"""Maximum length of the text of a subtitle, in characters: 20 minutes of fast speech. Longer ones are cut."""
TAG = re.compile(
    r"</?(?:[ibus]|em|strong|big|small|tt|sub|sup|strike|del)\s{0,3}>"
    r"|</?(?:font|c|v|lang|ruby|rt|span|p|div|a)(?:[\s.][^<>]*)?>"
    r"|<\d++:[\d:.]*+>",
    re.IGNORECASE,
)
"""The tags of SRT and WebVTT, and the times within WebVTT lines. Any other text in angle brackets, such as `<unk>`, is shown."""
LINE_BREAK = re.compile(r"<br\s{0,3}/?>|\\[Nn]", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
"""A character reference with its semicolon; without one, `&copy` in an address is text."""
DRAWING = re.compile(r"\\p(\d+)")
"""The override tag of SubStation Alpha that starts a drawing, or ends it if the number is 0."""
BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Controls of the direction of text. They can make a text look like another one."""
REMOVED_CATEGORIES = frozenset({"Cc", "Cs"})
"""Unicode categories of control and surrogate characters."""


@dataclass(frozen=True)
class Cue:
    """One subtitle with its times as stored, which may be negative or in the wrong order."""

    start_s: float
    end_s: float
    text: str
    """Plain text in one line; empty for a drawing or a cue without text."""


def ass_text(markup: str) -> str:
    """Return the text that a dialogue line of SubStation Alpha shows, in one line, without drawings."""
    parts, is_drawing = [], False
    for override, text in _split_overrides(markup, "{"):
        for scale in DRAWING.findall(override):
            is_drawing = int(scale[:4]) > 0
        if not is_drawing:
            parts.append(text)
    text = LINE_BREAK.sub(" ", "".join(parts)).replace("\\h", " ")
    return clean_text(text.replace("\\{", "{").replace("\\}", "}"))


def html_text(markup: str) -> str:
    """Return the text that the markup of an SRT or WebVTT cue shows, in one line."""
    # Many SRT files contain overrides of SubStation Alpha such as `{\an8}`. Other braces are text.
    text = "".join(text for _, text in _split_overrides(markup, "{\\"))
    text = TAG.sub("", LINE_BREAK.sub(" ", text))
    return clean_text(ENTITY.sub(lambda match: html.unescape(match.group()), text))


def clean_text(text: str) -> str:
    """Join the lines of a text by spaces, and remove control characters and controls of direction."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    visible = (
        character
        for character in " ".join(text.split())
        if unicodedata.category(character) not in REMOVED_CATEGORIES and character not in BIDI_CONTROLS and character != "\ufeff"
    )
    return " ".join("".join(visible).split())


def _split_overrides(markup: str, opening: str) -> Iterator[tuple[str, str]]:
    """Yield each override block, which begins with `opening` and ends with a brace, and the text up to the next one."""
    override, position = "", 0
    while True:
        begin = markup.find(opening, position)
        while begin > 0 and markup[begin - 1] == "\\":
            begin = markup.find(opening, begin + 1)
        end = markup.find("}", begin) if begin >= 0 else -1
        if end < 0:
            yield override, markup[position:]
            return
        yield override, markup[position:begin]
        override, position = markup[begin : end + 1], end + 1


def segments_from(
    cues: Iterable[Cue], *, name: str, language: str | None = None, offset_s: float = 0.0
) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """Return the segments of cues in order of time, and sentences about the cues that were left out or changed.

    `name`: what error messages call the source. `offset_s`: seconds that are added to all times.

    Raises:
        UnreadableSubtitles: there are more cues than `MAX_CUES`.
    """
    segments: dict[tuple[Span, str], Segment] = {}
    long_count = reversed_count = before_count = clamped_count = repeated_count = 0
    for count, cue in enumerate(cues, start=1):
        check_count(count, name)
        if not cue.text:
            continue
        long_count += len(cue.text) > MAX_CUE_CHARACTERS
        text = cue.text[:MAX_CUE_CHARACTERS]
        start_s, end_s = cue.start_s + offset_s, cue.end_s + offset_s
        if end_s < start_s:
            reversed_count += 1
            continue
        if start_s < 0 and end_s <= 0:
            before_count += 1
            continue
        clamped_count += start_s < 0
        span = Span(max(0.0, start_s), end_s)
        repeated_count += (span, text) in segments
        segments.setdefault((span, text), Segment(span, text, TRACK, language))
    before, long = "before the start of the video", f"more than {MAX_CUE_CHARACTERS} characters"
    problems = (
        count_sentence(reversed_count, "ends before it starts and was left out", "end before they start and were left out"),
        count_sentence(before_count, f"is {before} and was left out", f"are {before} and were left out"),
        count_sentence(long_count, f"has {long} and was cut", f"have {long} and were cut"),
        count_sentence(clamped_count, f"starts {before} and was cut", f"start {before} and were cut"),
        count_sentence(repeated_count, "repeats another one and was left out", "repeat others and were left out"),
    )
    return tuple(sorted(segments.values(), key=lambda segment: segment.span)), join_sentences(problems)


def check_count(count: int, name: str) -> None:
    """Check the number of subtitles of a source that error messages call `name`.

    Raises:
        UnreadableSubtitles: the source has more than `MAX_CUES`.
    """
    if count > MAX_CUES:
        raise UnreadableSubtitles(f"{name} has more than {MAX_CUES} subtitles; choose another file.")


def count_sentence(count: int, singular: str, plural: str) -> str:
    """Return a sentence about a number of subtitles; empty for none."""
    if count == 0:
        return ""
    return f"1 subtitle {singular}." if count == 1 else f"{count} subtitles {plural}."


def join_sentences(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences that are not empty."""
    return tuple(filter(None, sentences))
