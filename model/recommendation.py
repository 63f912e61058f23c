"""The checkpoints that are recommended for a machine: the best published ones that fit, and the time that they would take.

All times follow from the sampling plan of one hour of video, the operations of the checkpoint's shape, and the speed of products
of matrices on the machine (`longview.model.engine.costs.expected_speed.expected_speed`). Nothing is downloaded or loaded.
"""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from longview.core.timeline import Span
from longview.model.catalog import FP8_SUFFIX, Catalog, PublishedCheckpoint, PublishedSpeechModel, read_catalog
from longview.model.engine.base import REPLY_RESERVE_TOKENS
from longview.model.engine.costs.expected_speed import expected_speed
from longview.model.engine.costs.machine import CACHE_RESERVE_BYTES, Machine
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS
from longview.model.engine.execution.patch_selection import kept_patches_period_s
from longview.model.engine.planner import token_saving_range
from longview.model.engine.weight_swapping import SHARED_TOKENS, USABLE_DEVICE_SHARE, can_swap_weights, fit_together
from longview.model.speech.devices import CUDA_SPEECH_BYTES, SpeechDevice
from longview.model.tasks.costs import (
    CAPTIONS_TOKENS,
    CLIP_EVENT_S,
    GROUNDING_TOKENS,
    SUMMARY_TOKENS,
    VERIFICATION_TOKENS,
)
from longview.model.tasks.grounding import MARGIN_S
from longview.model.tasks.verification import PURPOSE as VERIFICATION_PURPOSE
from longview.video.probing.probe import VideoInfo
from longview.video.sampler import plan_sampling
from longview.video.sampling_plan import Budget, Purpose, SamplingPlan

HOUR_S = 3600.0
MIN_CONTEXT_TOKENS = {"cpu": 16_384}
"""Minimum context of a checkpoint that has the device for itself, in tokens, by type of device."""
MIN_ACCELERATOR_TOKENS = 65_536
"""The same for a checkpoint that answers questions, on an accelerator."""
MAX_CONTEXT_TOKENS = 262_144
"""Context that the published checkpoints were trained on, in tokens."""
USABLE_SHARES = {"cpu": 0.5}
"""Share of the memory that a checkpoint may take, by type of device; for others that of
`longview.model.engine.weight_swapping`. Without an accelerator other programs need the same memory, and weights exist twice
while they are converted."""
MAX_CAPTIONS_S = HOUR_S
"""Longest time for the captions of an hour of video, in seconds: as long as the video itself."""
MAX_LOCATE_S = HOUR_S / 2
"""Longest time to locate a query in an hour of video for the first time, in seconds: half of the time of the video."""
SPOKEN_TOKENS_PER_S = 4.0
"""Tokens of what is said and shown, per second of a video with speech in half of the time."""
SUMMARIES_PER_HOUR = 8
"""Replies for the chapters and the summary of an hour of video."""
TIMESTAMP_TOKENS = 5
"""Tokens of a timestamp beside the digits of its number, with vision start and end."""
BUNDLED_SPEECH_SHARE = 0.08
"""Time of the bundled speech model on one core, as a share of the time of the sound (docs/performance.md)."""
MAX_SPEECH_SHARE = 0.1
"""Longest time of the recommended speech model, as a share of the time of the sound."""
MIN_CUDA_SPEECH_BYTES = 22 << 30
"""Memory of the GPUs from which the largest speech model is recommended, in bytes; below, the checkpoints need it."""
MAX_HOST_WEIGHT_SHARE = 0.5
"""Share of the memory of the host that the weights of two checkpoints may have if they are swapped."""
DIVISIBLE_SHARE = 0.9
"""Share of the room for weights on several devices that layers can fill: whole layers leave a rest on each device."""
CLIP_S = CLIP_EVENT_S + 2 * MARGIN_S
"""Length of a clip in which a span is refined or verified, in seconds."""
HOUR = VideoInfo(
    path=Path("hour.mp4"),
    content_hash="",
    duration_s=HOUR_S,
    width=1280,
    height=720,
    rotation_deg=0,
    fps_nominal=30.0,
    is_vfr=False,
    start_offset_s=0.0,
    stream_index=0,
    codec="h264",
    container="mp4",
    pixel_format="yuv420p",
    size_bytes=0,
)
"""The hour of video of the estimates."""


@dataclass(frozen=True)
class Recommendation:
    """What is recommended for a machine."""

    machine: Machine
    model: PublishedCheckpoint | None
    """The checkpoint that captions, answers and verifies; None: none fits."""
    grounding: PublishedCheckpoint | None
    """The checkpoint that locates; None: `model` does."""
    swaps_weights: bool
    """Whether the two do not fit beside each other, so that one is in the memory of the host while the other works."""
    speech: PublishedSpeechModel | None
    """None: the bundled one."""
    captions_s: float | None
    """Estimated time of the captions, the chapters and the summary of one hour of video, in seconds."""
    locate_s: float | None
    """Estimated time to locate a query in one hour of video for the first time, in seconds, with its verification."""
    download_bytes: int
    """Size of the weights of all of them, in bytes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is to be downloaded."""
        return tuple(one.name for one in (self.model, self.grounding, self.speech) if one is not None)


def recommend(machine: Machine, catalog: Catalog | None = None, *, speech_device: SpeechDevice | None = None) -> Recommendation:
    """Return the checkpoints for a machine.

    Of all pairs of a general checkpoint and one that locates, the first is that with the best published score on videos; then one
    that has a grounding checkpoint, whose two fit at once, that locates best, and that is not in FP8. Where FP8 has no kernels,
    its files are de-quantised, and take as much memory as those in bfloat16. Captions of an hour should take at most an hour, and
    to locate a query in it half an hour. Without such a pair the general checkpoint locates, too.

    `speech_device`: the device of the speech model; by default that of the checkpoints, if it is CUDA.
    """
    catalog = catalog or read_catalog()
    has_cuda_speech = (speech_device or machine.device_type) == "cuda"
    limits = _MachineLimits(machine, catalog, has_cuda_speech=has_cuda_speech)
    speech = limits.speech_model()
    speech_bytes = speech.weight_bytes if speech else 0
    general = [one for one in catalog.checkpoints if one.profile.capabilities.answers and limits.holds(one)]
    fast_enough = [one for one in general if limits.captions_s(one, limits.context_tokens(one)) <= MAX_CAPTIONS_S]
    # A slow one is better than none, and the time is stated.
    general = fast_enough or sorted(general, key=lambda one: limits.captions_s(one, limits.context_tokens(one)))[:1]
    locating = [one for one in catalog.checkpoints if not one.profile.capabilities.answers and limits.holds(one)]
    pairs = [
        (model, grounding)
        for model, grounding in itertools.product(general, [None, *locating])
        if grounding is None or (limits.can_share(model, grounding) and limits.locate_s(model, grounding) <= MAX_LOCATE_S)
    ]
    if not pairs:
        return Recommendation(machine, None, None, False, speech, None, None, speech_bytes)

    def rank(pair: tuple[PublishedCheckpoint, PublishedCheckpoint | None]) -> tuple[float | bool, ...]:
        model, grounding = pair
        grounding_score = (grounding.grounding_score or 0.0) if grounding else 0.0
        fits_at_once = grounding is None or limits.hold_together(model, grounding)
        return model.video_score or 0.0, grounding is not None, fits_at_once, grounding_score, not model.is_fp8

    model, grounding = max(pairs, key=rank)
    return Recommendation(
        machine,
        model,
        grounding,
        grounding is not None and not limits.hold_together(model, grounding),
        speech,
        limits.captions_s(model, limits.context_tokens(model, grounding)),
        limits.locate_s(model, grounding),
        sum(catalog.shapes[one.shape].weight_bytes for one in (model, grounding) if one) + speech_bytes,
    )


class _MachineLimits:
    """What a machine can hold, and the time that it needs."""

    def __init__(self, machine: Machine, catalog: Catalog, *, has_cuda_speech: bool) -> None:
        self._machine, self._speech_models, self._has_cuda_speech = machine, catalog.speech_models, has_cuda_speech
        self._shapes = {}
        for one in catalog.checkpoints:
            shape = catalog.shapes[one.shape]
            if one.is_fp8 and not machine.runs_fp8:
                twin = catalog.shapes.get(one.shape.removesuffix(FP8_SUFFIX))
                shape = twin or shape.dequantized()
            self._shapes[one.shape] = shape.in_float32() if machine.uses_float32 else shape
        device_bytes = sum(machine.device_bytes) - self._speech_bytes()
        self._usable_bytes = int(USABLE_SHARES.get(machine.device_type, USABLE_DEVICE_SHARE) * device_bytes)

    def holds(self, checkpoint: PublishedCheckpoint) -> bool:
        """Whether the devices have the memory for a checkpoint alone, and for its layers where they are divided."""
        weight_bytes = self._shapes[checkpoint.shape].weight_bytes
        if len(self._machine.device_bytes) > 1 and weight_bytes + CACHE_RESERVE_BYTES > max(self._machine.device_bytes):
            room_bytes = sum(max(0, size - CACHE_RESERVE_BYTES) for size in self._machine.device_bytes)
            if weight_bytes > DIVISIBLE_SHARE * room_bytes:
                return False
        # A question may need a long window. A query is located in windows of captions.
        min_tokens = MIN_ACCELERATOR_TOKENS if checkpoint.profile.capabilities.answers else SHARED_TOKENS
        min_tokens = MIN_CONTEXT_TOKENS.get(self._machine.device_type, min_tokens)
        return self.context_tokens(checkpoint) >= min_tokens

    def hold_together(self, model: PublishedCheckpoint, grounding: PublishedCheckpoint) -> bool:
        """Whether both fit at once; see `longview.model.engine.weight_swapping.fit_together`."""
        shapes = [self._shapes[one.shape] for one in (model, grounding)]
        device_bytes = int(self._usable_bytes / USABLE_DEVICE_SHARE)
        return fit_together(
            [shape.weight_bytes for shape in shapes], [shape.kv_bytes_per_token for shape in shapes], device_bytes
        )

    def can_share(self, model: PublishedCheckpoint, grounding: PublishedCheckpoint) -> bool:
        """Whether both fit, or the weights of one fit into the memory of the host while the other works."""
        if self.hold_together(model, grounding):
            return True
        weight_bytes = sum(self._shapes[one.shape].weight_bytes for one in (model, grounding))
        can_swap = can_swap_weights(self._machine.device_type, len(self._machine.device_bytes))
        return can_swap and weight_bytes <= MAX_HOST_WEIGHT_SHARE * self._machine.host_bytes

    def context_tokens(self, checkpoint: PublishedCheckpoint, other: PublishedCheckpoint | None = None) -> int:
        """Return the context that the engine would choose. `other`: another checkpoint, which shares the memory if both fit."""
        shape = self._shapes[checkpoint.shape]
        chunk_bytes = shape.chunk_bytes_per_token * CHUNK_TOKENS[self._machine.device_type]
        room_bytes = self._usable_bytes - shape.weight_bytes - chunk_bytes
        if other is None or not self.hold_together(checkpoint, other):
            return min(MAX_CONTEXT_TOKENS, shape.context_tokens(room_bytes))
        return min(MAX_CONTEXT_TOKENS, shape.context_tokens((room_bytes - self._shapes[other.shape].weight_bytes) / 2))

    def captions_s(self, checkpoint: PublishedCheckpoint, context_tokens: int) -> float:
        """Estimate the time of the captions, the chapters and the summary of an hour, in seconds."""
        plan = self._plan(checkpoint, context_tokens, "caption")
        replies = CAPTIONS_TOKENS + SUMMARIES_PER_HOUR * SUMMARY_TOKENS // len(plan.windows)
        transcript_tokens = int(SPOKEN_TOKENS_PER_S * HOUR_S) if checkpoint.profile.takes_words else 0
        return self._seconds(checkpoint, plan, replies, transcript_tokens)

    def locate_s(self, model: PublishedCheckpoint, grounding: PublishedCheckpoint | None) -> float:
        """Estimate the time to locate a query that does not occur in an hour, in seconds, with the prefill of all windows.

        A grounding checkpoint that never denies names a span in each window, which is refined and then denied in clips.
        """
        locating = grounding or model
        plan = self._plan(locating, self.context_tokens(locating, model if grounding else None), "caption")
        seconds = self._seconds(locating, plan, GROUNDING_TOKENS + VERIFICATION_TOKENS)
        if grounding is None or grounding.profile.capabilities.absence:
            return seconds
        clips = [(grounding, "refine", GROUNDING_TOKENS), (model, VERIFICATION_PURPOSE, VERIFICATION_TOKENS)]
        clip_s = sum(
            self._seconds(one, self._plan(one, MIN_ACCELERATOR_TOKENS, purpose, duration_s=CLIP_S), reply_tokens)
            for one, purpose, reply_tokens in clips
        )
        return seconds + len(plan.windows) * clip_s

    def speech_model(self) -> PublishedSpeechModel | None:
        """Return the largest speech model that the GPUs hold, or that the cores run fast enough; None: the bundled one."""
        if self._has_cuda_speech:
            return self._speech_models[-1] if self._speech_bytes() else self._speech_models[0]
        share = BUNDLED_SPEECH_SHARE / self._machine.cores
        return next((one for one in reversed(self._speech_models) if share * one.relative_cost <= MAX_SPEECH_SHARE), None)

    def _speech_bytes(self) -> int:
        """Return the memory of the checkpoints' GPUs that speech recognition takes, in bytes."""
        has_cuda = self._has_cuda_speech and self._machine.device_type == "cuda"
        return CUDA_SPEECH_BYTES if has_cuda and sum(self._machine.device_bytes) >= MIN_CUDA_SPEECH_BYTES else 0

    def _plan(
        self, checkpoint: PublishedCheckpoint, context_tokens: int, purpose: Purpose, *, duration_s: float = HOUR_S
    ) -> SamplingPlan:
        profile, is_slow = checkpoint.profile, self._machine.device_type == "cpu"
        budget = Budget(
            context_tokens,
            REPLY_RESERVE_TOKENS,
            token_saving_range(profile.trained_range) if is_slow else profile.trained_range,
            timestamp_tokens=lambda time_s: TIMESTAMP_TOKENS + len(f"{time_s:.1f}"),
            takes_transcript=profile.takes_words,
        )
        plan = plan_sampling(HOUR, budget, purpose, span=Span(0.0, duration_s))
        # A camera that moves all the time is the slowest case.
        kept_share = plan.patch_period_s / kept_patches_period_s(plan.patch_period_s) if is_slow else 1.0
        return replace(plan, kept_share=kept_share)

    def _seconds(
        self, checkpoint: PublishedCheckpoint, plan: SamplingPlan, reply_tokens: int, transcript_tokens: int = 0
    ) -> float:
        shape = self._shapes[checkpoint.shape]
        # Several devices have different layers, and work one after the other.
        speed = expected_speed(shape, self._machine.device_type, self._machine.flops_per_s, self._machine.bytes_per_s)
        return shape.seconds_for(plan, speed, reply_tokens=reply_tokens, transcript_tokens=transcript_tokens)
