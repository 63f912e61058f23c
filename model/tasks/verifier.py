"""Is it really there? A find is looked at again closely and asked about in another way than the one that found it.

A checkpoint that was asked where something is tends to find it. Asked what happens there it has no reason to.
"""

import re
from collections.abc import Callable

from longview.model.demo.templates import has_timestamp_template
from longview.model.engine.base import Generation, VideoSession
from longview.model.engine.sessions import OnFraction, SessionPool, Tick
from longview.model.tasks.grounding import describe_at, open_clip, with_margin
from longview.model.tasks.prompts import confirm_prompt
from longview.model.tasks.text_match import contains_query, sentences
from longview.video.probe import VideoInfo
from longview.video.timeline import Span

MAX_REPLY_TOKENS = 256
PROBE_FRACTIONS = (0.5, 0.25, 0.75)
"""Where in a find it is asked what happens there, in parts of it; one that fits the query is enough."""


def confirm_span(
    session: VideoSession,
    span: Span,
    query: str,
    templates: tuple[str, ...],
    *,
    tick: Tick,
    agrees: Callable[[str, str], bool] = contains_query,
) -> bool:
    """Whether a session that shows the span, or a part of it, sees there what the query says.

    `forms`: the only questions that the checkpoint can answer, see `Checkpoint.question_forms`; one of them asks about a moment,
    and then its answer must hold the query's words, or be whatever
    `agrees(query, answer)`. A checkpoint that can answer any question is asked for a yes.
    """
    if not has_timestamp_template(templates):
        if templates:
            return True
        local = span.clamped(session.window).shifted(-session.clock_offset_s)
        return _says_yes(session.generate(confirm_prompt(query, local), max_new_tokens=MAX_REPLY_TOKENS), tick)
    markers = [patch.timestamp_s for patch in session.patches if span.contains((patch.first_frame_s + patch.last_frame_s) / 2)]
    for marker_s in dict.fromkeys(markers[int(part * len(markers))] for part in PROBE_FRACTIONS if markers):
        if agrees(query, describe_at(session, marker_s, templates, tick=tick)):
            return True
    return False


def verify_claim(
    pool: SessionPool, video: VideoInfo, span: Span, claim: str, *, on_part: OnFraction | None = None
) -> bool | None:
    """Whether a closer look at a span sees what is said of it; None if it cannot be seen.

    A claim of several sentences holds if each of them does.
    """

    def tick() -> None:
        if on_part:
            on_part(0.0)

    # At the usual rate and size: whether something is there needs no finer look, and many hits are looked at.
    sessions, seen = open_clip(pool, video, with_margin(span), purpose="caption", on_part=on_part)
    if not sessions:
        return None
    forms = pool.engine.checkpoint.question_templates
    claims = sentences(claim) if forms else [claim]
    if all(any(confirm_span(session, span, one, forms, tick=tick) for session in sessions) for one in claims):
        return True
    return None if seen.has_gaps or any(session.undecodable for session in sessions) else False


def _says_yes(generation: Generation, tick: Tick) -> bool:
    """Whether a reply begins with yes; it is not waited for longer than that."""
    for _ in generation:
        tick()
        if word := re.match(r"\W*(\w+)\W", generation.text):
            return word[1].lower() == "yes"
    return generation.text.strip("\"'* .!").lower() == "yes"
