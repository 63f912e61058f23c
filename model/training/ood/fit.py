"""Fits the rule by which the bundled checkpoint knows its world (`longview.model.engine.ood`), and measures how often it is right.

    python -m benchmarks.fit_familiarity [--model FOLDER] [--clips FOLDER] [--write] [VIDEO...]

Fitted are rendered clips and single patches against synthetic clips; nothing else goes in. The border is moved to where all
but three in 1,000 of other rendered clips and patches are familiar. It is measured on rendered ones of other seeds; on synthetic
ones, each kind by a rule that never saw that kind; and on clips cut from the videos given, of which no rule saw any.
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
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from longview.model.engine.checkpoints import OOD_DETECTOR_FILE, find_checkpoint
from longview.model.engine.kv_cache import PreallocatedKVCache
from longview.model.engine.local import LocalEngine
from longview.model.engine.ood import OODDetector, patch_statistics, window_score
from longview.model.engine.prefill import Prefill
from longview.model.engine.sessions import SessionPool
from longview.model.training.ood.clips import cut, render_clips, stills, synthetic
from longview.video.backends.base import DecodeRequest
from longview.video.backends.pyav import decode
from longview.video.decoder import Decoder
from longview.video.errors import VideoError
from longview.video.probe import VideoInfo, probe
from longview.video.sampler import FRAMES_PER_PATCH, PATCH_SIDE_PX

FITTED, BORDER, MEASURED = (150, 100_000), (60, 200_000), (100, 300_000)
"""How many rendered clips, from which seed, for the rule, its border and its measurement."""
STILLS_EACH = 40
"""Single patches with each shape in each colour."""
FITTED_SYNTHETIC, MEASURED_SYNTHETIC = 1, 2
"""Seeds of drawn clips."""
PENALTY = 1e-3
"""On the squares of the weights."""
HIDDEN = 32
"""Numbers between the statistics and the verdict. Without them, stars and rings in very small pictures were misjudged."""
BORDER_QUANTILE = 0.003
"""Of single patches and windows of the world together: windows alone, being medians, keep well clear of the border."""
STEPS = 200
MAX_PATCHES = 8
"""Of one look, spread evenly over its window: more of the same clip teach little."""
SMALL = (64, 96)
"""Height and width of six tokens a patch, the fewest of the checkpoint's range."""
DARKENED, GRAY = 0.45, (0.299, 0.587, 0.114)
"""What else is fitted of synthetic clips: darker ones and gray ones."""


@dataclass(frozen=True)
class ClipStatistics:
    """One clip as one plan sees it."""

    clip: str
    kind: str
    """The clip's name without its number and size."""
    patches: torch.Tensor
    """Float32 (patches, 2 * width), see `longview.model.engine.ood.statistics`."""


class StatisticsReader:
    """Clips through decoder and vision tower."""

    def __init__(self, model: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Without the rule that is there: it may be of another form.
            checkpoint = find_checkpoint(model).folder
            bare = shutil.copytree(checkpoint, Path(folder) / "bare", ignore=shutil.ignore_patterns(OOD_DETECTOR_FILE))
            self.engine = LocalEngine(find_checkpoint(str(bare)), device="cpu")
        self.pool = SessionPool(self.engine, Decoder(processes=1))

    def read_clips(self, clips: Iterable[Path], *, varied: bool = False) -> Iterator[ClipStatistics]:
        """Each clip as captions, close looks and the smallest size see it; `varied`: darker and gray, too."""
        for path in clips:
            try:
                video = probe(path)
                found = [*self._seen(video, varied)]
            except VideoError as error:
                print(f"left out: {error}")
                continue
            kind = path.stem.rpartition("-")[0]
            yield from (ClipStatistics(path.name, kind, patches) for patches in found)

    def stills(self, seed: int) -> list[ClipStatistics]:
        """Single patches with every shape in every colour."""
        return [
            ClipStatistics(f"still {seed}", "still", self._statistics(pixels)) for pixels in stills(each=STILLS_EACH, seed=seed)
        ]

    def _seen(self, video: VideoInfo, varied: bool) -> Iterator[torch.Tensor]:
        sizes = {}
        for purpose in ("caption", "look"):
            plan = self.pool.planner.plan(video, purpose)
            sizes[purpose] = (plan.windows[0].times_s, plan.height, plan.width)
        times_s, height, width = sizes["caption"]
        sizes["small"] = (times_s[::2], *(SMALL if width >= height else SMALL[::-1]))
        for wanted_s, high, wide in sizes.values():
            wanted_s = _spread(wanted_s)
            # In this process: the clips are our own, and starting one for each look would take longer than looking.
            shown = [
                picture.pixels
                for picture in decode(video, DecodeRequest(wanted_s, high, wide))
                if picture and picture.pixels is not None
            ]
            pixels = np.stack([*shown, *shown[-1:]] if len(shown) % FRAMES_PER_PATCH else shown)
            yield self._statistics(pixels)
            if varied:
                yield self._statistics((pixels * DARKENED).astype(np.uint8))
                yield self._statistics(np.repeat((pixels @ np.array(GRAY))[..., None], 3, axis=-1).astype(np.uint8))

    @torch.inference_mode()
    def _statistics(self, pixels: np.ndarray) -> torch.Tensor:
        prefill = Prefill(self.engine.model, self.engine.processor, PreallocatedKVCache(1, 1), clock_offset_s=0.0)
        count, height, width, _ = pixels.shape
        grid = torch.tensor([[count // FRAMES_PER_PATCH, height * 2 // PATCH_SIDE_PX, width * 2 // PATCH_SIDE_PX]])
        seen = prefill.encode(prefill.patchify(pixels), grid).pooler_output
        return patch_statistics(seen.unflatten(0, (count // FRAMES_PER_PATCH, -1)))


def _spread(times_s: tuple[float, ...]) -> tuple[float, ...]:
    """The times of no more than `PATCHES_MAX` patches, evenly spread."""
    pairs = [times_s[index : index + FRAMES_PER_PATCH] for index in range(0, len(times_s), FRAMES_PER_PATCH)]
    step = max(1.0, len(pairs) / MAX_PATCHES)
    return tuple(time_s for index in range(min(len(pairs), MAX_PATCHES)) for time_s in pairs[int(index * step)])


def fit_detector(
    in_distribution: list[ClipStatistics], others: list[ClipStatistics], border: list[ClipStatistics]
) -> OODDetector:
    """The rule that learns to tell the first from the second, its border by the third."""
    inside, outside = (torch.cat([look.patches for look in looks]) for looks in (in_distribution, others))
    mean = inside.mean(0)
    # A statistic that never moves in the world would be divided by nothing.
    scale = inside.std(0) + 1e-3 * inside.std()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(len(mean), HIDDEN, generator=generator) / len(mean) ** 0.5
    weight = torch.randn(HIDDEN, generator=generator) / HIDDEN**0.5
    rule = OODDetector(mean, scale, hidden, torch.zeros(HIDDEN), weight, torch.zeros(()))
    learnt = [rule.hidden, rule.hidden_bias, rule.weight, rule.bias]
    found = torch.cat([inside, outside])
    is_inside = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))])
    shares = torch.cat([torch.full((len(part),), 0.5 / len(part)) for part in (inside, outside)])
    optimizer = torch.optim.LBFGS([part.requires_grad_() for part in learnt], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        wrong = cross_entropy(rule.score_statistics(found), is_inside, shares, reduction="sum")
        total: torch.Tensor = wrong + PENALTY * (rule.hidden.square().sum() + rule.weight.square().sum())
        total.backward()
        return total

    optimizer.step(loss)
    for part in learnt:
        part.requires_grad_(False)
    zero = float(np.quantile(window_scores(rule, border), BORDER_QUANTILE))
    return replace(rule, bias=rule.bias - zero)


def window_scores(rule: OODDetector, looks: list[ClipStatistics]) -> np.ndarray:
    """Of each look: float64 (looks,)."""
    return np.array([window_score([rule.score_statistics(look.patches)]) for look in looks])


def report(what: str, looks: list[ClipStatistics], told: np.ndarray, *, familiar: bool) -> None:
    """Print on how many looks the rule is right, and where it is not."""
    right = (told > 0) == familiar
    near = np.quantile(told, [0.005, 0.05, 0.5, 0.95, 0.995])
    print(f"{what}: right on {right.sum()} of {len(looks)}; familiarity at 0.5, 5, 50, 95, 99.5 %: {near.round(2)}")
    wrong: dict[str, int] = defaultdict(int)
    for look, is_right in zip(looks, right, strict=True):
        if not is_right:
            wrong[look.clip] += 1
    for clip, count in sorted(wrong.items()):
        print(f"    wrong: {clip} ({count} looks)")


def main() -> None:
    """Fit, measure, and write the file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path, help="real files, for measuring only")
    parser.add_argument("--clips", type=Path, help="where clips are kept for the next time")
    parser.add_argument("--model", default="demo", help="the checkpoint of shapes, a folder if it is not the bundled one")
    parser.add_argument("--write", action="store_true", help=f"write {OOD_DETECTOR_FILE} beside the checkpoint")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.clips or Path(temporary)
        looking = StatisticsReader(arguments.model)
        clips = [
            list(looking.read_clips(render_clips(folder, count=count, seed=seed))) for count, seed in (FITTED, BORDER, MEASURED)
        ]
        single = [looking.stills(seed) for _, seed in (FITTED, BORDER, MEASURED)]
        world, border = (clips[index] + single[index] for index in (0, 1))
        first, second = (
            list(looking.read_clips(synthetic(folder, seed=seed), varied=True)) for seed in (FITTED_SYNTHETIC, MEASURED_SYNTHETIC)
        )
        rule = fit_detector(world, first, border)
        if arguments.write:
            rule.save(find_checkpoint(arguments.model).folder / OOD_DETECTOR_FILE)
        report("rendered", clips[2], window_scores(rule, clips[2]), familiar=True)
        report("single patches", single[2], window_scores(rule, single[2]), familiar=True)
        left_out = np.concatenate(
            [
                window_scores(fit_detector(world, [look for look in first if look.kind != kind], border), [
                    look for look in second if look.kind == kind
                ])
                for kind in dict.fromkeys(look.kind for look in second)
            ]
        )  # fmt: skip
        in_order = [look for kind in dict.fromkeys(look.kind for look in second) for look in second if look.kind == kind]
        report("synthetic, each kind unseen", in_order, left_out, familiar=False)
        for video in arguments.videos:
            duration_s = probe(video).duration_s
            looks = list(looking.read_clips([video, *cut(folder, video, duration_s)]))
            report(video.name, looks, window_scores(rule, looks), familiar=False)


if __name__ == "__main__":
    main()
