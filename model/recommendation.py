"""The checkpoints that are recommended for a machine: the best published ones that fit, and the time that they would take.

All times follow from the sampling plan of one hour of video, the operations of the checkpoint's shape, and the speed of products
of matrices on the machine (`longview.model.engine.calibration.expected_speed`). Nothing is downloaded or loaded.
"""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from longview.model.catalog import Catalog, PublishedCheckpoint, PublishedSpeechModel, read_catalog
from longview.model.engine.base import REPLY_RESERVE_TOKENS
from longview.model.engine.calibration import expected_speed
from longview.model.engine.machine import Machine
from longview.model.engine.patch_selection import kept_patches_period_s
from longview.model.engine.planner import frugal_range
from longview.model.engine.prefill import CHUNK_TOKENS
from longview.model.tasks.costs import CAPTIONS_TOKENS, GROUNDING_TOKENS, SUMMARY_TOKENS
from longview.video.probe import VideoInfo
from longview.video.sampler import Budget, SamplingPlan, plan_sampling

HOUR_S = 3600.0
CONTEXT_TOKENS = {"cpu": 16_384}
"""Context that must fit beside the weights, in tokens, by type of device; for others `MAX_CONTEXT_TOKENS`."""
MAX_CONTEXT_TOKENS = 65_536
USABLE_SHARE = {"cpu": 0.5}
"""Share of the memory that a checkpoint may take, by type of device; for others `MAX_USABLE_SHARE`. Without an accelerator other
programs need the same memory, and weights exist twice while they are converted."""
MAX_USABLE_SHARE = 0.9
MAX_CAPTIONS_S = HOUR_S
"""Longest time for the captions of an hour of video, in seconds: as long as the video itself."""
MAX_LOCATE_S = HOUR_S / 2
"""Longest time to locate a query in an hour of video for the first time, in seconds: half of the time of the video."""
SPOKEN_TOKENS_PER_S = 4.0
"""Tokens of what is said and shown, per second of a video in which people speak half of the time."""
SUMMARIES_PER_HOUR = 8
"""Replies for the chapters and the summary of an hour of video."""
TIMESTAMP_TOKENS = 5
"""Tokens of a timestamp beside the digits of its number, with vision start and end."""
BUNDLED_SPEECH_SHARE = 0.08
"""Time of the bundled speech model on one core, as a share of the time of the sound (docs/performance.md)."""
MAX_SPEECH_SHARE = 0.1
"""Longest time of the recommended speech model, as a share of the time of the sound."""
ACCELERATED_SPEECH_BYTES = 3 << 30
"""Memory that the largest speech model takes on a GPU while it recognises, in bytes: twice its weights."""
MIN_SPEECH_DEVICE_BYTES = 20 << 30
"""Memory of the GPUs from which the largest speech model is recommended, in bytes; below, the checkpoints need it."""
MAX_HOST_SHARE = 0.5
"""Share of the memory of the host that the weights of two checkpoints which take turns may have."""
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
    takes_turns: bool
    """Whether the two do not fit beside each other, so that one is in the memory of the host while the other works."""
    speech: PublishedSpeechModel | None
    """None: the bundled one."""
    captions_s: float | None
    """Estimated time of the captions, the chapters and the summary of one hour of video, in seconds."""
    locate_s: float | None
    """Estimated time to locate a query in one hour of video for the first time, in seconds, without its verification."""
    download_bytes: int
    """Size of the weights of all of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is to be downloaded."""
        return tuple(one.name for one in (self.model, self.grounding, self.speech) if one is not None)


def recommend(machine: Machine, catalog: Catalog | None = None) -> Recommendation:
    """Return the checkpoints for a machine.

    Of all pairs of a general checkpoint and one that locates, the first is that with the best published score on videos; then one
    that has a grounding checkpoint, whose two fit at once, that locates best, and that is not in FP8. Captions of an hour should
    take at most an hour, and to locate a query in it half an hour. Without such a pair the general checkpoint locates, too.
    """
    catalog = catalog or read_catalog()
    fit = _Fit(machine, catalog)
    speech = fit.speech_model()
    speech_bytes = speech.weight_bytes if speech else 0
    generals = [one for one in catalog.checkpoints if one.profile.capabilities.answers and fit.holds_at_once(one)]
    fast_enough = [one for one in generals if fit.captions_s(one) <= MAX_CAPTIONS_S]
    # A slow one is better than none, and the time is stated.
    generals = fast_enough or sorted(generals, key=fit.captions_s)[:1]
    grounders = [one for one in catalog.checkpoints if not one.profile.capabilities.answers and fit.can_locate(one)]
    pairs = [
        (model, grounding)
        for model, grounding in itertools.product(generals, [None, *grounders])
        if grounding is None or (_locates_better(grounding, model) and fit.holds(model, grounding))
    ]
    if not pairs:
        return Recommendation(machine, None, None, False, speech, None, None, speech_bytes)

    def rank(pair: tuple[PublishedCheckpoint, PublishedCheckpoint | None]) -> tuple[float | bool, ...]:
        model, grounding = pair
        grounding_score = (grounding.grounding_score or 0.0) if grounding else 0.0
        return model.video_score or 0.0, grounding is not None, fit.holds_at_once(*pair), grounding_score, not model.is_fp8

    model, grounding = max(pairs, key=rank)
    return Recommendation(
        machine,
        model,
        grounding,
        grounding is not None and not fit.holds_at_once(model, grounding),
        speech,
        fit.captions_s(model),
        fit.locate_s(grounding or model),
        sum(catalog.shapes[one.shape].weight_bytes for one in (model, grounding) if one) + speech_bytes,
    )


def _locates_better(grounding: PublishedCheckpoint, model: PublishedCheckpoint) -> bool:
    # The scores of most general checkpoints are not published; they were below those of fine-tuned ones where they are.
    return (grounding.grounding_score or 0.0) > (model.grounding_score or 0.0)


class _Fit:
    """What a machine can hold, and the time that it needs."""

    def __init__(self, machine: Machine, catalog: Catalog) -> None:
        self._machine, self._shapes, self._speech_models = machine, catalog.shapes, catalog.speech_models
        usable_share = USABLE_SHARE.get(machine.device_type, MAX_USABLE_SHARE)
        self._usable_bytes = int(usable_share * sum(machine.device_bytes))
        self._context_tokens = CONTEXT_TOKENS.get(machine.device_type, MAX_CONTEXT_TOKENS)

    def can_locate(self, checkpoint: PublishedCheckpoint) -> bool:
        return self.holds_at_once(checkpoint) and self.locate_s(checkpoint) <= MAX_LOCATE_S

    def holds_at_once(self, *checkpoints: PublishedCheckpoint | None) -> bool:
        """Whether the weights of checkpoints, a session of each and one chunk fit into the memory of the devices."""
        shapes = [self._shapes[one.shape] for one in checkpoints if one]
        if any(one.is_fp8 and not self._machine.multiplies_fp8 for one in checkpoints if one):
            # It would be de-quantised.
            return False
        chunk_bytes = max(shape.chunk_bytes_per_token for shape in shapes) * CHUNK_TOKENS[self._machine.device_type]
        sessions = sum(shape.weight_bytes + shape.session_bytes(self._context_tokens) for shape in shapes)
        return sessions + chunk_bytes + self._speech_bytes() <= self._usable_bytes

    def holds(self, model: PublishedCheckpoint, grounding: PublishedCheckpoint) -> bool:
        """Whether both fit, or one fits into the memory of the host while the other works."""
        if self.holds_at_once(model, grounding):
            return True
        weight_bytes = sum(self._shapes[one.shape].weight_bytes for one in (model, grounding))
        has_host = self._machine.device_type in ("cuda", "xpu")
        return has_host and len(self._machine.device_bytes) == 1 and weight_bytes <= MAX_HOST_SHARE * self._machine.host_bytes

    def captions_s(self, checkpoint: PublishedCheckpoint) -> float:
        """Estimate the time of the captions, the chapters and the summary of an hour, in seconds."""
        plan = self._plan(checkpoint)
        replies = CAPTIONS_TOKENS + SUMMARIES_PER_HOUR * SUMMARY_TOKENS // len(plan.windows)
        words_tokens = int(SPOKEN_TOKENS_PER_S * HOUR_S) if checkpoint.profile.takes_words else 0
        return self._seconds(checkpoint, plan, replies, words_tokens)

    def locate_s(self, checkpoint: PublishedCheckpoint) -> float:
        """Estimate the time of the replies about a query in all windows of an hour, with their prefill, in seconds."""
        return self._seconds(checkpoint, self._plan(checkpoint), GROUNDING_TOKENS, 0)

    def speech_model(self) -> PublishedSpeechModel | None:
        """Return the largest speech model that is fast enough; None: the bundled one."""
        if self._speech_bytes():
            return self._speech_models[-1]
        share = BUNDLED_SPEECH_SHARE / self._machine.cores
        return next((one for one in reversed(self._speech_models) if share * one.relative_cost <= MAX_SPEECH_SHARE), None)

    def _speech_bytes(self) -> int:
        """Return the memory of the devices that speech recognition takes. CTranslate2 knows CUDA only."""
        is_large = self._usable_bytes >= MIN_SPEECH_DEVICE_BYTES
        return ACCELERATED_SPEECH_BYTES if self._machine.device_type == "cuda" and is_large else 0

    def _plan(self, checkpoint: PublishedCheckpoint) -> SamplingPlan:
        profile, is_slow = checkpoint.profile, self._machine.device_type == "cpu"
        budget = Budget(
            self._context_tokens,
            REPLY_RESERVE_TOKENS,
            frugal_range(profile.trained_range) if is_slow else profile.trained_range,
            timestamp_tokens=lambda time_s: TIMESTAMP_TOKENS + len(f"{time_s:.1f}"),
            takes_words=profile.takes_words,
        )
        plan = plan_sampling(HOUR, budget, "caption")
        # A camera that moves all the time is the slowest case.
        kept_share = plan.patch_period_s / kept_patches_period_s(plan.patch_period_s) if is_slow else 1.0
        return replace(plan, kept_share=kept_share)

    def _seconds(self, checkpoint: PublishedCheckpoint, plan: SamplingPlan, reply_tokens: int, words_tokens: int) -> float:
        shape = self._shapes[checkpoint.shape]
        # Several devices have different layers, and work one after the other.
        speed = expected_speed(shape, self._machine.device_type, self._machine.flops_per_s, self._machine.bytes_per_s)
        return shape.seconds_for(plan, speed, reply_tokens=reply_tokens, words_tokens=words_tokens)
