"""Times of day for display, in the time zone of this machine."""

from datetime import UTC, datetime

_NEAR_DAYS = {-1: "yesterday", 0: "today", 1: "tomorrow"}


def moment_text(time: str, *, now: datetime | None = None) -> str:
    """Return a time in ISO 8601 for display: `tomorrow 13:05`, or `Wed 2 Dec, 13:05`; the text itself if it is not such a time.

    `now`: the present time, with its time zone; by default that of the clock.
    """
    try:
        moment = datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError, OSError):
        return time
    today = (now or datetime.now(UTC)).astimezone(moment.tzinfo).date()
    clock = f"{moment:%H:%M}"
    if near := _NEAR_DAYS.get((moment.date() - today).days):
        return f"{near} {clock}"
    year = f" {moment.year}" if moment.year != today.year else ""
    return f"{moment:%a} {moment.day} {moment:%b}{year}, {clock}"
