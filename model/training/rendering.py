"""Scenes -> pixels on the training device: `longview.video.synthetic.draw` as tensor arithmetic, many frames at once.

Frames are made where they are used, because at hundreds of thousands of tokens a second neither a CPU nor a bus keeps up.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from longview.model.training.scenes import Scene
from longview.video.sampler import FRAMES_PER_PATCH
from longview.video.synthetic import ACTIONS, COLORS, EDGE_MARGIN, MAX_CONCURRENT, SHAPES

SLOTS = 16
"""Events of a scene that are handed to the device."""
FIELDS = ("start_s", "end_s", "color", "shape", "action", "x", "y", "radius")
MAX_NOISE = 12.0
"""Standard deviation of the noise on a video's pixels, in levels of 255; each video has its own from 0 to that. Encoded videos
are not clean either."""
BASE, SLOPE = (10.0, 90.0), 30.0
"""Backgrounds, in levels of 255: from the first to the second of `BASE`, sloping by up to `SLOPE` both ways on both axes."""
FRAMES_AT_ONCE = 512
"""Bounds the memory of the intermediate pictures: 512 frames of 128x224 pixels are 170 MB each."""
VISION_PATCH_PX, MERGE = 16, 2


def event_table(scene: Scene) -> NDArray[np.float32]:
    """A scene's events as numbers, float32 (SLOTS, 8) in the order of `FIELDS`, times from the first frame on."""
    colors, actions = tuple(COLORS), ACTIONS
    table = np.zeros((SLOTS, len(FIELDS)), np.float32)
    table[:, 0], table[:, 1], table[:, 7] = 1e9, -1, 0.2  # an empty slot never shows
    for row, event in zip(table, scene.events, strict=False):
        start_s, end_s = event.start_s - scene.start_s, event.end_s - scene.start_s
        look = (colors.index(event.color), SHAPES.index(event.shape), actions.index(event.action))
        row[:] = (start_s, end_s, *look, event.x, event.y, event.radius)
    return table


def backdrops(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Plain graded backgrounds, float32 (count, 1, 3, height, width) in 0..255."""
    device = generator.device
    base, across, along = (torch.rand((count, 1, 3, 1, 1), generator=generator, device=device) for _ in range(3))
    xs = torch.linspace(-0.5, 0.5, width, device=device)
    ys = torch.linspace(-0.5, 0.5, height, device=device).unsqueeze(-1)
    graded = BASE[0] + (BASE[1] - BASE[0]) * base + SLOPE * ((2 * across - 1) * xs + (2 * along - 1) * ys)
    return graded.clamp(0, 255)


def draw(events: torch.Tensor, times_s: torch.Tensor, backdrop: torch.Tensor) -> torch.Tensor:
    """Frames, float32 (B, F, 3, H, W) in 0..255.

    `events` (B, SLOTS, 8) as `event_table` makes them; `times_s` (B, F) on their clock; `backdrop` (B, 1, 3, H, W).
    """
    height, width = backdrop.shape[-2:]
    aspect = width / height
    time = times_s.unsqueeze(-1)
    shows = (time >= events[:, None, :, 0]) & (time < events[:, None, :, 1])
    order = torch.arange(events.shape[1], device=events.device).expand_as(shows).masked_fill(~shows, -1)
    latest = order.topk(MAX_CONCURRENT, dim=-1)
    xs = torch.linspace(0, aspect, width, device=events.device)
    ys = torch.linspace(0, 1, height, device=events.device).unsqueeze(-1)
    palette = torch.tensor(list(COLORS.values()), device=events.device, dtype=torch.float32)
    frames = backdrop.expand(-1, times_s.shape[1], -1, -1, -1)
    for rank in reversed(range(MAX_CONCURRENT)):  # the latest on top
        slot = latest.indices[..., rank]
        event = events.gather(1, slot.unsqueeze(-1).expand(-1, -1, events.shape[-1]))
        x, y, radius = (value[..., None, None] for value in _pose(event, times_s))
        distance = _distance(event[..., 3].long()[..., None, None], (xs - x * aspect) / radius, (ys - y) / radius)
        cover = (0.5 - distance * radius * height / 2).clamp(0, 1) * (latest.values[..., rank] >= 0)[..., None, None]
        color = palette[event[..., 2].long()][..., None, None]
        frames = torch.lerp(frames, color, cover.unsqueeze(2))
    return frames


def _pose(event: torch.Tensor, times_s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centre x and y (parts of width and height) and radius, each (B, F), as in `longview.video.synthetic`."""
    done = ((times_s - event[..., 0]) / (event[..., 1] - event[..., 0]).clamp(min=1e-3)).clamp(0, 1)
    there = EDGE_MARGIN + (1 - 2 * EDGE_MARGIN) * done
    action = event[..., 4].long()

    def does(name: str) -> torch.Tensor:
        return action == ACTIONS.index(name)

    x = torch.where(does("moves to the right"), there, torch.where(does("moves to the left"), 1 - there, event[..., 5]))
    y = torch.where(does("moves up"), 1 - there, torch.where(does("moves down"), there, event[..., 6]))
    size = torch.where(does("grows"), 0.5 + 1.2 * done, torch.where(does("shrinks"), 1.7 - 1.2 * done, 1.0))
    return x, y, event[..., 7] * size


def _distance(shape: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Signed distance to a shape of radius 1, (B, F, H, W), as in `longview.video.synthetic`; `shape` (B, F, 1, 1) indexes `SHAPES`."""
    across, along = x.abs(), y.abs()
    radius = (x * x + y * y + 1e-9).sqrt()
    of = {
        "square": torch.maximum(across, along) - 0.85,
        "triangle": torch.maximum(across * 0.866 + y * 0.5, -y) - 0.6,
        "diamond": across + along - 1.1,
        "cross": torch.minimum(torch.maximum(across - 1, along - 0.33), torch.maximum(across - 0.33, along - 1)),
        "ring": (radius - 0.75).abs() - 0.25,
        "star": radius - (0.62 + 0.38 * torch.cos(5 * torch.atan2(x, y))),
    }
    distance = radius - 1  # a circle
    for name, other in of.items():
        distance = torch.where(shape == SHAPES.index(name), other, distance)
    return distance


def pixels(
    events: torch.Tensor, times_s: torch.Tensor, grid: tuple[int, int], *, seed: int, noise: float = MAX_NOISE
) -> torch.Tensor:
    """The vision tower's input for whole videos, float32 (B * T * patches, 3 * 2 * 16 * 16), normalised to -1..1.

    `events` (B, SLOTS, 8), `times_s` (B, 2T), `grid`: rows and columns of visual tokens, of 32 x 32 pixels each.
    Patches are ordered as `Qwen3VLVideoProcessor` orders them. The same for the same `seed` on one device.
    """
    generator = torch.Generator(device=events.device).manual_seed(seed)
    rows, columns = grid
    side = VISION_PATCH_PX * MERGE
    backdrop = backdrops(len(events), rows * side, columns * side, generator)
    strength = noise * torch.rand((len(events), 1, 1, 1, 1), generator=generator, device=events.device)
    together = max(1, FRAMES_AT_ONCE // times_s.shape[1])
    made = []
    for begin in range(0, len(events), together):
        part = slice(begin, begin + together)
        frames = draw(events[part], times_s[part], backdrop[part])
        grain = torch.randn(frames.shape, generator=generator, device=events.device)
        made.append(patchify((frames + grain * strength[part]).clamp(0, 255) / 127.5 - 1, grid))
    return torch.cat(made)


def patchify(frames: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Normalised frames (B, 2T, 3, H, W) as the vision tower's input, see `pixels`."""
    rows, columns = grid
    count, length, channels = frames.shape[:3]
    blocks = frames.view(
        count * length // FRAMES_PER_PATCH, FRAMES_PER_PATCH, channels,
        rows, MERGE, VISION_PATCH_PX, columns, MERGE, VISION_PATCH_PX,
    )  # fmt: skip
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, channels * FRAMES_PER_PATCH * VISION_PATCH_PX**2)


def event_tables(scenes: Sequence[Scene]) -> torch.Tensor:
    """`event_table` of several scenes, (B, SLOTS, 8)."""
    return torch.from_numpy(np.stack([event_table(scene) for scene in scenes]))
