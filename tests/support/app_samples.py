"""Settings and events for the tests of the application in process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from longview.app.settings import Settings
from longview.app.streams import Stream, StreamEvent
from longview.video.synthetic import ShapesEvent

TWICE = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(9.0, 13.0, "green", "square", "stays still"),
    ShapesEvent(15.0, 19.0, "blue", "star", "grows"),
    ShapesEvent(22.0, 27.0, "red", "circle", "moves to the right"),
)
"""Four events in 30 seconds, the first of which occurs twice."""
RING = ShapesEvent(1, 4, "cyan", "ring", "moves up")


def demo_settings(library: Path, model: str = "demo", **options: Any) -> Settings:
    """Return settings for the bundled checkpoint on one CPU thread."""
    return Settings(library=library, model=model, device="cpu", cpu_threads=1, **options)


def cancel_after(stream: Stream[Any], is_last: Callable[[StreamEvent[Any]], bool]) -> None:
    """Read a stream to its end, and cancel it after the first event for which `is_last` is true."""
    for event in stream:
        if is_last(event):
            stream.cancel()


def file_names(folder: Path) -> list[str]:
    """Return the names of all files below a folder; none if it does not exist."""
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []
