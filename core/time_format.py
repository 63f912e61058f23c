"""Texts of times and spans, as readers read them."""

from longview.core.timeline import Span


def format_spans(*spans: Span) -> str:
    """Format spans as `0:01:15.0 to 0:01:20.0, …`."""
    return ", ".join(f"{format_time(span.start_s)} to {format_time(span.end_s)}" for span in spans)


def format_time(time_s: float) -> str:
    """Format seconds as `H:MM:SS.d`, rounded to a tenth of a second: 3723.46 -> `1:02:03.5`."""
    tenths = round(time_s * 10)
    sign = "-" if tenths < 0 else ""
    seconds, tenth = divmod(abs(tenths), 10)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02d}:{seconds:02d}.{tenth}"


def format_clock(time_s: float) -> str:
    """Format whole seconds as in chapter lists: `0:00`, `12:34`, `1:02:03`."""
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
