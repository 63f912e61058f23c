"""Fit the out-of-distribution detector of the demo checkpoint (`longview.model.engine.execution.ood`), and measure its accuracy.

    python -m longview.model.training.ood.fit [--model FOLDER] [--clips FOLDER] [--write] [VIDEO...]

The detector is fitted on rendered clips and single rendered patches, which are in-distribution, against synthetic clips, which
are out-of-distribution. No other footage is used. The threshold accepts all but three in 1,000 other rendered clips and patches.
The accuracy is measured on rendered clips and patches of further seeds; on synthetic clips, each kind with a detector that was
fitted without it; and on clips that are cut from the given videos.
"""

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from longview.model.engine.checkpoints.checkpoints import OOD_DETECTOR_FILE, find_checkpoint
from longview.model.engine.checkpoints.layer_types import FULL_ATTENTION
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.ood import OODDetector, patch_statistics, window_score
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.training.ood.clips import cut_clips, render_clips, render_patches, synthetic_clips
from longview.video.decoding.backends.base import DecodeRequest
from longview.video.decoding.backends.pyav import decode
from longview.video.decoding.decoder import Decoder
from longview.video.errors import VideoError
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampling_plan import FRAMES_PER_PATCH, PATCH_SIDE_PX

FIT_CLIPS, THRESHOLD_CLIPS, TEST_CLIPS = (150, 100_000), (60, 200_000), (100, 300_000)
"""Number and first seed of the rendered clips for the weights, for the threshold and for the measurement."""
PATCHES_PER_APPEARANCE = 40
"""Number of single patches with each shape in each colour."""
FIT_SYNTHETIC_SEED, TEST_SYNTHETIC_SEED = 1, 2
L2_PENALTY = 1e-3
HIDDEN_UNITS = 32
"""Size of the hidden layer. A linear detector misjudged stars and rings in very small frames."""
THRESHOLD_QUANTILE = 0.003
"""Share of in-distribution windows and single patches that score below the threshold. Scores of windows alone are medians, and
therefore far from the threshold."""
MAX_ITERATIONS = 200
MAX_PATCHES = 8
"""Maximum number of patches per sample, evenly spread over its window. More patches of the same clip add little."""
SMALL_FRAME = (64, 96)
"""Height and width in pixels at six tokens per patch, the minimum of the checkpoint's trained range."""
DARKEN_FACTOR, GRAY_WEIGHTS = 0.45, (0.299, 0.587, 0.114)
"""Brightness of the darkened variants, and RGB weights of the gray variants, of synthetic clips."""


@dataclass(frozen=True)
class ClipStatistics:
    """One sample: a clip at the frame times and the frame size of one plan."""

    clip: str
    kind: str
    """Name of the clip without its number and size."""
    patches: torch.Tensor
    """float32 (patches, 2 * width), see `longview.model.engine.execution.ood.patch_statistics`."""


class StatisticsReader:
    """A reader of clips that passes them through the decoder and the vision tower."""

    def __init__(self, model: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # The existing detector is left out, because it may have another format.
            checkpoint = find_checkpoint(model).folder
            bare = shutil.copytree(checkpoint, Path(folder) / "bare", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
            self.engine = LocalEngine(find_checkpoint(str(bare)), device="cpu")
        self.pool = SessionPool(self.engine, Decoder(processes=1))

    def read_clips(self, clips: Iterable[Path], *, augment: bool = False) -> Iterator[ClipStatistics]:
        """Read each clip at three sizes: as for captions, as for short clips, and the smallest.

        `augment`: also darkened and in gray.
        """
        for path in clips:
            try:
                video = probe(path)
                samples = [*self._samples(video, augment)]
            except VideoError as error:
                print(f"skipped: {error}")
                continue
            kind = path.stem.rpartition("-")[0]
            yield from (ClipStatistics(path.name, kind, patches) for patches in samples)

    def read_patches(self, seed: int) -> list[ClipStatistics]:
        """Read single patches with every shape in every colour."""
        return [
            ClipStatistics(f"still {seed}", "still", self._statistics(pixels))
            for pixels in render_patches(each=PATCHES_PER_APPEARANCE, seed=seed)
        ]

    def _samples(self, video: VideoInfo, augment: bool) -> Iterator[torch.Tensor]:
        requests = {}
        for purpose in ("caption", "refine"):
            plan = self.pool.planner.plan(video, purpose)
            requests[purpose] = (plan.windows[0].times_s, plan.height, plan.width)
        times_s, height, width = requests["caption"]
        requests["small"] = (times_s[::2], *(SMALL_FRAME if width >= height else SMALL_FRAME[::-1]))
        for window_times_s, frame_height, frame_width in requests.values():
            # The clips are trusted, and starting a decoder process for each of them would take longer than decoding it here.
            request = DecodeRequest(_spread(window_times_s), frame_height, frame_width)
            frames = [frame.pixels for frame in decode(video, request) if frame and frame.pixels is not None]
            pixels = np.stack([*frames, *frames[-1:]] if len(frames) % FRAMES_PER_PATCH else frames)
            yield self._statistics(pixels)
            if augment:
                yield self._statistics((pixels * DARKEN_FACTOR).astype(np.uint8))
                yield self._statistics(np.repeat((pixels @ np.array(GRAY_WEIGHTS))[..., None], 3, axis=-1).astype(np.uint8))

    @torch.inference_mode()
    def _statistics(self, pixels: np.ndarray) -> torch.Tensor:
        prefill = Prefill(self.engine.model, self.engine.processor, PreallocatedCache([FULL_ATTENTION], 1), clock_offset_s=0.0)
        count, height, width, _ = pixels.shape
        grid = torch.tensor([[count // FRAMES_PER_PATCH, height * 2 // PATCH_SIDE_PX, width * 2 // PATCH_SIDE_PX]])
        tokens = prefill.encode(prefill.patchify(pixels), grid).pooler_output
        return patch_statistics(tokens.unflatten(0, (count // FRAMES_PER_PATCH, -1)))


def _spread(times_s: tuple[float, ...]) -> tuple[float, ...]:
    """Return the times of at most `MAX_PATCHES` patches, evenly spread."""
    pairs = [times_s[index : index + FRAMES_PER_PATCH] for index in range(0, len(times_s), FRAMES_PER_PATCH)]
    step = max(1.0, len(pairs) / MAX_PATCHES)
    return tuple(time_s for index in range(min(len(pairs), MAX_PATCHES)) for time_s in pairs[int(index * step)])


def fit_detector(
    in_distribution: list[ClipStatistics], out_of_distribution: list[ClipStatistics], calibration: list[ClipStatistics]
) -> OODDetector:
    """Fit a detector that separates the first two sets; set its threshold by `calibration`, which is in-distribution."""
    inside, outside = (torch.cat([sample.patches for sample in samples]) for samples in (in_distribution, out_of_distribution))
    mean = inside.mean(0)
    # The second term prevents a division by zero for statistics that are constant in-distribution.
    scale = inside.std(0) + 1e-3 * inside.std()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(mean), HIDDEN_UNITS, generator=generator) / len(mean) ** 0.5
    weight = torch.randn(HIDDEN_UNITS, generator=generator) / HIDDEN_UNITS**0.5
    detector = OODDetector(mean, scale, hidden, torch.zeros(HIDDEN_UNITS), weight, torch.zeros(()))
    parameters = [detector.hidden, detector.hidden_bias, detector.weight, detector.bias]
    statistics = torch.cat([inside, outside])
    targets = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))])
    weights = torch.cat([torch.full((len(part),), 0.5 / len(part)) for part in (inside, outside)])
    optimizer = torch.optim.LBFGS(
        [parameter.requires_grad_() for parameter in parameters], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scores = detector.score_statistics(statistics)
        cross_entropy = binary_cross_entropy_with_logits(scores, targets, weights, reduction="sum")
        total: torch.Tensor = cross_entropy + L2_PENALTY * (detector.hidden.square().sum() + detector.weight.square().sum())
        total.backward()
        return total

    optimizer.step(loss)
    for parameter in parameters:
        parameter.requires_grad_(False)
    threshold = float(np.quantile(window_scores(detector, calibration), THRESHOLD_QUANTILE))
    return replace(detector, bias=detector.bias - threshold)


def window_scores(detector: OODDetector, samples: list[ClipStatistics]) -> np.ndarray:
    """Return the score of each sample, float64 (samples,). Scores above 0 are in-distribution."""
    return np.array([window_score([detector.score_statistics(sample.patches)]) for sample in samples])


def report(name: str, samples: list[ClipStatistics], scores: np.ndarray, *, in_distribution: bool) -> None:
    """Print the accuracy of the detector on samples, the quantiles of their scores, and the misclassified clips."""
    is_correct = (scores > 0) == in_distribution
    quantiles = np.quantile(scores, [0.005, 0.05, 0.5, 0.95, 0.995])
    print(f"{name}: {is_correct.sum()} of {len(samples)} correct; scores at 0.5, 5, 50, 95, 99.5 %: {quantiles.round(2)}")
    errors: dict[str, int] = defaultdict(int)
    for sample, correct in zip(samples, is_correct, strict=True):
        if not correct:
            errors[sample.clip] += 1
    for clip, count in sorted(errors.items()):
        print(f"    misclassified: {clip} ({count} samples)")


def main() -> None:
    """Fit a detector, measure its accuracy, and write its file if requested."""
    parser = argparse.ArgumentParser(
        prog="python -m longview.model.training.ood.fit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="*", type=Path, help="other videos, only for the measurement")
    parser.add_argument("--clips", type=Path, help="folder in which the clips stay for the next run")
    parser.add_argument("--model", default="demo", help="demo, or the folder of another checkpoint that was trained on shapes")
    parser.add_argument("--write", action="store_true", help="write the detector into the folder of the checkpoint")
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.clips or Path(temporary)
        reader = StatisticsReader(options.model)
        parts = (FIT_CLIPS, THRESHOLD_CLIPS, TEST_CLIPS)
        clips = [list(reader.read_clips(render_clips(folder, count=count, seed=seed))) for count, seed in parts]
        patches = [reader.read_patches(seed) for _, seed in parts]
        in_distribution, calibration = (clips[index] + patches[index] for index in (0, 1))
        synthetic, test_synthetic = (
            list(reader.read_clips(synthetic_clips(folder, seed=seed), augment=True))
            for seed in (FIT_SYNTHETIC_SEED, TEST_SYNTHETIC_SEED)
        )
        detector = fit_detector(in_distribution, synthetic, calibration)
        if options.write:
            detector.save(find_checkpoint(options.model).folder)
        report("rendered clips", clips[2], window_scores(detector, clips[2]), in_distribution=True)
        report("rendered patches", patches[2], window_scores(detector, patches[2]), in_distribution=True)
        left_out: list[ClipStatistics] = []
        left_out_scores = []
        for kind in dict.fromkeys(sample.kind for sample in test_synthetic):
            without_kind = fit_detector(in_distribution, [sample for sample in synthetic if sample.kind != kind], calibration)
            of_kind = [sample for sample in test_synthetic if sample.kind == kind]
            left_out += of_kind
            left_out_scores.append(window_scores(without_kind, of_kind))
        report("synthetic, each kind left out of the fit", left_out, np.concatenate(left_out_scores), in_distribution=False)
        for video in options.videos:
            cuts = cut_clips(folder, video, probe(video).duration_s)
            samples = list(reader.read_clips([video, *cuts]))
            report(video.name, samples, window_scores(detector, samples), in_distribution=False)


if __name__ == "__main__":
    main()
