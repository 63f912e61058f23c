"""Answers from quotes about a time: what is said and shown then, and what comes before and after something."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from longview.app.qa.quotes.questions import Aspect
from longview.app.qa.quotes.text import NO_SOUND, SIGHT_HINT, ExtractiveAnswer, cite, group_screens, quote_line, said_once
from longview.app.qa.transcript_coverage import TranscriptCoverage, has_sound, transcript_coverage
from longview.core.sources import traits_of
from longview.core.time_format import format_time
from longview.core.timeline import Segment, Span
from longview.indexing.records.video import VideoEntry
from longview.indexing.search.quotes import Quote
from longview.indexing.sqlite.library import Library
from longview.indexing.text.sentences import Sentence, sentences_of

MAX_LISTED = 40
"""Maximum number of quotes for a time."""
SENTENCE_MARGIN_S = 20.0
"""Time before and after a span in which its first and its last sentence may begin and end, in seconds."""
SEARCHED_S = (60.0, 600.0, 36_000.0, 1e9)
"""Lengths of the parts before and after a time in which its nearest sentences are looked for, one after the other, in seconds."""
STANDING_SHARE = 0.5
"""Share of a video for which a line stands that is on screen nearly all the time, such as the name of a channel."""
MIN_STANDING_S = 60.0
"""Minimum time for which such a line stands, in seconds."""
NEIGHBOURS = 3
"""Number of sentences before or after a mention that are quoted."""
BREATH_S = 1.5
"""Time before and after a single time in which sentences count as said then, if none is said just then, in seconds."""
COVERED_MARGIN_S = 3.0
"""Time before and after a span in which it counts what was listened to and read, in seconds: frames are read one a second."""
MIN_OVERLAP_S = 1.0
"""Minimum time for which a longer sentence or line reaches into a span that it belongs to, in seconds."""
ROUNDING_S = 0.05
"""Difference between two times that is rounding, in seconds."""


@dataclass(frozen=True)
class _Part:
    """The part of an answer about what is said, or about what is shown."""

    lines: list[str]
    quotes: list[Quote] = field(default_factory=list)
    is_found: bool = False
    is_known: bool = True
    """Whether it was listened to or read."""


class MomentQuotes:
    """Quotes what one video says and shows at a time."""

    def __init__(self, library: Library, entry: VideoEntry) -> None:
        self._library, self._entry = library, entry

    def answer(self, span: Span, aspect: Aspect | None) -> ExtractiveAnswer:
        """Quote all that is said and shown at a time. `span`: a single time has length 0. `aspect`: what comes first."""
        coverage = transcript_coverage(self._entry, _widen(span, COVERED_MARGIN_S))
        sentences = self._sentences_at(span)
        if coverage.is_empty and not sentences:
            return ExtractiveAnswer(f"What is said and shown {_when(span)} is not known: {coverage}.", (), None, None, coverage)
        speech = [item for item in sentences if traits_of(item.source).is_spoken]
        if span.duration_s == 0 and not speech:
            # A pause for breath does not count as silence.
            near = _widen(span, BREATH_S)
            speech = [
                item
                for item in self._sentences_around(near)
                if traits_of(item.source).is_spoken and item.span.overlap_s(near) > 0
            ]
        lines = [item for item in sentences if not traits_of(item.source).is_spoken]
        parts = {
            "said": self._said_part(span, group_screens(speech), coverage),
            "shown": self._shown_part(span, lines, coverage),
        }
        ordered = [parts["shown"], parts["said"]] if aspect == "shown" else [parts["said"], parts["shown"]]
        text = "\n".join(line for part in ordered for line in part.lines)
        quotes = [quote for part in ordered for quote in part.quotes]
        asked_parts = [parts[aspect]] if aspect else ordered
        is_found = (
            True if any(part.is_found for part in asked_parts) else False if all(part.is_known for part in asked_parts) else None
        )
        hint = SIGHT_HINT if aspect == "shown" and not lines else ""
        return ExtractiveAnswer(text, cite(self._entry, quotes), is_found, None, coverage, hint)

    def neighbours(self, quote: Quote, *, is_after: bool) -> list[Quote]:
        """Return what is said and shown next after a quote, or last before it, in order of time."""
        time_s = quote.span.end_s if is_after else quote.span.start_s
        neighbours = self._nearest(time_s, is_after=is_after, count=2 * NEIGHBOURS)
        others = [item for item in group_screens(neighbours) if item.text != quote.text]
        return others[:NEIGHBOURS] if is_after else others[-NEIGHBOURS:]

    def _sentences_around(self, span: Span) -> Sequence[Sentence]:
        return sentences_of(self._segments(_widen(span, SENTENCE_MARGIN_S)))

    def _sentences_at(self, span: Span) -> list[Sentence]:
        sentences = self._sentences_around(span)
        if span.duration_s == 0:
            return [item for item in sentences if item.span.contains(span.start_s)]
        # A slide that ends when a minute begins is not shown in that minute.
        least_s = min(MIN_OVERLAP_S, span.duration_s / 4)
        return [item for item in sentences if item.span.overlap_s(span) > min(least_s, item.span.duration_s / 2)]

    def _said_part(self, span: Span, quotes: list[Quote], coverage: TranscriptCoverage) -> _Part:
        """Return what is said at a time; that nothing is, from when until when, and what comes before and after."""
        if quotes:
            return _listing(f"Said {_when(span)}:", quotes)
        if not has_sound(self._entry):
            return _Part([NO_SOUND])
        if not (coverage.listened_s or coverage.subtitles):
            return _Part([f"What is said {_when(span)} is not known: {coverage}."], is_known=False)
        before = self._nearest(span.start_s, is_after=False, count=1, is_spoken=True)
        after = self._nearest(span.end_s, is_after=True, count=1, is_spoken=True)
        if not before and not after:
            return _Part([f"Nothing is said in this video: {coverage}."])
        start_s = before[0].span.end_s if before else 0.0
        end_s = after[0].span.start_s if after else max(self._entry.duration_s, span.end_s)
        lines = [f"Nothing is said between {format_time(start_s)} and {format_time(end_s)}."]
        quotes = group_screens([*before, *after])
        labels = ["Before it"] * len(before) + ["After it"] * len(after)
        lines += [quote_line(quote, label) for quote, label in zip(quotes, labels, strict=True)]
        return _Part(lines, quotes)

    def _shown_part(self, span: Span, sentences: list[Sentence], coverage: TranscriptCoverage) -> _Part:
        """Return what is shown at a time. A line that stands for most of the video comes last."""
        standing = group_screens([item for item in sentences if self._is_standing(item)])
        passing = group_screens([item for item in sentences if not self._is_standing(item)])
        is_seen = all(traits_of(quote.source).kind != "other" for quote in passing)
        part = _listing(f"{'Shown' if is_seen else 'Found'} {_when(span)}:", passing)
        part.lines.extend(quote_line(quote, "on screen most of the time") for quote in standing[:MAX_LISTED])
        part.quotes.extend(standing[:MAX_LISTED])
        if not part.quotes and coverage.frames_read:
            part.lines.append(f"Nothing is written on the screen {_when(span)}.")
        elif not part.quotes and self._entry.has_frames:
            part.lines.append(f"What is written on the screen {_when(span)} is not known: {coverage}.")
        return _Part(part.lines, part.quotes, is_found=bool(part.quotes), is_known=bool(coverage.frames_read))

    def _nearest(self, time_s: float, *, is_after: bool, count: int, is_spoken: bool = False) -> list[Sentence]:
        """Return the sentences and lines that begin next after a time, or end last before it, in order of time."""
        nearest: list[Sentence] = []
        for length_s in SEARCHED_S:
            first_s, last_s = (time_s - SENTENCE_MARGIN_S, time_s + length_s) if is_after else (time_s - length_s, time_s)
            sentences = [
                item
                for item in sentences_of(self._segments(Span(max(0.0, first_s), last_s)))
                if not self._is_standing(item) and (traits_of(item.source).is_spoken or not is_spoken)
            ]
            if is_after:
                nearest = [item for item in sentences if item.span.start_s >= time_s - ROUNDING_S][:count]
            else:
                earlier = [item for item in sentences if item.span.end_s <= time_s + ROUNDING_S]
                nearest = sorted(sorted(earlier, key=lambda item: item.span.end_s)[-count:], key=lambda item: item.span)
            if len(nearest) == count:
                break
        return nearest

    def _segments(self, within: Span) -> list[Segment]:
        return said_once([item.segment for item in self._library.tracks.segments(self._entry.video_id, within=within)])

    def _is_standing(self, sentence: Sentence) -> bool:
        return traits_of(sentence.source).is_screen and is_standing(sentence.span, self._entry.duration_s)


def is_standing(span: Span, duration_s: float) -> bool:
    """Whether a line on screen stands for most of a video, such as the name of a channel."""
    return span.duration_s >= max(MIN_STANDING_S, STANDING_SHARE * duration_s)


def _listing(head: str, quotes: Sequence[Quote]) -> _Part:
    if not quotes:
        return _Part([], is_found=False)
    lines = [head, *map(quote_line, quotes[:MAX_LISTED])]
    if len(quotes) > MAX_LISTED:
        lines.append(f"… and {len(quotes) - MAX_LISTED:,} more; the transcript has all of them.")
    return _Part(lines, list(quotes[:MAX_LISTED]), is_found=True)


def _when(span: Span) -> str:
    if span.duration_s == 0:
        return f"at {format_time(span.start_s)}"
    return f"from {format_time(span.start_s)} to {format_time(span.end_s)}"


def _widen(span: Span, margin_s: float) -> Span:
    return Span(max(0.0, span.start_s - margin_s), span.end_s + margin_s)
