"""Scenes -> pixels on the training device: `longview.video.synthetic.draw` as tensor arithmetic, for many frames at once.

Frames are rendered on the device that uses them, because training takes hundreds of thousands of tokens per second. Neither a CPU
nor a bus can supply them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from longview.model.training.scenes import Scene
from longview.video.sampling_plan import FRAMES_PER_PATCH
from longview.video.synthetic import ACTIONS, COLORS, EDGE_MARGIN, MAX_CONCURRENT, SHAPES

SLOTS = 16
"""Number of rows of an event table: the maximum number of events of a scene that are rendered."""
FIELDS = ("start_s", "end_s", "color", "shape", "action", "x", "y", "radius")
MAX_NOISE = 12.0
"""Maximum standard deviation of the pixel noise of a video, in levels of 255, because encoded videos are noisy, too."""
BASE, SLOPE = (10.0, 90.0), 30.0
"""Range of the mean level of backgrounds, and their maximum gradient along each axis, in levels of 255."""
MAX_FRAMES_PER_CALL = 512
"""Maximum number of frames that are drawn at once. Intermediate results of 512 frames of 128x224 pixels take 170 MB each."""
VISION_PATCH_PX, MERGE = 16, 2


def event_table(scene: Scene) -> NDArray[np.float32]:
    """Return the events of a scene as numbers, float32 (SLOTS, 8) in the order of `FIELDS`, with times relative to its start."""
    colors, actions = tuple(COLORS), ACTIONS
    table = np.zeros((SLOTS, len(FIELDS)), np.float32)
    table[:, 0], table[:, 1], table[:, 7] = 1e9, -1, 0.2  # an empty slot is never visible
    for row, event in zip(table, scene.events, strict=False):
        start_s, end_s = event.start_s - scene.start_s, event.end_s - scene.start_s
        appearance = (colors.index(event.color), SHAPES.index(event.shape), actions.index(event.action))
        row[:] = (start_s, end_s, *appearance, event.x, event.y, event.radius)
    return table


def random_backgrounds(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Return random backgrounds with a gradient, float32 (count, 1, 3, height, width) in 0..255."""
    device = generator.device
    base, slope_x, slope_y = (torch.rand((count, 1, 3, 1, 1), generator=generator, device=device) for _ in range(3))
    xs = torch.linspace(-0.5, 0.5, width, device=device)
    ys = torch.linspace(-0.5, 0.5, height, device=device).unsqueeze(-1)
    levels = BASE[0] + (BASE[1] - BASE[0]) * base + SLOPE * ((2 * slope_x - 1) * xs + (2 * slope_y - 1) * ys)
    return levels.clamp(0, 255)


def draw(events: torch.Tensor, times_s: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Draw frames, float32 (B, F, 3, H, W) in 0..255.

    `events` (B, SLOTS, 8): output of `event_table`; `times_s` (B, F): on their clock; `background` (B, 1, 3, H, W).
    """
    height, width = background.shape[-2:]
    aspect = width / height
    time = times_s.unsqueeze(-1)
    is_visible = (time >= events[:, None, :, 0]) & (time < events[:, None, :, 1])
    order = torch.arange(events.shape[1], device=events.device).expand_as(is_visible).masked_fill(~is_visible, -1)
    latest = order.topk(MAX_CONCURRENT, dim=-1)
    xs = torch.linspace(0, aspect, width, device=events.device)
    ys = torch.linspace(0, 1, height, device=events.device).unsqueeze(-1)
    palette = torch.tensor(list(COLORS.values()), device=events.device, dtype=torch.float32)
    frames = background.expand(-1, times_s.shape[1], -1, -1, -1)
    for rank in reversed(range(MAX_CONCURRENT)):  # the latest event is drawn last
        slot = latest.indices[..., rank]
        event = events.gather(1, slot.unsqueeze(-1).expand(-1, -1, events.shape[-1]))
        x, y, radius = (value[..., None, None] for value in _pose(event, times_s))
        distance = _distance(event[..., 3].long()[..., None, None], (xs - x * aspect) / radius, (ys - y) / radius)
        opacity = (0.5 - distance * radius * height / 2).clamp(0, 1) * (latest.values[..., rank] >= 0)[..., None, None]
        color = palette[event[..., 2].long()][..., None, None]
        frames = torch.lerp(frames, color, opacity.unsqueeze(2))
    return frames


def _pose(event: torch.Tensor, times_s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return centre x and y (fractions of width and height) and radius, each (B, F), as in `longview.video.synthetic`."""
    fraction = ((times_s - event[..., 0]) / (event[..., 1] - event[..., 0]).clamp(min=1e-3)).clamp(0, 1)
    position = EDGE_MARGIN + (1 - 2 * EDGE_MARGIN) * fraction
    action = event[..., 4].long()

    def is_action(name: str) -> torch.Tensor:
        return action == ACTIONS.index(name)

    fixed_x, fixed_y = event[..., 5], event[..., 6]
    x = torch.where(is_action("moves to the right"), position, torch.where(is_action("moves to the left"), 1 - position, fixed_x))
    y = torch.where(is_action("moves up"), 1 - position, torch.where(is_action("moves down"), position, fixed_y))
    scale = torch.where(is_action("grows"), 0.5 + 1.2 * fraction, torch.where(is_action("shrinks"), 1.7 - 1.2 * fraction, 1.0))
    return x, y, event[..., 7] * scale


def _distance(shape: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the signed distance to a shape of radius 1, (B, F, H, W); `shape` (B, F, 1, 1) has indices of `SHAPES`."""
    abs_x, abs_y = x.abs(), y.abs()
    radius = (x * x + y * y + 1e-9).sqrt()
    distances = {
        "square": torch.maximum(abs_x, abs_y) - 0.85,
        "triangle": torch.maximum(abs_x * 0.866 + y * 0.5, -y) - 0.6,
        "diamond": abs_x + abs_y - 1.1,
        "cross": torch.minimum(torch.maximum(abs_x - 1, abs_y - 0.33), torch.maximum(abs_x - 0.33, abs_y - 1)),
        "ring": (radius - 0.75).abs() - 0.25,
        "star": radius - (0.62 + 0.38 * torch.cos(5 * torch.atan2(x, y))),
    }
    distance = radius - 1  # a circle
    for name, other in distances.items():
        distance = torch.where(shape == SHAPES.index(name), other, distance)
    return distance


def render_pixels(
    events: torch.Tensor, times_s: torch.Tensor, grid: tuple[int, int], *, seed: int, noise: float = MAX_NOISE
) -> torch.Tensor:
    """Render the input of the vision tower for whole videos, float32 (B * T * patches, 3 * 2 * 16 * 16), normalised to -1..1.

    `events` (B, SLOTS, 8); `times_s` (B, 2T); `grid`: rows and columns of visual tokens, of 32 x 32 pixels each.
    Patches are in the order of `Qwen3VLVideoProcessor`. The same `seed` gives the same pixels on one device.
    """
    generator = torch.Generator(device=events.device).manual_seed(seed)
    rows, columns = grid
    side = VISION_PATCH_PX * MERGE
    background = random_backgrounds(len(events), rows * side, columns * side, generator)
    strength = noise * torch.rand((len(events), 1, 1, 1, 1), generator=generator, device=events.device)
    videos_per_call = max(1, MAX_FRAMES_PER_CALL // times_s.shape[1])
    patches = []
    for first in range(0, len(events), videos_per_call):
        part = slice(first, first + videos_per_call)
        frames = draw(events[part], times_s[part], background[part])
        pixel_noise = torch.randn(frames.shape, generator=generator, device=events.device)
        patches.append(patchify((frames + pixel_noise * strength[part]).clamp(0, 255) / 127.5 - 1, grid))
    return torch.cat(patches)


def patchify(frames: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Convert normalised frames (B, 2T, 3, H, W) to the input of the vision tower, see `render_pixels`."""
    rows, columns = grid
    count, length, channels = frames.shape[:3]
    blocks = frames.view(
        count * length // FRAMES_PER_PATCH, FRAMES_PER_PATCH, channels,
        rows, MERGE, VISION_PATCH_PX, columns, MERGE, VISION_PATCH_PX,
    )  # fmt: skip
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, channels * FRAMES_PER_PATCH * VISION_PATCH_PX**2)


def event_tables(scenes: Sequence[Scene]) -> torch.Tensor:
    """Stack the event tables of several scenes, (B, SLOTS, 8)."""
    return torch.from_numpy(np.stack([event_table(scene) for scene in scenes]))
