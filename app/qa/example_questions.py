"""Example questions: what can be asked about one video, from its tracks, so that every example has an answer."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from longview.core.sources import traits_of, transcript_sources
from longview.core.time_format import format_clock
from longview.core.timeline import Segment
from longview.indexing.search.quotes import QUESTION_WORDS
from longview.indexing.text.terms import query_terms

MIN_LETTERS = 5
"""Minimum length of a word that is asked for; longer words are rarer, and tell more of what a video is about."""
MENTIONS = (2, 4)
"""Minimum and maximum number of segments that have the word that is asked for, if there is such a word: the answer is a list, and
a short one."""
EARLY = 0.2
"""Part of a video after which the example of a time is, as a share of its length: before it is often a greeting or a title."""
MAX_SEGMENTS = 2000
"""Maximum number of segments that are examined."""
_WORD = re.compile(r"[A-Za-zÀ-ɏͰ-ӿ]+")
"""A word of a script that separates words with spaces: Latin, Greek or Cyrillic."""


@dataclass(frozen=True)
class Examples:
    """What the page suggests for a video."""

    questions: tuple[str, ...] = ()
    search: str = ""
    """A query that finds the video; empty if there is none."""


def examples_of(duration_s: float, first_segments: Callable[[str, int], Sequence[Segment]]) -> Examples:
    """Return the same as `examples_for` about a video of which only those segments are read that tell it.

    `first_segments`: returns the first segments of a source in order of time, at most a number of them.
    """
    for source, limit in (("captions", 1), *((name, MAX_SEGMENTS) for name in transcript_sources())):
        if segments := first_segments(source, limit):
            return examples_for(duration_s, {source: segments})
    return Examples()


def examples_for(duration_s: float, segments: Mapping[str, Sequence[Segment]]) -> Examples:
    """Return questions that can be answered about a video: from its captions, else from its words; none if it has neither.

    `segments`: those of each source, in order of time.
    """
    if captions := segments.get("captions"):
        return Examples(_caption_questions(duration_s), captions[0].text.rstrip("."))
    for source in transcript_sources():
        if words := segments.get(source):
            return _word_examples(source, words[:MAX_SEGMENTS], duration_s)
    return Examples()


def _caption_questions(duration_s: float) -> tuple[str, ...]:
    return (
        f"What happens at {format_clock(int(min(5.0, duration_s / 2)))}?",
        "What happens in the first 20 seconds?",
        "What happens in the last 20 seconds?",
        "How many events are in the video?",
    )


def _word_examples(source: str, segments: Sequence[Segment], duration_s: float) -> Examples:
    traits = traits_of(source)
    verb, mentioned = ("said", "mentioned") if traits.is_spoken else ("shown", "shown")
    questions = ["What is it about?"]
    # Of another kind, such as music, nothing is said or shown.
    if traits.kind != "other" and (time_s := _time_inside(segments, duration_s)) is not None:
        questions.append(f"What is {verb} at {format_clock(time_s)}?")
    word = _telling_word(segments)
    if word and traits.kind != "other":
        questions.append(f"When is “{word}” {mentioned}?")
    return Examples(tuple(questions), word or segments[0].text)


def _time_inside(segments: Sequence[Segment], duration_s: float) -> int | None:
    """Return a whole second at which there are words, in seconds; None if no segment has one inside."""
    times_s = [
        second
        for segment in segments
        if segment.span.contains(second := int((segment.span.start_s + segment.span.end_s) / 2)) and second < duration_s
    ]
    return next((time_s for time_s in times_s if time_s >= EARLY * duration_s), times_s[0] if times_s else None)


def _telling_word(segments: Sequence[Segment]) -> str:
    """Return the longest word that a few segments have, else the longest one; empty if there is none in a spaced script."""
    spellings: dict[tuple[str, ...], str] = {}
    counts: dict[tuple[str, ...], int] = {}
    for segment in segments:
        for terms, word in {query_terms(word): word for word in _WORD.findall(segment.text)}.items():
            if terms and len(word) >= MIN_LETTERS and word.lower() not in QUESTION_WORDS:
                spellings.setdefault(terms, word)
                counts[terms] = counts.get(terms, 0) + 1
    least, most = MENTIONS
    few = [terms for terms in counts if least <= counts[terms] <= most]
    return max((spellings[terms] for terms in few or counts), key=len, default="")
