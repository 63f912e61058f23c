"""Which part of a video is meant, and plans and files in plain values."""

from dataclasses import asdict
from typing import Any

from longview.app.media import END_SLACK_S
from longview.video.errors import ImpossiblePlan
from longview.video.probe import VideoInfo
from longview.video.sampler import SamplingPlan
from longview.video.time_text import format_time
from longview.video.timeline import Span


def check_range(start_s: float | None, end_s: float | None) -> None:
    """Refuse an end that does not come after its start.

    Raises:
        ImpossiblePlan: it does not.
    """
    if end_s is not None and end_s <= (start_s or 0.0):
        raise ImpossiblePlan(f"The end ({format_time(end_s)}) must come after the start ({format_time(start_s or 0.0)}).")


def requested_span(video: VideoInfo, start_s: float | None, end_s: float | None) -> Span | None:
    """The part of a video that is asked for; None for all of it."""
    check_range(start_s, end_s)
    if not start_s and end_s is None:
        return None
    from_s = start_s or 0.0
    if end_s is not None and end_s > video.duration_s + END_SLACK_S:
        raise ImpossiblePlan(f"{format_time(end_s)} lies outside the video, which is {format_time(video.duration_s)} long.")
    # A start beyond the video's end is for the sampler to refuse, in words.
    return Span(from_s, max(from_s, video.duration_s if end_s is None else end_s))


def plan_facts(plan: SamplingPlan) -> dict[str, Any]:
    """A plan in numbers, as provenance keeps it and the command line prints it."""
    return {
        "purpose": plan.purpose,
        "frames": plan.frames,
        "temporal_patches": plan.temporal_patches,
        "height": plan.height,
        "width": plan.width,
        "tokens_per_patch": plan.tokens_per_patch,
        "visual_tokens": plan.visual_tokens,
        "stamp_tokens": plan.timestamp_tokens,
        "total_tokens": plan.total_tokens,
        "grain_s": round(plan.patch_period_s, 4),
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


def video_facts(video: VideoInfo) -> dict[str, Any]:
    """What a file is, in plain values; where it lies and its content hash left out."""
    facts = asdict(video)
    for internal in ("path", "content_hash", "stream_index"):
        del facts[internal]
    return facts
