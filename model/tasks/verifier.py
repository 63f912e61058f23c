"""Verify claims about a span: open it in a short clip, and ask in another way than the one that produced the claim."""

from longview.model.engine.planner import OnFraction
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.grounding import open_clip, with_margin
from longview.model.tasks.prober import Prober
from longview.model.tasks.text_match import sentences
from longview.video.probe import VideoInfo
from longview.video.timeline import Span


def verify_claim(
    pool: SessionPool, prober: Prober, video: VideoInfo, span: Span, claim: str, *, on_part: OnFraction | None = None
) -> bool | None:
    """Whether a short clip around a span confirms a claim; None if its frames cannot be read.

    A claim of several sentences is confirmed if each of them is.
    """

    def tick() -> None:
        if on_part:
            on_part(0.0)

    # At the usual rate and size: whether something is there needs no finer frames, and many hits are verified.
    sessions, coverage = open_clip(pool, video, with_margin(span), purpose="caption", on_part=on_part)
    if not sessions:
        return None
    claims = sentences(claim) if prober.templates else [claim]
    if all(any(prober.confirm(session, span, one, tick=tick) for session in sessions) for one in claims):
        return True
    return None if coverage.has_gaps or any(session.undecodable for session in sessions) else False
