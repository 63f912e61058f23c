"""The remote engine: frames and questions -> replies of a model on a server.

Frames are decoded locally; the requests contain JPEG images of them with their true times. vLLM takes them as one video with its
times beside it. Other servers get every timestamp as text before its image, as in the prompt of the model: each frame, or where
the context is too short for that, the first one of each temporal patch.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from pydantic import BaseModel

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.base import REPLY_RESERVE_TOKENS, RequestCost, WindowRequest
from longview.model.engine.checkpoints.checkpoints import SERVED, Checkpoint
from longview.model.engine.execution.frame_batches import MS_PER_SECOND, FrameBatcher
from longview.model.engine.generation.thoughts import DEFAULT_THINKING_BUDGET, ThinkingBudget
from longview.model.engine.remote.adapters.choice import find_adapter
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.conversation import Conversation, SentImage
from longview.model.engine.remote.facts import SAFE_CONTEXT_TOKENS
from longview.model.engine.remote.frame_costs import FrameCost, FrameCosts
from longview.model.engine.remote.generation import PromptCheck, RemoteGeneration
from longview.model.engine.remote.image_format import BITS_PER_PIXEL, encode
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.remote.server import Server
from longview.model.engine.remote.session import RemoteSession
from longview.model.engine.remote.token_estimates import max_text_tokens, min_text_tokens, timestamp_tokens
from longview.model.errors import ServerFailed
from longview.video.decoding.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.sampling_plan import FRAMES_PER_PATCH, PATCH_SIDE_PX, SamplingPlan, TrainedRange

log = logging.getLogger(__name__)

MAX_SESSION_BYTES = 4 << 30
"""Maximum size of the images of all sessions."""
BASE64_RATIO = 4 / 3
UNEXPECTED_RATIO = 1.15
"""Ratio of the measured cost of a frame to that of Qwen3-VL from which on plans follow the measured one."""


class RemoteEngine:
    """See `longview.model.engine.base.Engine`. It holds no weights."""

    device = "server"
    saves_tokens = False
    kv_cache_bytes = MAX_SESSION_BYTES

    def __init__(self, server: Server, *, thinking_budget: ThinkingBudget = DEFAULT_THINKING_BUDGET) -> None:
        """Contact the server, and find out what it takes.

        Raises:
            ServerUnreachable: there is no server. InvalidCheckpoint: it does not serve the model.
            ServerFailed: it has no API of a model server, refuses the key, or would not work.
        """
        self.server = server
        self.max_thinking_tokens = thinking_budget.max_tokens
        self.reserved_tokens = REPLY_RESERVE_TOKENS + (thinking_budget.max_tokens if thinking_budget.is_reserved else 0)
        with closing(Contact(server)) as contact:
            self.adapter = find_adapter(contact)
        self.facts = self.adapter.facts
        if self.facts.problems:
            raise ServerFailed(" ".join(self.facts.problems))
        for warning in self.facts.warnings:
            log.warning("%s", warning)
        context_tokens = server.context_tokens or self.facts.context_tokens or SAFE_CONTEXT_TOKENS
        if not (server.context_tokens or self.facts.context_tokens):
            log.warning(
                "The server at %s does not say how long its context is; %s tokens are assumed. If it is longer, set it with "
                "LONGVIEW_CONTEXT_TOKENS.",
                server.url, f"{SAFE_CONTEXT_TOKENS:,}",
            )  # fmt: skip
        self._checkpoint = replace(server.checkpoint, fingerprint=self.facts.fingerprint or SERVED)
        self.limits = PromptLimits(server, self.facts, context_tokens, self._checkpoint.trained_range)
        self.frame_costs = FrameCosts(server, self.facts, self.adapter.frames_per_timestamp, self._count_tokens)
        self.limits.trained_range = self._fit_range(self._checkpoint.trained_range)

    @property
    def checkpoint(self) -> Checkpoint:
        """See `longview.model.engine.base.Engine`. Its limits are those of the server, as far as they are known by now."""
        limits = self.limits
        return replace(self._checkpoint, trained_range=limits.trained_range, max_context_tokens=limits.context_tokens)

    @property
    def context_tokens(self) -> int:
        """See `longview.model.engine.base.Engine`. Plans count frames as Qwen3-VL does, and a server may spend more on them."""
        room = max(0, self.limits.context_tokens - self.reserved_tokens)
        return min(self.limits.context_tokens, self.reserved_tokens + int(room / self.limits.frame_ratio))

    @property
    def context_advice(self) -> str:
        """See `longview.model.engine.base.Engine`."""
        return f"To use more, change {self.facts.context_setting}."

    def _fit_range(self, trained_range: TrainedRange) -> TrainedRange:
        """Return the range that plans for this server stay in. The cost of the smallest frames is measured for it.

        Raises:
            ServerFailed: see `FrameCosts.measure`.
        """
        tokens = trained_range.min_tokens_per_patch
        measured, planned = self._measure_tokens(tokens)
        if self.facts.takes_video:
            max_tokens = self.server.max_video_tokens or self.facts.max_video_tokens or trained_range.max_visual_tokens
            return replace(trained_range, max_visual_tokens=min(trained_range.max_visual_tokens, max_tokens))
        if measured > UNEXPECTED_RATIO * planned:
            # Either the server enlarges small images (Qwen3-VL's image processor to 64 tokens by default, Ollama to 1,024), or a
            # token of its model is a smaller square. Then larger images have more tokens than planned, too.
            larger_measured, larger_planned = self._measure_tokens(measured)
            # By the difference of the two, because some servers add a few tokens to each image.
            self.limits.frame_ratio = max(1.0, (larger_measured - measured) / max(1, larger_planned - planned))
            tokens = max(tokens, math.ceil(measured / self.limits.frame_ratio))
        return replace(
            trained_range,
            max_patches=min(trained_range.max_patches, self.facts.max_images or trained_range.max_patches),
            min_tokens_per_patch=tokens,
            max_tokens_per_patch=max(trained_range.max_tokens_per_patch, tokens),
        )

    def _measure_tokens(self, tokens: int) -> tuple[int, int]:
        """Return the tokens of a frame on the server, and those in Qwen3-VL, which are at least `tokens`."""
        # As few more as possible, and nearly a square: a larger frame may be one that the server does not enlarge.
        rows = math.isqrt(tokens)
        columns = math.ceil(tokens / rows)
        cost = self.frame_costs.measure(rows * PATCH_SIDE_PX, columns * PATCH_SIDE_PX)
        return cost.further_tokens - timestamp_tokens(0.0), rows * columns

    def _count_tokens(self, conversation: Conversation, progress: Progress) -> int | None:
        generation = RemoteGeneration(self.adapter, self.limits, conversation, progress=progress)
        for _ in generation:
            pass
        return generation.prompt_tokens

    def timestamp_tokens(self, time_s: float) -> int:
        """See `longview.model.engine.base.Engine`."""
        return timestamp_tokens(time_s)

    def count_tokens(self, text: str) -> int:
        """See `longview.model.engine.base.Engine`. The tokenizer is on the server."""
        return max_text_tokens(text)

    def open_session(
        self, frames: Iterable[TimedFrames], request: WindowRequest, *, progress: Progress = NO_PROGRESS
    ) -> RemoteSession:
        """See `longview.model.engine.base.Engine`. The session holds the frames as JPEG; each request contains them.

        Raises:
            PromptTooLong: the frames take more tokens on this server than was planned. Later plans are smaller.
            ServerFailed: see `FrameCosts.measure`.
        """
        batcher = FrameBatcher()
        images: list[SentImage] = []
        times_s: list[float] = []
        height = width = 0
        for pixels, chunk_times_s in batcher.chunks(frames, "cpu"):
            progress.raise_if_cancelled()
            height, width = pixels.shape[1:3]
            times_s += chunk_times_s.tolist()
            images += [
                SentImage.of(encode(frame), time_s - request.clock_offset_s)
                for frame, time_s in zip(pixels, chunk_times_s.tolist(), strict=True)
            ]
        if not images:
            raise UnreadableVideo("No frame of this part of the video can be decoded.")
        shown_s = [image.time_ms / MS_PER_SECOND for image in images]
        chosen_frames = self._choose_frames(shown_s, height, width, request.capacity_tokens, progress)
        cost = self.frame_costs.measure(height, width)
        return RemoteSession(
            self,
            [images[index] for index in chosen_frames],
            [times_s[index] for index in chosen_frames],
            request,
            # The last frame may be repeated to complete a patch.
            frames=min(batcher.frames, len(chosen_frames)),
            undecodable=batcher.undecodable,
            min_tokens=cost.tokens(len(chosen_frames) // self.adapter.frames_per_timestamp),
        )

    def _choose_frames(
        self, times_s: Sequence[float], height: int, width: int, capacity_tokens: int, progress: Progress = NO_PROGRESS
    ) -> Sequence[int]:
        """Return the indices of the frames that are sent: all, or the first one of each patch where all are too many.

        `times_s`: times of the frames on the window's clock, two for each patch.

        Raises:
            PromptTooLong: even the first ones take more tokens than the context has.
        """
        cost = self.frame_costs.measure(height, width, progress)
        firsts = range(0, len(times_s), FRAMES_PER_PATCH)
        patch_tokens = height * width // PATCH_SIDE_PX**2
        planned_tokens = sum(patch_tokens + timestamp_tokens(times_s[index]) for index in firsts)
        room_tokens = self.limits.context_tokens - (capacity_tokens - planned_tokens)
        if not self.facts.takes_video:
            # The last frame may be repeated to complete a patch.
            every = [index for index, time_s in enumerate(times_s) if not index or time_s > times_s[index - 1]]
            image_times_s = [times_s[index] for index in every]
            if self._is_trained_for(image_times_s, patch_tokens) and _frame_tokens(cost, image_times_s) <= room_tokens:
                return every
        frame_tokens = _frame_tokens(cost, [times_s[index] for index in firsts])
        if frame_tokens > room_tokens:
            raise self.limits.overestimate(frame_tokens, planned_tokens)
        return range(len(times_s)) if self.facts.takes_video else firsts

    def _is_trained_for(self, times_s: Sequence[float], image_tokens: int) -> bool:
        """Whether images at these times are within the trained range, in which each counts as a temporal patch."""
        trained_range = self.limits.trained_range
        min_period_s = FRAMES_PER_PATCH * trained_range.min_frame_period_s
        return (
            len(times_s) <= trained_range.max_patches
            and len(times_s) * image_tokens <= trained_range.max_visual_tokens
            and times_s[-1] - times_s[0] >= (len(times_s) - 1) * min_period_s
        )

    def _chosen_frames(self, plan: SamplingPlan) -> Iterator[Sequence[float]]:
        """Yield the times of the frames of each window of a plan that would be sent."""
        for window, tokens in zip(plan.windows, plan.window_tokens, strict=True):
            times_s = [time_s - window.clock_offset_s for time_s in window.times_s]
            times_s += times_s[-1:] * (len(times_s) % FRAMES_PER_PATCH)
            yield [times_s[index] for index in self._choose_frames(times_s, plan.height, plan.width, tokens)]

    def prefix_tokens(self, plan: SamplingPlan) -> int:
        """See `longview.model.engine.base.Engine`.

        Raises:
            PromptTooLong, ServerFailed: as for `open_session`.
        """
        cost = self.frame_costs.measure(plan.height, plan.width)
        return sum(_frame_tokens(cost, times_s[:: self.adapter.frames_per_timestamp]) for times_s in self._chosen_frames(plan))

    def session_bytes(self, tokens: int) -> int:  # noqa: ARG002
        """See `longview.model.engine.base.Engine`. The KV cache is on the server."""
        return 0

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """Estimate the size of the images on the host."""
        return max(self._image_bytes(plan, len(window.times_s)) for window in plan.windows)

    def _image_bytes(self, plan: SamplingPlan, frames: int) -> int:
        return round(frames * plan.height * plan.width * BITS_PER_PIXEL / 8 * BASE64_RATIO)

    def estimated_seconds(
        self,
        plan: SamplingPlan,  # noqa: ARG002
        *,
        reply_tokens: int,  # noqa: ARG002
        transcript_tokens: int = 0,  # noqa: ARG002
        progress: Progress = NO_PROGRESS,  # noqa: ARG002
    ) -> float | None:
        """Return None: the speed of the server is unknown."""
        return None

    def request_cost(
        self, plan: SamplingPlan, *, prompt_tokens: int, sessions: int, replies: int, reply_tokens: int
    ) -> RequestCost:
        """See `longview.model.engine.base.Engine`."""
        window_bytes = self._image_bytes(plan, sum(map(len, self._chosen_frames(plan)))) / len(plan.windows)
        sent_bytes = round(window_bytes * (sessions if self.facts.keeps_media else replies))
        price = self.facts.price
        if price is None:
            return RequestCost(sent_bytes, None)
        paid_tokens = prompt_tokens * (1 if self.facts.keeps_prefix else replies / max(1, sessions))
        return RequestCost(sent_bytes, paid_tokens * price.prompt_usd + reply_tokens * price.reply_usd)

    def generate_text(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> RemoteGeneration:
        """See `longview.model.engine.base.Engine`."""
        conversation = Conversation(prompt, max_new_tokens, schema=schema)
        check = PromptCheck(min_text_tokens(prompt))
        return RemoteGeneration(self.adapter, self.limits, conversation, check, progress=progress)


def _frame_tokens(cost: FrameCost, timestamps_s: Sequence[float]) -> int:
    """Return the tokens of frames of one cost with their timestamps, of which longer ones have more."""
    longer_tokens = sum(timestamp_tokens(time_s) - timestamp_tokens(0.0) for time_s in timestamps_s)
    return len(timestamps_s) * cost.further_tokens + longer_tokens
