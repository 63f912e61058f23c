"""Sampling plans within the trained range and the context of one engine."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import Engine
from longview.model.engine.execution.patch_selection import kept_patches_period_s, select_patches
from longview.video.decoding.decoder import Decoder
from longview.video.errors import ContextTooShort, VideoError
from longview.video.probing.probe import VideoInfo
from longview.video.sampler import plan_sampling, window_overlaps
from longview.video.sampling_plan import FRAMES_PER_PATCH, Budget, Purpose, SamplingPlan, TrainedRange
from longview.video.shots import shot_starts

MIN_SAVING_FRAME_PERIOD_S = 1.0
"""Preferred time between two frames on a slow device, in seconds: a minute of video has 30 temporal patches."""
MAX_SAVING_TOKENS_PER_PATCH = 84
"""Maximum visual tokens of a temporal patch on a slow device: those of 384x224 pixels, nearly 16:9. (Qwen3.5-0.8B with random
weights needs about 40 s of a core for the captions of a minute of such video; docs/performance.md.)"""

EXAMPLES = 3
"""Parts of a video of which the share of kept patches is measured for an estimate."""
EXAMPLE_PATCHES = 12
"""Temporal patches of each part: 24 seconds. Decoding them took about two seconds for a part of a video of 1920x1080."""

log = logging.getLogger(__name__)


class Planner:
    """Plans within the context of one engine. Safe for several threads."""

    def __init__(
        self, engine: Engine, decoder: Decoder, *, context_tokens: int | None = None, takes_transcript: bool = False
    ) -> None:
        """`context_tokens`: maximum length of prompt and reply, by default the engine's. `takes_transcript`: see `Budget`."""
        self._engine, self._decoder, self._takes_transcript = engine, decoder, takes_transcript
        self.context_tokens = min(engine.context_tokens, context_tokens or engine.context_tokens)
        """Maximum tokens of one window with question and reply; lowered when the device runs out of memory."""
        self._shot_starts_s: dict[tuple[str, tuple[Span, ...]], tuple[float, ...]] = {}
        self._kept_shares: dict[tuple[str, Span, float], float] = {}

    def plan(
        self,
        video: VideoInfo,
        purpose: Purpose = "qa",
        *,
        span: Span | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        context_tokens: int | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> SamplingPlan:
        """Return the plan for this engine's checkpoint and context; see `longview.video.sampler.plan_sampling`.

        Where windows of the purpose "caption" overlap, they meet at the start of a shot if one is found there. `progress` follows
        the detection of shots.

        Raises:
            ImpossiblePlan: the options cannot be satisfied together. Cancelled: the operation was cancelled.
        """
        budget = self._budget(context_tokens)
        sample = functools.partial(plan_sampling, video, budget, purpose, span=span, fps=fps, max_frames=max_frames)
        try:
            plan = sample()
        except ContextTooShort as error:
            raise ContextTooShort(" ".join(filter(None, (str(error), self._engine.context_advice)))) from error
        if purpose == "caption" and len(plan.windows) > 1 and not self._decoder.key_frames_only:
            plan = sample(shot_starts_s=self._find_shot_starts(video, tuple(window_overlaps(plan)), progress))
        return self._with_kept_period(plan)

    def rebuild_plan(
        self, video: VideoInfo, shot_starts_s: Sequence[float], *, span: Span | None, context_tokens: int
    ) -> SamplingPlan:
        """Build an earlier plan for captions again, without detecting shots.

        `shot_starts_s`: the times at which its windows meet, in seconds. `span`, `context_tokens`: as for the earlier plan.

        Raises:
            ImpossiblePlan: it is no longer possible, because the context is smaller now.
        """
        shot_starts_s = () if self._decoder.key_frames_only else shot_starts_s
        budget = self._budget(context_tokens)
        return self._with_kept_period(plan_sampling(video, budget, "caption", span=span, shot_starts_s=shot_starts_s))

    def _budget(self, context_tokens: int | None) -> Budget:
        trained_range = self._engine.checkpoint.trained_range
        return Budget(
            context_tokens=self.context_limit(context_tokens),
            reserved_tokens=self._engine.reserved_tokens,
            trained_range=token_saving_range(trained_range) if self._engine.saves_tokens else trained_range,
            timestamp_tokens=self._engine.timestamp_tokens,
            takes_transcript=self._takes_transcript,
        )

    def context_limit(self, context_tokens: int | None = None) -> int:
        """Return the maximum tokens of a window with question and reply; `context_tokens`: the maximum of the user."""
        # That of a served model may have been lowered meanwhile.
        return min(self.context_tokens, self._engine.context_tokens, context_tokens or self.context_tokens)

    def _with_kept_period(self, plan: SamplingPlan) -> SamplingPlan:
        """Return a plan whose time resolution is that of the patches that the engine keeps."""
        kept_period_s = kept_patches_period_s(plan.patch_period_s)
        is_sparser = self._engine.saves_tokens and kept_period_s > plan.patch_period_s
        return replace(plan, kept_period_s=kept_period_s) if is_sparser else plan

    def _find_shot_starts(self, video: VideoInfo, regions: tuple[Span, ...], progress: Progress) -> tuple[float, ...]:
        key = (video.content_hash, regions)
        if key not in self._shot_starts_s:
            self._shot_starts_s[key] = shot_starts(self._decoder, video, regions, progress)
        return self._shot_starts_s[key]

    def estimate_kept_share(self, video: VideoInfo, plan: SamplingPlan, progress: Progress = NO_PROGRESS) -> SamplingPlan:
        """Return a plan with the share of its patches that a token-saving engine keeps, measured on some parts of the video.

        Raises:
            Cancelled: the operation was cancelled.
        """
        key = (video.content_hash, plan.span, plan.patch_period_s)
        if self._engine.saves_tokens and key not in self._kept_shares:
            self._kept_shares[key] = self._measure_kept_share(video, plan, progress)
        return replace(plan, kept_share=self._kept_shares.get(key, 1.0))

    def _measure_kept_share(self, video: VideoInfo, plan: SamplingPlan, progress: Progress) -> float:
        times_s = [time_s for window in plan.windows for time_s in window.times_s]
        size = EXAMPLE_PATCHES * FRAMES_PER_PATCH
        starts, first_frames = range(0, len(times_s), len(times_s) // EXAMPLES + 1), FRAMES_PER_PATCH
        if len(times_s) <= size * EXAMPLES:
            starts, size, first_frames = range(1), len(times_s), 0
        kept_patches = total_patches = 0
        for start, part in zip(starts, progress.steps(len(starts)), strict=True):
            example_s = sorted(set(times_s[start : start + size]))
            try:
                chunks = list(self._decoder.frames_played_at(video, example_s, plan.height, plan.width, progress=part))
            except VideoError as error:
                log.info("%s: no frames from %.1f s for the estimate: %s", video.path.name, example_s[0], error)
                continue
            # The first patch of an example would be left out within the video.
            total_patches += sum(len(chunk) for chunk in chunks) - first_frames
            kept_patches += sum(len(chunk) for chunk in select_patches(chunks)) - first_frames
        return max(0, kept_patches) / total_patches if total_patches > 0 else 1.0


def token_saving_range(trained_range: TrainedRange) -> TrainedRange:
    """Return the range that plans for a slow device stay in: fewer frames, and small ones."""
    return replace(
        trained_range,
        frame_period_s=min(max(trained_range.frame_period_s, MIN_SAVING_FRAME_PERIOD_S), trained_range.max_frame_period_s),
        max_tokens_per_patch=min(
            trained_range.max_tokens_per_patch, max(trained_range.min_tokens_per_patch, MAX_SAVING_TOKENS_PER_PATCH)
        ),
    )
