"""Sampling plans for one engine: what its checkpoint was trained on and its context, applied to a video."""

from collections.abc import Callable, Iterator

from longview.model.engine.base import Engine
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.sampler import Budget, Purpose, SamplingPlan, plan_sampling, window_overlaps
from longview.video.shots import shot_starts
from longview.video.timeline import Span

OnFraction = Callable[[float], None]
"""Callback that receives the completed fraction (0 to 1) of a long operation, for each decoded chunk and each generated token.
An exception that it raises (`longview.model.errors.Cancelled`) ends the operation and frees the device."""
Tick = Callable[[], None]
"""The same for a step whose fraction of the whole does not matter."""


class Planner:
    """Plans within the context of one engine. Safe for several threads."""

    def __init__(self, engine: Engine, decoder: Decoder, *, context_tokens: int | None = None) -> None:
        """`context_tokens`: maximum length of prompt and reply, by default the engine's."""
        self._engine, self._decoder = engine, decoder
        self.context_tokens = min(engine.context_tokens, context_tokens or engine.context_tokens)
        """Maximum tokens of one window with question and reply; lowered when the device runs out of memory."""
        self._shot_starts_s: dict[tuple[str, tuple[Span, ...]], tuple[float, ...]] = {}

    def plan(
        self,
        video: VideoInfo,
        purpose: Purpose = "qa",
        *,
        span: Span | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        context_tokens: int | None = None,
        on_part: OnFraction | None = None,
    ) -> SamplingPlan:
        """Return the plan for this engine's checkpoint and context; see `longview.video.sampler.plan_sampling`.

        Where windows of the purpose "caption" overlap, they meet at the start of a shot if one is found there. `on_part` is
        called while shots are detected.
        """
        budget = Budget(
            context_tokens=min(self.context_tokens, context_tokens or self.context_tokens),
            reserved_tokens=self._engine.reserved_tokens,
            trained_range=self._engine.checkpoint.trained_range,
            timestamp_tokens=self._engine.timestamp_tokens,
        )
        start_s, end_s = (span.start_s, span.end_s) if span else (None, None)
        draft = plan_sampling(video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames)
        if purpose != "caption" or len(draft.windows) == 1 or self._decoder.key_frames_only:
            return draft
        starts_s = self._find_shot_starts(video, tuple(window_overlaps(draft)), on_part)
        return plan_sampling(
            video, budget, purpose, start_s=start_s, end_s=end_s, fps=fps, max_frames=max_frames, shot_starts_s=starts_s
        )

    def _find_shot_starts(self, video: VideoInfo, regions: tuple[Span, ...], on_part: OnFraction | None) -> tuple[float, ...]:
        key = (video.content_hash, regions)
        if key not in self._shot_starts_s:

            def report_regions() -> Iterator[Span]:
                for region in regions:
                    if on_part:
                        on_part(0.0)
                    yield region

            self._shot_starts_s[key] = shot_starts(self._decoder, video, report_regions())
        return self._shot_starts_s[key]
