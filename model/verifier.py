"""Is it really there? A find is looked at again closely and asked about in another way than the one that found it.

A checkpoint that was asked where something is tends to find it. Asked what happens there it has no reason to.
"""

import re
from collections.abc import Callable

from model.engine import Generation, VideoSession
from model.looking import look, told_at, widened
from model.merging import is_alike
from model.prompts import ask_about_moments, confirm
from model.sessions import OnPart, SessionPool, Tick
from video.probe import VideoInfo
from video.timeline import Span

REPLY_TOKENS = 256
MOMENTS = (0.5, 0.25, 0.75)
"""Where in a find it is asked what happens there, in parts of it; one that fits the query is enough."""
_FILLING = frozenset(
    "a an the is are was were be being something someone anything there any in of on at to it its this that".split()  # noqa: SIM905
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")
_ENDING = re.compile(r"(?:wards?|ing|es|s|e|ed)$")


def sentences(text: str) -> list[str]:
    """The sentences of a text, without their ends."""
    return [sentence for part in _SENTENCE_END.split(text) if (sentence := part.strip())]


def fits(query: str, told: str) -> bool:
    """Whether one of the sentences holds all words of the query, whatever their endings."""
    wanted = _stems(query)
    return bool(wanted) and any(wanted <= _stems(sentence) for sentence in sentences(told))


def _stems(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in words if word not in _FILLING}


def resembles(claim: str, told: str) -> bool:
    """Whether one of the sentences may tell of the same in somewhat other words."""
    return any(is_alike(claim, sentence) for sentence in sentences(told))


def confirmed(
    session: VideoSession,
    span: Span,
    query: str,
    forms: tuple[str, ...],
    *,
    tick: Tick,
    agrees: Callable[[str, str], bool] = fits,
) -> bool:
    """Whether a session that shows the span, or a part of it, sees there what the query says.

    `forms`: the only questions that the checkpoint can answer, see `Checkpoint.question_forms`; one of them asks about a moment,
    and then its answer must hold the query's words, or be whatever
    `agrees(query, answer)`. A checkpoint that can answer any question is asked for a yes.
    """
    if not ask_about_moments(forms):
        if forms:
            return True
        local = span.clamped(session.window).shifted(-session.clock_offset_s)
        return _says_yes(session.ask(confirm(query, local), max_new_tokens=REPLY_TOKENS), tick)
    markers = [patch.marker_s for patch in session.patches if span.contains((patch.first_s + patch.last_s) / 2)]
    for marker_s in dict.fromkeys(markers[int(part * len(markers))] for part in MOMENTS if markers):
        if agrees(query, told_at(session, marker_s, forms, tick=tick)):
            return True
    return False


def holds(pool: SessionPool, video: VideoInfo, span: Span, claim: str, *, on_part: OnPart | None = None) -> bool | None:
    """Whether a closer look at a span sees what is said of it; None if it cannot be seen.

    A claim of several sentences holds if each of them does.
    """

    def tick() -> None:
        if on_part:
            on_part(0.0)

    # At the usual rate and size: whether something is there needs no finer look, and many hits are looked at.
    sessions, seen = look(pool, video, widened(span), purpose="caption", on_part=on_part)
    if not sessions:
        return None
    forms = pool.engine.checkpoint.question_forms
    claims = sentences(claim) if forms else [claim]
    if all(any(confirmed(session, span, one, forms, tick=tick) for session in sessions) for one in claims):
        return True
    return None if seen.is_blind or any(session.unreadable for session in sessions) else False


def _says_yes(generation: Generation, tick: Tick) -> bool:
    """Whether a reply begins with yes; it is not waited for longer than that."""
    for _ in generation:
        tick()
        if word := re.match(r"\W*(\w+)\W", generation.text):
            return word[1].lower() == "yes"
    return generation.text.strip("\"'* .!").lower() == "yes"
