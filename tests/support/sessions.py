"""Sessions of a pool for tests."""

from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.engine.sessions import SessionPool
from longview.video.probing.probe import VideoInfo

PLENTY = 1 << 30


def open_session(pool: SessionPool, video: VideoInfo, span: Span | None = None, *, pin: bool = True) -> VideoSession:
    plan = pool.planner.plan(video, "qa", span=span)
    return pool.session(video, plan, plan.windows[0], pin=pin)


def reply_text(session: VideoSession, question: str) -> str:
    return "".join(session.generate(question, max_new_tokens=100))
