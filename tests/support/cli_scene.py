"""The video of these tests: five events in a minute, and a shape that does not appear in it."""

from longview.video.synthetic import COLORS, SHAPES, ShapesEvent, sample_events

DURATION_S = 60.0
EVENTS = sample_events(DURATION_S, 5, seed=11, min_event_s=4.0)
APPEARANCES = {(event.color, event.shape) for event in EVENTS}
ABSENT_APPEARANCE = next(f"{color} {shape}" for color in COLORS for shape in SHAPES if (color, shape) not in APPEARANCES)


def clock(time_s: float) -> str:
    """Return a time as M:SS."""
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}"


def middle_s(event: ShapesEvent) -> float:
    """Return the time in the middle of an event, in seconds."""
    return (event.start_s + event.end_s) / 2
