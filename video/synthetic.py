"""Synthetic videos of coloured shapes with a known timeline.

The sample library, the tests and the training data of the bundled checkpoint consist of them. One event is one coloured shape
that performs one action. At most the two latest events are drawn at a time. Frames are rendered by signed distance, so edges
are smooth at every size.
"""

import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from longview.core.atomic import atomic_write
from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.video.errors import FFmpegFailed
from longview.video.ffmpeg import ffmpeg_path

COLORS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 90, 230),
    "yellow": (235, 215, 50),
    "purple": (150, 60, 190),
    "orange": (240, 140, 30),
    "cyan": (60, 210, 220),
    "white": (245, 245, 245),
}
"""sRGB values by colour name."""
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "star")
ACTIONS = ("moves to the right", "moves to the left", "moves up", "moves down", "grows", "shrinks", "stays still")

EDGE_MARGIN = 0.12
"""Distance from the frame's border at which a moving shape starts and ends, as a fraction of the frame's side."""
MAX_CONCURRENT = 2
"""Maximum number of events that are drawn at a time."""
OVERLAPPING, TWICE = 0.2, 0.15
"""Fractions of a scene's events that start before the previous event ends, and that repeat an earlier event."""


@dataclass(frozen=True)
class ShapesEvent:
    """A coloured shape that is on screen from `start_s` until `end_s` (exclusive)."""

    start_s: float
    end_s: float
    color: str
    shape: str
    action: str
    x: float = 0.5
    """Horizontal centre if the action does not move it, as a fraction of the width."""
    y: float = 0.5
    """Vertical centre if the action does not move it, as a fraction of the height."""
    radius: float = 0.18
    """Radius as a fraction of the height."""

    @property
    def text(self) -> str:
        """Description of the event: `An orange ring moves up.`"""
        return f"{'An' if self.color[0] in 'aeiou' else 'A'} {self.color} {self.shape} {self.action}."

    @property
    def event(self) -> Event:
        """The event as a span and its description."""
        return Event(Span(self.start_s, self.end_s), self.text)


def sample_events(
    duration_s: float, count: int, *, seed: int, min_event_s: float = 4.0, max_event_s: float = 12.0, distinct: bool = True
) -> tuple[ShapesEvent, ...]:
    """Sample `count` consecutive events with gaps between them. The same seed gives the same events.

    With `distinct`, no two events have the same colour and shape (at most 56 events).

    Raises:
        ValueError: the events do not fit into the duration.
    """
    slot_s = duration_s / count
    if slot_s < min_event_s * 1.25:
        raise ValueError(
            f"{count} events of {min_event_s} s do not fit into {duration_s} s; reduce the count or extend the duration"
        )
    rng = random.Random(seed)
    appearances = [(color, shape) for color in COLORS for shape in SHAPES]
    rng.shuffle(appearances)
    if distinct and count > len(appearances):
        raise ValueError(f"there are only {len(appearances)} distinct coloured shapes, not {count}; reduce the count")
    events = []
    for index in range(count):
        length_s = rng.uniform(min_event_s, min(max_event_s, slot_s * 0.9))
        start_s = index * slot_s + rng.uniform(0.05, 0.95) * (slot_s - length_s)
        color, shape = appearances[index] if distinct else rng.choice(appearances)
        events.append(
            ShapesEvent(
                round(start_s, 2),
                round(start_s + length_s, 2),
                color,
                shape,
                rng.choice(ACTIONS),
                x=rng.uniform(0.2, 0.8),
                y=rng.uniform(0.2, 0.8),
                radius=rng.uniform(0.14, 0.22),
            )
        )
    return tuple(events)


def sample_scene(duration_s: float, count: int, *, seed: int) -> tuple[ShapesEvent, ...]:
    """Sample `count` events in order of time, of which some overlap their predecessor and some repeat an earlier event.

    The same seed gives the same events. At most two events overlap, because at most two are drawn.

    Raises:
        ValueError: the events do not fit into the duration.
    """
    rng = random.Random(seed)
    scene: list[ShapesEvent] = []
    for event in sample_events(duration_s, count, seed=rng.randrange(1 << 30), distinct=False):
        previous = scene[-1] if scene else None
        if previous is not None and rng.random() < TWICE:
            earlier = rng.choice(scene)
            event = replace(event, color=earlier.color, shape=earlier.shape, action=earlier.action)
        if previous is not None and (previous.color, previous.shape) == (event.color, event.shape):
            # Two consecutive events with the same colour and shape cannot be distinguished.
            event = replace(event, color=rng.choice([color for color in COLORS if color != previous.color]))
        earliest_s = max((other.end_s for other in scene[:-1]), default=0.0)
        if previous is not None and rng.random() < OVERLAPPING:
            start_s = max(previous.start_s + 1.5, previous.end_s - rng.uniform(1.0, 2.5), earliest_s)
            event = replace(event, start_s=round(min(start_s, event.start_s), 2))
        scene.append(event)
    return tuple(scene)


def _distance(shape: str, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return the signed distance to a shape of radius 1 around the origin, negative inside; y points down."""
    across, along = np.abs(x), np.abs(y)
    if shape == "square":
        return np.maximum(across, along) - 0.85
    if shape == "triangle":
        return np.maximum(across * 0.866 + y * 0.5, -y) - 0.6
    if shape == "diamond":
        return across + along - 1.1
    if shape == "cross":
        return np.minimum(np.maximum(across - 1, along - 0.33), np.maximum(across - 0.33, along - 1))
    radius = np.sqrt(x * x + y * y)
    if shape == "ring":
        return np.abs(radius - 0.75) - 0.25
    if shape == "star":
        return radius - (0.62 + 0.38 * np.cos(5 * np.arctan2(x, y)))
    return radius - 1  # a circle


def _pose(event: ShapesEvent, time_s: float) -> tuple[float, float, float]:
    """Return centre x and y (fractions of width and height) and radius at a time."""
    progress = min(max((time_s - event.start_s) / max(event.end_s - event.start_s, 1e-3), 0.0), 1.0)
    travel = EDGE_MARGIN + (1 - 2 * EDGE_MARGIN) * progress
    x, y, radius = event.x, event.y, event.radius
    if event.action == "moves to the right":
        x = travel
    elif event.action == "moves to the left":
        x = 1 - travel
    elif event.action == "moves up":
        y = 1 - travel
    elif event.action == "moves down":
        y = travel
    elif event.action == "grows":
        radius *= 0.5 + 1.2 * progress
    elif event.action == "shrinks":
        radius *= 1.7 - 1.2 * progress
    return x, y, radius


def background(height: int, width: int, *, seed: int) -> NDArray[np.float32]:
    """Return a dark background with a slight gradient, float32 of shape (height, width, 3) in 0..255."""
    rng = np.random.default_rng(seed)
    base, slope_x, slope_y = rng.uniform(10, 80, 3), rng.uniform(-20, 20, 3), rng.uniform(-20, 20, 3)
    xs, ys = np.linspace(-0.5, 0.5, width)[None, :, None], np.linspace(-0.5, 0.5, height)[:, None, None]
    return np.clip(base + slope_x * xs + slope_y * ys, 0, 255).astype(np.float32)


def draw(events: Sequence[ShapesEvent], time_s: float, backdrop: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw the frame at a time: RGB uint8 of the backdrop's shape (height, width, 3)."""
    height, width, _ = backdrop.shape
    frame = backdrop.copy()
    active_events = [event for event in events if event.start_s <= time_s < event.end_s]
    for event in active_events[-MAX_CONCURRENT:]:
        x, y, radius = _pose(event, time_s)
        xs = ((np.arange(width, dtype=np.float32) / (width - 1) - x) * (width / height) / radius)[None, :]
        ys = ((np.arange(height, dtype=np.float32) / (height - 1) - y) / radius)[:, None]
        xs, ys = np.broadcast_arrays(xs, ys)
        opacity = np.clip(0.5 - _distance(event.shape, xs, ys) * radius * height / 2, 0, 1)[..., None]
        frame = frame * (1 - opacity) + np.asarray(COLORS[event.color], np.float32) * opacity
    return (frame + 0.5).astype(np.uint8)


def _frames(
    events: Sequence[ShapesEvent], duration_s: float, fps: float, backdrop: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    # Only events near the frame's time are drawn, so that the cost is linear in the duration.
    in_order = sorted(events, key=lambda event: event.start_s)
    first = 0
    for index in range(round(duration_s * fps)):
        time_s = index / fps
        while first < len(in_order) and in_order[first].end_s <= time_s:
            first += 1
        later = first
        while later < len(in_order) and in_order[later].start_s <= time_s:
            later += 1
        yield draw(in_order[first:later], time_s, backdrop)


def render(  # noqa: PLR0913 (a parameter for each property of the video)
    target: Path,
    events: Sequence[ShapesEvent],
    duration_s: float,
    *,
    width: int = 320,
    height: int = 192,
    fps: float = 25.0,
    codec: str = "libx264",
    seed: int = 0,
    output_options: dict[str, object] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Path:
    """Render a video into the container that the suffix of `target` names. The file appears only when it is complete.

    `output_options` are passed to ffmpeg unchanged (`{"g": 250}`). Returns `target`.

    Raises:
        FFmpegFailed: ffmpeg rejects the codec, the container or the size. Cancelled: the operation was cancelled.
    """
    options: dict[str, object] = {"vcodec": codec, "pix_fmt": "yuv420p"} | (output_options or {})
    if codec == "libx264":
        options = {"preset": "veryfast", "crf": 20} | options
    backdrop = background(height, width, seed=seed)
    with atomic_write(target) as temporary_path:
        graph = (
            ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=fps)
            .output(str(temporary_path), **options)
            .global_args("-hide_banner", "-loglevel", "error")
        )
        command = ffmpeg.compile(graph, cmd=ffmpeg_path(), overwrite_output=True)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stderr is not None
            try:
                for number, frame in enumerate(_frames(events, duration_s, fps, backdrop)):
                    progress.update(number / (duration_s * fps))
                    process.stdin.write(frame.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass  # ffmpeg exited; its stderr has the reason.
            stderr = process.stderr.read().decode(errors="replace").strip()
        if process.returncode:
            raise FFmpegFailed(
                f"ffmpeg could not write {target.name}: {stderr.splitlines()[-1] if stderr else process.returncode}"
            )
    return target
