"""Which events of a merged timeline are doubtful, and another look at each of those.

A window tells badly what goes on over its border, and of two things that overlap it easily gives one the end of the other. A
look that has the event in its middle, and little else beside it, does better.
"""

from collections.abc import Sequence

from model.engine import VideoSession
from model.looking import MARGIN_S, found_again, look, where
from model.moments import stretches
from model.prompts import ask_about_moments
from model.sessions import SessionPool, Tick
from video.probe import VideoInfo
from video.timeline import Event, Span

LOOKS_MAX = 4
"""An event that goes on beyond a look is followed with so many looks; each shows twice as much around it as the one before."""
EDGE_S = 1.0
"""What comes that near to the edge of a look may go on beyond it."""
AGREED_IOU = 0.7
"""Two times of an event that overlap that well say the same."""
AT_LEAST_IOU = 0.1
"""How well what a look sees must overlap what was told, which may be many times too long."""


def on_a_border(event: Event, borders: Sequence[Span]) -> bool:
    """Whether an event lies where two windows meet; `borders` are what they share."""
    return any(event.span.overlap_s(border) > 0 for border in borders)


def shares_an_edge(event: Event, timeline: Sequence[Event], *, grain_s: float) -> bool:
    """Whether an event begins or ends with one that lies beside it, so that one may have got the other's time."""
    beside = (other.span for other in timeline if other is not event and other.span.overlap_s(event.span) > 0)
    return any(
        abs(span.start_s - event.span.start_s) <= grain_s or abs(span.end_s - event.span.end_s) <= grain_s for span in beside
    )


def looked_at_again(pool: SessionPool, video: VideoInfo, event: Event, *, disputed: bool, tick: Tick) -> Event | None:
    """The event with the times that a look at it gives; None if the look shows it nowhere.

    Where it is `disputed`, or the look does not agree with what was told, a checkpoint that has a form about moments is asked
    moment by moment. Others' events are kept as they are where the look does not find them, and so are all where no look can
    be had.
    """
    forms = pool.engine.checkpoint.question_forms
    shown: list[Span] = []
    span = event.span
    denied = False

    def spans_in(around: Span) -> list[Span]:
        nonlocal denied
        # At the usual rate: what is wrong here is wrong by seconds.
        sessions, seen = look(pool, video, around, purpose="caption", on_part=lambda _: tick())
        spans = [found for session in sessions for found in where(session, event.text, tick=tick)[0]]
        if ask_about_moments(forms) and (disputed or not any(found.iou(span) >= AGREED_IOU for found in spans)):
            spans = [found for session in sessions for found in _by_moments(session, event.text, [span, *spans], forms, tick)]
            denied = not spans and bool(sessions) and not seen.is_blind
        shown.extend(session.window for session in sessions)
        for session in sessions:
            pool.let_go(session)
        return spans

    for number in range(LOOKS_MAX):
        found = found_again(span, spans_in, margin_s=MARGIN_S * 2**number, agreed_iou=AT_LEAST_IOU)
        if found is None:
            return None if denied and not number else Event(span, event.text)
        is_news, span = found != span, found
        if not (is_news and _goes_on(span, shown, video.duration_s)):
            break
    return Event(span, event.text)


def _by_moments(session: VideoSession, text: str, told: Sequence[Span], forms: tuple[str, ...], tick: Tick) -> list[Span]:
    """Where a session sees it, moment by moment; with the edges of the time that was told, where one agrees."""
    found = stretches(session, text, told[0], forms, tick=tick)
    best = [max(told, key=span.iou) for span in found]
    return [one if one.iou(span) >= AGREED_IOU else span for one, span in zip(best, found, strict=True)]


def _goes_on(span: Span, shown: Sequence[Span], duration_s: float) -> bool:
    """Whether it reaches to an edge of what was shown, and there is more of the video behind it."""
    start_s, end_s = min(one.start_s for one in shown), max(one.end_s for one in shown)
    return 0 < start_s >= span.start_s - EDGE_S or duration_s > end_s <= span.end_s + EDGE_S
