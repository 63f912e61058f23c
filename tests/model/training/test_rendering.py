"""Frames and pixels are those of `longview.video.synthetic` and of the processor."""

from typing import Any

import numpy as np
import torch

from longview.model.training.rendering import draw, event_tables, random_backgrounds, render_pixels
from longview.model.training.scenes import Scene
from longview.video import synthetic
from tests.support.toy_training import SCENE, sample_scenes


def relative_times(scene: Scene) -> torch.Tensor:
    return torch.tensor(scene.frame_times_s - scene.start_s, dtype=torch.float32).unsqueeze(0)


def test_frames_equal_those_of_synthetic_videos() -> None:
    backdrop = synthetic.background(64, 96, seed=1)
    background = torch.tensor(backdrop).permute(2, 0, 1)[None, None]
    for scene in (SCENE, *sample_scenes(12)):
        frames = draw(event_tables([scene]), relative_times(scene), background)[0].permute(0, 2, 3, 1).numpy()
        expected = np.stack([synthetic.draw(scene.events, float(time_s), backdrop) for time_s in scene.frame_times_s])
        difference = np.abs(frames - expected)
        # An event that begins exactly at the time of a frame may be rounded to either side of it.
        assert np.quantile(difference.reshape(len(expected), -1).max(axis=1), 0.9) < 2


def test_pixels_are_in_the_order_of_the_processor(processor: Any) -> None:
    table, times = event_tables([SCENE]), relative_times(SCENE)
    pixels = render_pixels(table, times, (2, 3), seed=4, noise=0.0)
    frames = draw(table, times, random_backgrounds(1, 64, 96, torch.Generator().manual_seed(4)))
    output = processor.video_processor(
        [frames[0].round().to(torch.uint8)], do_resize=False, do_sample_frames=False, return_tensors="pt"
    )
    assert output["video_grid_thw"].tolist() == [[8, 4, 6]]
    assert (output["pixel_values_videos"] - pixels).abs().max() < 0.02
