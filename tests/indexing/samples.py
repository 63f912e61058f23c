"""Library entries and events for tests."""

from pathlib import Path

from longview.indexing.library import Provenance, VideoEntry
from longview.video.timeline import Event, Span


def sample_entry(video_id: str, title: str = "a video") -> VideoEntry:
    """Return an entry of 100 seconds, the last ten of which are incomplete."""
    return VideoEntry(
        video_id=video_id,
        content_hash=video_id.ljust(40, "0"),
        path=Path("/videos") / f"{video_id}.mp4",
        title=title,
        duration_s=100.0,
        span=Span(0, 100),
        provenance=Provenance("demo@1", "1", {"patch_period_s": 1.0}),
        facts={"codec": "h264"},
        incomplete=(Span(90, 100),),
    )


def sample_events(*texts: str) -> list[Event]:
    """Return events of half a second, one per second, with these texts."""
    return [Event(Span(number, number + 0.5), text) for number, text in enumerate(texts)]
