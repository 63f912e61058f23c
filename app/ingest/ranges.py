"""The range of a video that a user names by its start and its end."""

from longview.core.time_text import format_time
from longview.video.errors import ImpossiblePlan


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Check that an end comes after its start.

    Raises:
        ImpossiblePlan: the end does not come after the start.
    """
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ImpossiblePlan(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s or 0.0)}).")
