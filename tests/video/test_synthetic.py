"""Tests that synthetic videos show the events of their timeline at the right times."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from longview.video.decoding.decoder import Decoder
from longview.video.errors import FFmpegFailed
from longview.video.probing.probe import VideoInfo
from longview.video.synthetic import COLORS, ShapesEvent, background, draw, render, sample_events


def color_mask(frame: NDArray[np.uint8], color: str) -> NDArray[np.bool_]:
    """Return the mask of the pixels that have the colour, with a tolerance for encoding."""
    return np.abs(frame.astype(int) - COLORS[color]).max(axis=2) < 45


def centre_and_area(event: ShapesEvent, time_s: float) -> tuple[float, float, int]:
    """Return centre (x, y) as fractions of the frame, and area in pixels, of an event's shape."""
    rows, columns = np.nonzero(color_mask(draw([event], time_s, np.zeros((96, 160, 3), np.float32)), event.color))
    return columns.mean() / 160, rows.mean() / 96, len(rows)


def test_each_shape_is_on_screen_exactly_in_its_span(
    shapes_video: VideoInfo, shapes_events: tuple[ShapesEvent, ...], decoder: Decoder
) -> None:
    edges_s = [edge_s for event in shapes_events for edge_s in (event.start_s, event.end_s)]
    requested_s = [
        number / 25 for number in range(500) if number % 12 == 0 or min(abs(number / 25 - edge_s) for edge_s in edges_s) < 0.3
    ]
    visible_s: dict[str, list[float]] = {event.color: [] for event in shapes_events}
    for chunk in decoder.frames_played_at(shapes_video, requested_s, 96, 160):
        for time_s, frame in zip(chunk.times_s, chunk.frames, strict=True):
            for color, times_s in visible_s.items():
                if color_mask(frame, color).sum() > 40:
                    times_s.append(float(time_s))
    for event in shapes_events:
        expected = [time_s for time_s in requested_s if event.start_s <= time_s < event.end_s]
        assert visible_s[event.color] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("action", "change"),
    [
        ("moves to the right", (1, 0, 0)),
        ("moves to the left", (-1, 0, 0)),
        ("moves up", (0, -1, 0)),
        ("moves down", (0, 1, 0)),
        ("grows", (0, 0, 1)),
        ("shrinks", (0, 0, -1)),
        ("stays still", (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("shape", ["circle", "square", "diamond", "cross", "ring"])
def test_shape_moves_as_described(shape: str, action: str, change: tuple[int, int, int]) -> None:
    event = ShapesEvent(10.0, 20.0, "white", shape, action)
    (x, y, area), (later_x, later_y, later_area) = centre_and_area(event, 12.0), centre_and_area(event, 18.0)
    directions = [0 if abs(d) < 0.02 else int(np.sign(d)) for d in (later_x - x, later_y - y)]
    growth = 0 if abs(later_area / area - 1) < 0.1 else int(np.sign(later_area - area))
    assert (*directions, growth) == change


def test_description_has_the_right_article() -> None:
    assert ShapesEvent(0, 1, "orange", "ring", "moves up").text == "An orange ring moves up."
    assert ShapesEvent(0, 1, "red", "star", "grows").text == "A red star grows."


@pytest.mark.parametrize(("duration_s", "count"), [(60.0, 6), (600.0, 56), (10.0, 2), (8.0, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_sampled_events_are_consecutive(duration_s: float, count: int, seed: int) -> None:
    events = sample_events(duration_s, count, seed=seed)
    assert events == sample_events(duration_s, count, seed=seed) != sample_events(duration_s, count, seed=seed + 1)
    assert len({(event.color, event.shape) for event in events}) == len(events) == count
    edges = [0.0, *(edge for event in events for edge in (event.start_s, event.end_s)), duration_s]
    assert edges == sorted(edges)
    assert all(4.0 - 0.01 <= event.end_s - event.start_s <= 12.0 + 0.01 for event in events)


@pytest.mark.parametrize(("duration_s", "count"), [(20.0, 5), (10_000.0, 57)])
def test_too_many_events_are_rejected(duration_s: float, count: int) -> None:
    with pytest.raises(ValueError, match="fit|only"):
        sample_events(duration_s, count, seed=0)


def test_every_colour_contrasts_with_the_background() -> None:
    for seed in range(20):
        backdrop = background(32, 32, seed=seed)
        assert all(np.abs(backdrop - rgb).max(axis=2).min() > 60 for rgb in COLORS.values())


def test_video_that_ffmpeg_rejects_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(FFmpegFailed, match=r"bad\.mp4"):
        render(tmp_path / "bad.mp4", (), 1.0, codec="no_such_codec")
    assert list(tmp_path.iterdir()) == []
