"""The range of a video that a user names by its start and its end."""

from typing import TYPE_CHECKING

from longview.app.files.outputs import END_SLACK_S
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.video.errors import ImpossiblePlan

if TYPE_CHECKING:
    from longview.video.probing.probe import VideoInfo


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Check that an end comes after its start.

    Raises:
        ImpossiblePlan: the end does not come after the start.
    """
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ImpossiblePlan(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s or 0.0)}).")


def requested_span(video: "VideoInfo", start_s: float | None, end_s: float | None) -> Span | None:
    """Return the part of a video that is requested; None for all of it.

    Raises:
        ImpossiblePlan: the start or the end is outside the video, or the end does not come after the start.
    """
    check_range(start_s, end_s)
    if not start_s and end_s is None:
        return None
    from_s = start_s or 0.0
    if from_s >= video.duration_s:
        raise _outside(from_s, video)
    if end_s is not None and end_s > video.duration_s + END_SLACK_S:
        raise _outside(end_s, video)
    return Span(from_s, video.duration_s if end_s is None else end_s)


def _outside(time_s: float, video: "VideoInfo") -> ImpossiblePlan:
    return ImpossiblePlan(f"{format_time(time_s)} is outside the video, which is {format_time(video.duration_s)} long.")
