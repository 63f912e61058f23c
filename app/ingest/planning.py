"""Plans of an index run and of questions, with their estimated costs."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longview.app.files.media import MediaStore
from longview.app.ingest.indexer import Indexer
from longview.app.ingest.options import PlanOptions
from longview.app.ingest.ranges import requested_span
from longview.app.ingest.sources.base import Decision
from longview.app.runtime.context_retry import retry_with_smaller_context
from longview.app.runtime.runtime import Runtime
from longview.app.runtime.transcript_context import transcript_reader
from longview.core.timeline import Span
from longview.indexing.records.track import video_id_of
from longview.indexing.sqlite.library import Library
from longview.model.errors import LocalEngineUnavailable

if TYPE_CHECKING:
    from longview.app.runtime.checks import Checks
    from longview.model.engine.sessions import SessionPool
    from longview.model.tasks.costs import Cost
    from longview.video.probing.probe import VideoInfo
    from longview.video.sampling_plan import SamplingPlan


@dataclass(frozen=True)
class PlanReport:
    """A plan and its estimated cost."""

    video: "VideoInfo"
    sources: "dict[str, Decision]"
    """What each source would do when the video is indexed."""
    frames: "FramePlan | None"
    """The plan and the costs of tasks that look at frames; None for a file without pictures, and where captions are not
    chosen."""
    other_seconds: float = 0.0
    """Estimated time of `index` beside that of the sources, in seconds."""
    declined_after_s: float | None = None
    """Time after which the checkpoint may decline to caption the video, in seconds; None: it declines none."""

    @property
    def captions_at_most_s(self) -> float | None:
        """Time of captions if the checkpoint knows the footage, in seconds; None: unknown, or they are not made."""
        is_run = self.sources["captions"].action == "run"
        seconds = self.frames.index.seconds if is_run and self.frames else None
        expected_s = self.sources["captions"].estimated_seconds
        return seconds if seconds is None or expected_s is None else max(seconds, expected_s)

    @property
    def estimated_seconds(self) -> float | None:
        """Expected time of `index` in a new process, in seconds; None if that of a source is unknown."""
        times = [decision.estimated_seconds for decision in self.sources.values() if decision.action == "run"]
        return None if None in times else sum(time_s or 0.0 for time_s in times) + self.other_seconds


@dataclass(frozen=True)
class FramePlan:
    """A sampling plan and the estimated costs of the tasks that use the checkpoint."""

    plan: "SamplingPlan"
    device: str
    """The type of device that the costs are for, or `server`."""
    estimated_bytes: int
    """Peak memory, including the weights of the checkpoint."""
    checks: "Checks"
    """The checks that are enabled. The costs include them."""
    ask: "Cost"
    """The cost of an answer about the window that a question needs."""
    index: "Cost"
    """The cost of captions, chapters and summary."""
    locate: "Cost"
    """The cost of `locate` for a query that does not occur."""
    occurrence: "Cost"
    """The cost that each occurrence adds to `locate`."""


class IndexPlanner:
    """Plans what `index` would do with a video, and the session for questions about it."""

    def __init__(self, library: Library, media: MediaStore, indexer: Indexer, runtime: Runtime) -> None:
        self._library, self._media, self._indexer, self._runtime = library, media, indexer, runtime

    def plan(self, reference: str, options: PlanOptions) -> PlanReport:
        """Plan an index run and the session for questions about a video or a part of it; estimate the costs.

        A path need not be in the library.

        Raises:
            ImpossiblePlan: the options cannot be satisfied together.
        """
        _, video = self._media.resolve(reference)
        span = requested_span(video, options.start_s, options.end_s)
        other_s = self._indexer.other_seconds
        sources, declined_after_s = self._indexer.decisions(video, span or Span(0.0, video.duration_s), options)
        is_captioned = options.sources is None or "captions" in options.sources
        if not (video.has_frames and is_captioned):
            return PlanReport(video, sources, None, other_s)
        try:
            frames = retry_with_smaller_context(self._runtime, lambda: self._plan_frames(video, span, options))
        except LocalEngineUnavailable as error:
            if sources["captions"].action == "run":
                sources["captions"] = Decision("skip", str(error))
            return PlanReport(video, sources, None, other_s)
        captions = sources["captions"]
        if captions.action == "run" and captions.estimated_seconds is None:
            sources["captions"] = replace(captions, estimated_seconds=frames.index.seconds)
        return PlanReport(video, sources, frames, other_s, declined_after_s)

    def _plan_frames(self, video: "VideoInfo", span: Span | None, options: PlanOptions) -> FramePlan:
        # They import OpenCV, which takes a tenth of a second.
        from longview.app.runtime.planning_pool import planning_pool
        from longview.model.tasks import costs
        from longview.model.tasks.context import TaskContext

        pool, checks, grounding = planning_pool(self._runtime), self._runtime.checks, self._runtime.grounding_pool
        verifier, planner = self._runtime.verifier, pool.planner
        context_tokens = options.context_tokens
        plan = planner.plan(video, "qa", span=span, fps=options.fps, max_frames=options.max_frames, context_tokens=context_tokens)
        plan = planner.estimate_kept_share(video, plan)
        caption_plan = planner.plan(video, "caption", span=span, context_tokens=context_tokens)
        caption_plan = planner.estimate_kept_share(video, caption_plan)
        # A file that is not in the library has no transcript yet.
        transcript = transcript_reader(self._library, self._runtime.settings, video_id_of(video.content_hash))
        return FramePlan(
            plan,
            pool.engine.device,
            _estimated_bytes(self._runtime, pool, video, plan),
            checks,
            ask=costs.answer_cost(pool, verifier, video, plan, checks.answers, transcript=transcript),
            index=costs.captions_cost(TaskContext(pool, verifier, video, transcript), caption_plan, checks.captions),
            locate=costs.locate_cost(pool, verifier, video, caption_plan, checks.localization, grounding),
            occurrence=costs.occurrence_cost(pool, verifier, video, checks.localization, grounding),
        )


def _estimated_bytes(runtime: Runtime, pool: "SessionPool", video: "VideoInfo", plan: "SamplingPlan") -> int:
    """Estimate the memory of the chosen checkpoint, and of the one that locates if it runs here, too."""
    estimated_bytes, grounding = pool.engine.estimated_bytes(plan), runtime.grounding_pool
    if grounding is None or runtime.settings.grounding_server is not None:
        return estimated_bytes
    grounding_bytes = grounding.engine.estimated_bytes(grounding.planner.plan(video, "caption", span=plan.span))
    if runtime.swaps_weights:
        return max(estimated_bytes, grounding_bytes)
    return grounding_bytes + (estimated_bytes if runtime.settings.server is None else 0)
