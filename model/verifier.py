"""Is it really there? A find is looked at again closely and asked about in another way than the one that found it.

A checkpoint that was asked where something is tends to find it. Asked what happens there it has no reason to.
"""

import re

from model.engine import Generation, VideoSession
from model.prompts import confirm, form_about_a_moment
from model.sessions import Tick
from video.timeline import Span

REPLY_TOKENS = 256
MOMENTS = (0.5, 0.25, 0.75)
"""Where in a find it is asked what happens there, in parts of it; one that fits the query is enough."""
_FILLING = frozenset(
    "a an the is are was were be being something someone anything there any in of on at to it its this that".split()  # noqa: SIM905
)
_ENDING = re.compile(r"(?:ing|es|s|e|ed)$")


def confirmed(session: VideoSession, span: Span, query: str, forms: tuple[str, ...], *, tick: Tick) -> bool:
    """Whether a session that shows the span, or a part of it, sees there what the query says.

    `forms`: the only questions that the checkpoint can answer, see `Checkpoint.question_forms`; one of them asks about a moment,
    and then its answer must hold the query's words. A checkpoint that can answer any question is asked for a yes.
    """
    if not any("{time}" in form for form in forms):
        if forms:
            return True
        local = span.clamped(session.window).shifted(-session.clock_offset_s)
        return (
            _said(session.ask(confirm(query, local), max_new_tokens=REPLY_TOKENS), tick).lstrip("\"'* ").lower().startswith("yes")
        )
    markers = [patch.marker_s for patch in session.patches if span.contains((patch.first_s + patch.last_s) / 2)]
    for marker_s in dict.fromkeys(markers[int(part * len(markers))] for part in MOMENTS if markers):
        question = form_about_a_moment(marker_s, forms)
        assert question is not None
        if fits(query, _said(session.ask(question, max_new_tokens=REPLY_TOKENS), tick)):
            return True
    return False


def _said(generation: Generation, tick: Tick) -> str:
    for _ in generation:
        tick()
    return generation.text


def fits(query: str, told: str) -> bool:
    """Whether one of the sentences holds all words of the query, whatever their endings."""
    wanted = _stems(query)
    return bool(wanted) and any(wanted <= _stems(sentence) for sentence in re.split(r"[.!?\n]", told))


def _stems(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in words if word not in _FILLING}
