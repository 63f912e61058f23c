"""Render questions and answers as Markdown. Everything that a user or a model wrote is escaped here."""

import bisect
import html
import math
import re
import urllib.parse
from collections.abc import Iterator, Sequence

from longview.app.serving.running_answers import AnswerState
from longview.core.progress import ProgressReport
from longview.core.time_format import format_time
from longview.core.time_text import TimeReference, find_times, parse_time
from longview.core.timeline import Span
from longview.indexing.records.video import AnsweredQuestion
from longview.ui.render import format_span

CITATION_MARGIN_S = 1.0
"""Maximum distance from a citation to the times that belong to it, in seconds. Models round the times that they name."""
ROUNDING_S = 0.1
"""Difference between two times that is rounding, in seconds."""
MAX_SEARCHED_CHARACTERS = 20_000
"""Length of the beginning of an answer in which times are searched for, in characters: six times the longest reply."""
MAX_SHOWN_CHARACTERS = 50_000
"""Length of the beginning of an answer that is shown, in characters. One of a restored library may have millions."""
MAX_LISTED_CITATIONS = 200
"""Maximum number of citations that follow an answer: nobody reads more of them, and a stored answer may have any number."""
STOPPED_REPLY = "Stopped."
"""Text in place of an answer that somebody has stopped."""
_QUOTE_TIMES = re.compile(r"(?<![\d:])\d++:[0-5]\d:[0-5]\d\.\d(?: [–-] \d++:[0-5]\d:[0-5]\d\.\d)?+(?!\d|:\d)")
"""A time or span as answers from quotes state them, earlier ones with a hyphen: `0:01:05.0 – 0:01:09.5`."""
_QUOTATION_MARK = "“"
_LENGTH = re.compile(r"(?:first|last)\b|(?<![^\s-])[^\s-]++-(?:hour|minute|second)\b", re.IGNORECASE)
"""A reference to a length, not to a time: "the first 10 seconds", "a 5-second countdown"."""
_PREPOSITION = re.compile(r"(?:from|between|during|after|since|before|until|till)\b", re.IGNORECASE)
_SECONDS = re.compile(r"(?<!\d)\d++\.\d")
_MARK = re.compile(r"([\\`*_{}\[\]()#+!|>~$])")
"""A character that means something in Markdown."""
_LIST_NUMBER = re.compile(r"^([^\S\n]*+\d++)\.", re.MULTILINE)
_ADDRESS_MARK = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)
"""A character that makes a web or mail address."""


def answer(text: str, citations: Sequence[Span] = ()) -> str:
    """Render the answer of a checkpoint as Markdown. Its citations, and the times inside them, are links that play them.

    Other times remain text, because they belong to a refusal or to the coverage. An answer that is still being generated has no
    citations yet, and therefore no links.
    """
    parts = [
        escaped_markdown(part) if time is None else _link(part, time.start_s, time.end_s)
        for part, time in _clock_times(text, citations)
    ]
    evidence = " ".join(_link(format_span(span), span.start_s, span.end_s) for span in citations[:MAX_LISTED_CITATIONS])
    if len(citations) > MAX_LISTED_CITATIONS:
        evidence += f" and {len(citations) - MAX_LISTED_CITATIONS:,} more"
    return _with_line_breaks("".join(parts)) + (f"\n\nEvidence: {evidence}" if evidence else "")


def quotes(text: str, cited: Sequence[tuple[Span, str]] | None = None) -> str:
    """Render an answer from quotes as Markdown: each time outside of the quotations is a link.

    A link plays it; with `cited`, the spans of citations and their videos in the order of the answer, it opens the video
    instead, and times that no citation has remain text. Times inside of quotations are what somebody said.
    """
    remaining = list(cited or ())
    lines = []
    for line in shortened(text).split("\n"):
        head, mark, quotation = line.partition(_QUOTATION_MARK)
        parts, end = [], 0
        for match in _QUOTE_TIMES.finditer(head):
            if cited is not None and (match.start() or not head.startswith("  ", match.end())):
                # Only the rows of an answer begin with a time and two spaces; titles of videos may have any.
                break
            span_text = match[0].replace(" - ", " – ")
            start_s, end_s = (parse_time(time) for time in (span_text.split(" – ") * 2)[:2])
            video_id = _video_of(start_s, end_s, remaining)
            is_link = bool(video_id) or cited is None
            link = _link(span_text, start_s, end_s, video_id) if is_link else escaped_markdown(span_text)
            parts += [escaped_markdown(head[end : match.start()]), link]
            end = match.end()
        lines.append("".join(parts) + escaped_markdown(head[end:] + mark + quotation))
    return _with_line_breaks("\n".join(lines))


def _video_of(start_s: float, end_s: float, remaining: list[tuple[Span, str]]) -> str:
    """Return the video of the next citation within a time, and drop it and those before it; "" if there is none."""
    for number, (span, video_id) in enumerate(remaining):
        if start_s - ROUNDING_S <= span.start_s and span.end_s <= end_s + ROUNDING_S:
            del remaining[: number + 1]
            return video_id
    return ""


def shortened(text: str) -> str:
    """Return the beginning of a text that is shown."""
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + " …"


def thoughts(text: str) -> str:
    """Render what a checkpoint thought before its answer as a closed section; "" without thoughts.

    The section is HTML inside Markdown, which an empty line would end.
    """
    if not text:
        return ""
    # Two dollar signs in a row would begin a formula.
    lines = "<br>".join(html.escape(line).replace("$", "$<wbr>") for line in text.splitlines())
    return f"<details><summary>Thoughts</summary>{lines}</details>\n\n"


def answer_progress(report: ProgressReport) -> str:
    """Render the progress of an answer, in the place where its text will continue."""
    if report.fraction >= 1.0:
        return " …"
    remaining = f", {format_time(report.seconds_left)[:-2]} left" if report.seconds_left is not None else ""
    return f" *{escaped_markdown(report.stage)}: {report.fraction:.0%}{remaining} …*"


def plain_answer(text: str, citations: Sequence[Span] = ()) -> str:
    """Render an answer about several videos as Markdown. Its times are not links, because the player may show another video."""
    return _with_line_breaks("".join(escaped_markdown(part) for part, _ in _clock_times(text, citations)))


def _clock_times(text: str, citations: Sequence[Span]) -> Iterator[tuple[str, TimeReference | None]]:
    """Split a text into the times inside citations, as clock times with what they refer to, and the text between them."""
    text = shortened(text)
    end, cited = 0, _cited_spans(citations)
    for reference in find_times(text[:MAX_SEARCHED_CHARACTERS]):
        start_s = reference.start_s
        position = bisect.bisect_right(cited, start_s, key=lambda bounds: bounds[0]) - 1
        is_cited = position >= 0 and start_s <= cited[position][1]
        words = text[reference.text_start : reference.text_end]
        if is_cited and not _LENGTH.match(words):
            yield text[end : reference.text_start], None
            yield _clock_time(reference, words), reference
            end = reference.text_end
    yield text[end:], None


def _cited_spans(citations: Sequence[Span]) -> list[tuple[float, float]]:
    """Return the times that belong to citations, in order and without overlaps: each answer looks for many times in them."""
    spans: list[tuple[float, float]] = []
    for start_s, end_s in sorted((span.start_s - CITATION_MARGIN_S, span.end_s + CITATION_MARGIN_S) for span in citations):
        if spans and start_s <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end_s, spans[-1][1]))
        else:
            spans.append((start_s, end_s))
    return spans


def _clock_time(reference: TimeReference, words: str) -> str:
    """Rewrite a time or range in the format of the page: "From 2 to 3.5 seconds" -> "From 0:00:02.0 to 0:00:03.5"."""
    if reference.is_point:
        return format_time(reference.start_s)
    times = [format_time(float(number)) for number in _SECONDS.findall(reference.in_seconds)]
    preposition = _PREPOSITION.match(words)
    if preposition is None:
        return " – ".join(times)
    return f"{preposition[0]} {(' and ' if preposition[0].lower() == 'between' else ' to ').join(times)}"


def _with_line_breaks(markdown: str) -> str:
    return markdown.replace("\n", "  \n")


def _link(text: str, start_s: float, end_s: float, video_id: str = "") -> str:
    """Return a link that plays an interval, or from a single time on, or that opens another video at its start.

    The interval is a media fragment (https://www.w3.org/TR/media-frags/#naming-time).
    """
    has_end = math.isfinite(end_s) and round(end_s, 3) > round(start_s, 3)
    interval = f"{start_s:.3f},{end_s:.3f}" if has_end else f"{start_s:.3f}"
    address = f"/watch?video={urllib.parse.quote(video_id)}&t={start_s:.3f}" if video_id else f"#t={interval}"
    return f"[{escaped_markdown(text)}]({address})"


def escaped_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it as it is: a model cannot insert images, links or HTML."""
    escaped_text = _MARK.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    # A line that begins with a number and a full stop would become a list.
    escaped_text = _LIST_NUMBER.sub(r"\1&#46;", escaped_text)
    # Bare web and mail addresses would become links too.
    return _ADDRESS_MARK.sub(lambda mark: f"&#{ord(mark[0])};", escaped_text)


def stored(item: AnsweredQuestion) -> str:
    """Render an earlier answer as Markdown."""
    return quotes(item.answer) if item.is_quoted else answer(item.answer, item.citations)


def unfinished_answer(state: AnswerState) -> list[dict[str, str]]:
    """Render a question, and its answer as far as it was written, as chat messages."""
    progress = answer_progress(state.report) if state.report else "" if state.text else "…"
    return _messages(state.question, answer(state.text) + progress)


def ended_answer(state: AnswerState) -> list[dict[str, str]]:
    """Render a question whose answer was stopped or has failed as chat messages."""
    return _messages(state.question, STOPPED_REPLY if state.status == "stopped" else escaped_markdown(state.text))


def history(answers: Sequence[AnsweredQuestion]) -> list[dict[str, str]]:
    """Render earlier questions and answers as chat messages."""
    return [message for item in answers for message in _messages(item.question, stored(item))]


def _messages(question: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": escaped_markdown(question)}, {"role": "assistant", "content": reply}]
