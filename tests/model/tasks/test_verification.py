"""A claim about a span is confirmed where the event is visible, and only there."""

from longview.model.engine.sessions import SessionPool
from longview.model.tasks.verification import verify_claim
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo
from longview.video.synthetic import ShapesEvent


def test_true_claim_is_confirmed_and_false_claim_is_not(
    pool: SessionPool, verifier: Verifier, shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...]
) -> None:
    for event, other in zip(shapes_events, (*shapes_events[1:], shapes_events[0]), strict=True):
        assert verify_claim(pool, verifier, shapes_video, event.event.span, event.text) is True
        assert verify_claim(pool, verifier, shapes_video, event.event.span, other.text) is False
    both = f"{shapes_events[0].text} {shapes_events[1].text}"
    assert verify_claim(pool, verifier, shapes_video, shapes_events[0].event.span, both) is False
