"""The transcript of a window as context for a checkpoint: segments of speech, subtitles and screen text -> a fenced block.

Most questions about a real video are about what is said and shown in it, and a checkpoint does not hear and hardly reads. The
block follows the frames, so that they stay as the checkpoint was trained on them. What others said or wrote is data: it can
neither end the fence nor begin a line.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from longview.core.sources import traits_of
from longview.core.timeline import Segment, Span
from longview.model.engine.checkpoints.profiles import Prompts
from longview.model.engine.sessions import SessionPool
from longview.video.sampling_plan import SamplingPlan, Window
from longview.video.subtitles.transcript import COMPARED_UNIT

SegmentsWithin = Callable[[Span], Sequence[Segment]]
"""Function that returns what is said and shown in a span of the video, on the video's clock."""

SEPARATOR = " / "
"""Text between the segments of one line: those of a slide, which have the same times."""
MAX_LINE_CHARACTERS = 400
"""Maximum length of the text of a line. A sentence has about 100 characters; a page of small print would fill the budget."""
MIN_LINE_TOKENS = 12
"""Fewest tokens of a line: its times take about as many. It limits how many lines are counted."""
REPETITION_S = 60.0
"""Time within which the same text of one source is a repetition, in seconds."""
MAX_REPEATING_LINE_S = 15.0
"""Maximum length of a line that may repeat what another source has, in seconds: a subtitle is on screen for at most 7 s. The
title of a slide stands longer, and does not repeat a speech that names it."""
REPEATED_SHARE = 0.8
"""Minimum share of the words of a line that another source has at that time. Recognised speech differs from subtitles."""


@dataclass(frozen=True)
class TranscriptLine:
    """One line of the block: a segment as the checkpoint gets it."""

    segment: Segment
    """The segment, on the video's clock. Several with the same times are one, with their texts in the order of the screen."""
    span: Span
    """The part of it in the window, on the session's clock, to a tenth of a second."""
    text: str
    """Its text on one line, without angle brackets."""

    def __str__(self) -> str:
        """The line, with its times in the unit of the timestamps, so that a reply can repeat them as they are."""
        traits = traits_of(self.segment.source)
        return f"[{self.span.start_s:.1f} - {self.span.end_s:.1f} seconds] {traits.context_label or traits.label}: {self.text}"


@dataclass(frozen=True)
class TranscriptContext:
    """What is said and shown in a window, as a checkpoint gets it."""

    prompt: str
    """The context of a question; see `longview.model.engine.base.VideoSession.generate`. Empty without lines."""
    lines: tuple[TranscriptLine, ...]
    """The lines in it, in order of time."""


NO_TRANSCRIPT = TranscriptContext("", ())


def no_segments(span: Span) -> Sequence[Segment]:  # noqa: ARG001
    """Return no segments, for a caller without a library."""
    return ()


def transcript_context(pool: SessionPool, plan: SamplingPlan, window: Window, segments: SegmentsWithin) -> TranscriptContext:
    """Return the transcript of a window, within the tokens that its plan reserves for it. Some checkpoints take none."""
    engine, profile = pool.engine, pool.engine.checkpoint.profile
    max_tokens = plan.window_transcript_tokens[plan.windows.index(window)]
    if not (profile.takes_words and max_tokens):
        return NO_TRANSCRIPT
    segments_here = segments(window.span)
    return fit_transcript(segments_here, window, profile.prompts, max_tokens=max_tokens, count_tokens=engine.count_tokens)


def fit_transcript(
    segments: Sequence[Segment], window: Window, prompts: Prompts, *, max_tokens: int, count_tokens: Callable[[str], int]
) -> TranscriptContext:
    """Return the transcript of a window in at most `max_tokens` tokens. The same segments always give the same text.

    If they do not fit, first the repetitions are left out, and then the lines with the lowest confidence, in the same share of
    each source. A segment without a confidence is certain. Lines with equal confidences are left out evenly over the window.
    """

    def render(lines: Sequence[TranscriptLine], omitted_count: int) -> str:
        return prompts.transcript([str(line) for line in lines], omitted_count)

    lines = _lines(segments, window)
    if 0 < len(lines) * MIN_LINE_TOKENS <= max_tokens and count_tokens(prompt := render(lines, 0)) <= max_tokens:
        return TranscriptContext(prompt, tuple(lines))
    fitting_lines: list[tuple[int, TranscriptLine]] = []
    remaining_tokens = max_tokens - count_tokens(render((), len(lines)))
    for index, line in _by_rank(_without_repetitions(lines))[: max_tokens // MIN_LINE_TOKENS]:
        remaining_tokens -= count_tokens(f"{line}\n")
        if remaining_tokens < 0:
            break
        fitting_lines.append((index, line))
    while fitting_lines:
        in_order = [line for _, line in sorted(fitting_lines, key=lambda item: item[0])]
        if count_tokens(prompt := render(in_order, len(lines) - len(fitting_lines))) <= max_tokens:
            return TranscriptContext(prompt, tuple(in_order))
        # Together the lines take more tokens than one by one, which is rare.
        fitting_lines.pop()
    return NO_TRANSCRIPT


def _lines(segments: Sequence[Segment], window: Window) -> list[TranscriptLine]:
    """Return the lines of segments in order of time. Segments with the same times, as those of one slide, are one line."""
    groups: dict[tuple[Span, str, str | None], list[list[Segment]]] = {}
    for segment in sorted(segments, key=_order):
        text = _clean(segment.text)
        if not text:
            continue
        span = segment.span.clamp(window.span).shift(-window.clock_offset_s)
        key = (Span(round(span.start_s, 1), round(span.end_s, 1)), segment.source, segment.language)
        lines = groups.setdefault(key, [[]])
        if lines[-1] and sum(len(other.text) for other in lines[-1]) + len(text) > MAX_LINE_CHARACTERS:
            lines.append([])
        lines[-1].append(segment)
    return [_line(span, parts) for (span, _, _), lines in groups.items() for parts in lines]


def _order(segment: Segment) -> tuple[Span, str, str, tuple[float, float], str]:
    """Return the sort key of segments: time, then source, then the place on the screen."""
    place = (segment.box.top, segment.box.left) if segment.box else (0.0, 0.0)
    return segment.span, segment.source, segment.language or "", place, segment.text


def _line(span: Span, parts: Sequence[Segment]) -> TranscriptLine:
    text = SEPARATOR.join(_clean(part.text) for part in parts)
    if len(text) > MAX_LINE_CHARACTERS:
        text = text[: MAX_LINE_CHARACTERS - 1].rstrip() + "…"
    segment = parts[0]
    if len(parts) > 1:
        confidence = sum(map(_confidence, parts)) / len(parts)
        segment = Segment(segment.span, SEPARATOR.join(part.text for part in parts), segment.source, segment.language, confidence)
    return TranscriptLine(segment, span, text)


def _clean(text: str) -> str:
    # Angle brackets could end the fence, begin a special token, or look like a timestamp.
    return " ".join(text.translate({ord("<"): "‹", ord(">"): "›"}).split())


def _by_rank(lines: Sequence[TranscriptLine]) -> list[tuple[int, TranscriptLine]]:
    """Return lines with their indices, the last to be left out first.

    Confidences are compared within a source only: those of screen text are near 1, and all speech would be left out before.
    """
    ranks: list[tuple[float, int, TranscriptLine]] = []
    for source in sorted({line.segment.source for line in lines}):
        own = [(index, line) for index, line in enumerate(lines) if line.segment.source == source]
        own.sort(key=lambda item: (-_confidence(item[1].segment), _spread(item[0])))
        ranks += [((position + 0.5) / len(own), index, line) for position, (index, line) in enumerate(own)]
    return [(index, line) for _, index, line in sorted(ranks, key=lambda rank: rank[:2])]


def _confidence(segment: Segment) -> float:
    return 1.0 if segment.confidence is None else segment.confidence


def _spread(index: int) -> float:
    """Return the van der Corput number of an index, 0 to 1. Those of the first 2^n indices in this order are evenly spread."""
    return int(f"{index:032b}"[::-1], 2) / 2**32


def _without_repetitions(lines: Sequence[TranscriptLine]) -> list[TranscriptLine]:
    """Leave out translations, texts that the same source had shortly before, and lines that repeat another source.

    Subtitles come first, because somebody wrote them, then speech, then the others: text on screen may be burned-in subtitles.
    """
    languages = Counter(line.segment.language for line in lines if traits_of(line.segment.source).is_imported)
    main_language = languages.most_common(1)[0][0] if languages else None
    lines_at: dict[int, list[TranscriptLine]] = {}
    last_end_s: dict[tuple[str, str], float] = {}
    new_lines: list[TranscriptLine] = []
    for line in sorted(lines, key=lambda line: _precedence(line.segment, main_language)):
        segment, units = line.segment, units_of(line.text)
        key = (segment.source, " ".join(units) or line.text)
        is_repeated = line.span.start_s - last_end_s.get(key, -REPETITION_S * 2) < REPETITION_S
        last_end_s[key] = line.span.end_s
        if is_repeated or _repeats_other_lines(line, units, lines_at):
            continue
        new_lines.append(line)
        if traits_of(segment.source).is_spoken and line.span.duration_s <= MAX_REPEATING_LINE_S:
            for second in _seconds(line.span):
                lines_at.setdefault(second, []).append(line)
    numbers = {id(line): number for number, line in enumerate(lines)}
    return sorted(new_lines, key=lambda line: numbers[id(line)])


def _precedence(segment: Segment, main_language: str | None) -> tuple[int, bool]:
    return traits_of(segment.source).precedence, segment.language not in (None, main_language)


def _repeats_other_lines(line: TranscriptLine, units: Sequence[str], lines_at: dict[int, list[TranscriptLine]]) -> bool:
    """Whether subtitles translate others at that time, or a line has words that another source has then."""
    if not units or line.span.duration_s > MAX_REPEATING_LINE_S:
        return False
    segment = line.segment
    at_that_time = {id(other): other for second in _seconds(line.span) for other in lines_at.get(second, ())}.values()
    others = [other for other in at_that_time if other.span.overlap_s(line.span) > 0]
    if traits_of(segment.source).is_imported:
        return segment.language is not None and any(other.segment.language not in (None, segment.language) for other in others)
    known_units = {
        unit
        for other in others
        if other.segment.source != segment.source
        and (None in (segment.language, other.segment.language) or other.segment.language == segment.language)
        for unit in units_of(other.text)
    }
    return sum(unit in known_units for unit in units) >= REPEATED_SHARE * len(units)


def _seconds(span: Span) -> Iterator[int]:
    yield from range(int(span.start_s), int(span.end_s) + 1)


def units_of(text: str) -> list[str]:
    """Return the words of a text for comparison, in lower case; characters where a script does not separate words."""
    return COMPARED_UNIT.findall(text.casefold())
