"""Provenance of results: what they were made with, and whether the models of now would make others."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from longview.indexing.records.listing import CaptionMaker
from longview.indexing.records.track import Provenance, is_same_name
from longview.indexing.records.video import VideoEntry
from longview.model.errors import ModelError

if TYPE_CHECKING:
    from longview.app.runtime.runtime import Runtime
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.video.sampling_plan import SamplingPlan


def provenance_of(runtime: "Runtime", plan: "SamplingPlan | None") -> Provenance:
    """Return the provenance of a result that is made now."""
    fields = plan_fields(plan) | {"key_frames_only": runtime.settings.key_frames_only} if plan else {}
    return _provenance_of(runtime.checkpoint, fields)


def localization_provenance(runtime: "Runtime", plan: "SamplingPlan | None") -> Provenance:
    """Return the provenance of spans that are located now."""
    provenance, checkpoint = provenance_of(runtime, plan), runtime.grounding_checkpoint
    if checkpoint is None:
        return provenance
    return _provenance_of(checkpoint, provenance.plan)


def caption_provenance(runtime: "Runtime", plan: "SamplingPlan", *, context_tokens: int | None) -> Provenance:
    """Return the provenance of captions that are made now, with the options that change them."""
    provenance = provenance_of(runtime, plan)
    options = caption_options_fields(runtime) | {"context_tokens": context_tokens}
    return replace(provenance, plan=provenance.plan | options)


def caption_options_fields(runtime: "Runtime") -> dict[str, Any]:
    """Return the options that change captions."""
    options = asdict(runtime.checks.captions) | {"key_frames_only": runtime.settings.key_frames_only}
    if not runtime.checkpoint.profile.takes_words:
        return options
    # The other number formats differ by rounding only.
    return options | {"words": runtime.settings.transcript, "int8": _uses_int8(runtime)}


def _uses_int8(runtime: "Runtime") -> bool:
    """Whether linear layers are in 8 bits. The setting has an effect on a CPU only.

    Raises:
        DeviceNotFound: there is no such device as in the settings.
    """
    if runtime.settings.precision != "int8" or runtime.settings.server is not None:
        return False
    from longview.model.engine.local_access import choose_device_type

    return choose_device_type(runtime.settings.device) == "cpu"


def is_outdated(runtime: "Runtime", entry: VideoEntry) -> bool:
    """Whether another checkpoint, another profile, or another version of the prompts would now caption this video."""
    track = entry.track("captions")
    if track is None:
        return False
    provenance = track.provenance
    maker = CaptionMaker(provenance.checkpoint, provenance.profile, provenance.prompt_version)
    return bool(outdated_makers(runtime, [maker]))


def outdated_makers(runtime: "Runtime", makers: Iterable[CaptionMaker]) -> frozenset[CaptionMaker]:
    """Return those of what has made captions that would not make them now."""
    from longview.model.engine.checkpoints.checkpoints import is_same_checkpoint

    try:
        checkpoint = runtime.checkpoint
        profile = checkpoint.profile
    except ModelError:
        # The library can be read without a checkpoint. Whatever needs it says that it is missing.
        return frozenset()
    return frozenset(
        maker
        for maker in makers
        if not is_same_checkpoint(maker.checkpoint, checkpoint.identity)
        or not is_same_name(maker.profile, profile.name)
        or maker.prompt_version != profile.version
    )


def _provenance_of(checkpoint: "Checkpoint", plan: dict[str, Any]) -> Provenance:
    profile = checkpoint.profile
    return Provenance(checkpoint.identity, profile.version, plan, checkpoint.revision or "", profile.name)


def plan_fields(plan: "SamplingPlan") -> dict[str, Any]:
    """Return a plan in numbers, as provenance keeps it and `plan` prints it."""
    # A checkpoint that does not take the transcript has the plans of earlier versions.
    transcript = {"words_tokens": plan.transcript_tokens} if plan.transcript_tokens else {}
    return {
        "purpose": plan.purpose,
        "frames": plan.frames,
        "temporal_patches": plan.temporal_patches,
        "height": plan.height,
        "width": plan.width,
        "tokens_per_patch": plan.tokens_per_patch,
        "visual_tokens": plan.visual_tokens,
        "timestamp_tokens": plan.timestamp_tokens,
        **transcript,
        "total_tokens": plan.total_tokens,
        "patch_period_s": round(plan.patch_period_s, 4),
        "windows": [
            {
                "start_s": round(window.span.start_s, 3),
                "end_s": round(window.span.end_s, 3),
                "frames": len(window.times_s),
                "tokens": tokens,
            }
            for window, tokens in zip(plan.windows, plan.window_tokens, strict=True)
        ],
    }
