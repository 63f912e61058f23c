"""What made a track, in plain words: the model, its revision, its profile, the prompts, the plan, and the day."""

from datetime import datetime
from typing import Any

from longview.core.sources import traits_of
from longview.indexing.records.track import Track

REVISION_DIGITS = 8
"""Number of digits of a revision that are shown."""
MAX_NAMES = 4
"""Maximum number of subtitle files that are named."""


def model_name(identity: str) -> str:
    """Return the name of a checkpoint or another model without its fingerprint."""
    return identity.rpartition("@")[0] or identity


def describe_maker(track: Track) -> str:
    """Return what made a track. Names are as they were given: whoever shows them removes what the format does not allow."""
    provenance = track.provenance
    if traits_of(track.source).is_imported:
        parts = [_origins_text(provenance.plan)]
    else:
        parts = [model_name(provenance.checkpoint) or "no model", *_version_texts(track)]
        parts += [text] if (text := _plan_text(provenance.plan)) else []
    return f"{', '.join(parts)}; {day(track.updated_at)}"


def _version_texts(track: Track) -> list[str]:
    """Return revision, profile and version of the prompts in words, as far as they are known."""
    provenance, is_seen = track.provenance, traits_of(track.source).kind == "seen"
    versions = {
        "revision": provenance.revision[:REVISION_DIGITS],
        # A checkpoint with a profile of its own is not named twice.
        "profile": provenance.profile if provenance.profile != model_name(provenance.checkpoint) else "",
        "prompts" if is_seen else "version": provenance.prompt_version,
    }
    return [f"{name} {value}" for name, value in versions.items() if value]


def _plan_text(plan: dict[str, Any]) -> str:
    """Return a sampling plan, or the settings of another source, in words."""
    parts = []
    if "windows" in plan and "patch_period_s" in plan:
        count = len(plan["windows"])
        size = f" of {plan['width']} x {plan['height']}" if "width" in plan and "height" in plan else ""
        parts.append(f"{_frame_rate_text(plan['patch_period_s'] / 2)}{size} in {count} {'window' if count == 1 else 'windows'}")
    parts += [text for name, text in (("key_frames_only", "key frames only"), ("int8", "8-bit weights")) if plan.get(name)]
    parts += [f"{name} {plan[name]}" for name in ("language", "tesseract") if plan.get(name)]
    return ", ".join([*parts, *(["with a vocabulary"] if plan.get("vocabulary") else [])])


def day(time: str) -> str:
    """Return the day of a time in ISO 8601: `26 Nov 2026`; the text itself if it is not such a time."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return time or "unknown day"
    return f"{moment.day} {moment:%b %Y}"


def _frame_rate_text(frame_period_s: float) -> str:
    if frame_period_s <= 1.0:
        rate = f"{1 / frame_period_s:.2f}".rstrip("0").rstrip(".")
        return f"{rate} {'frame' if rate == '1' else 'frames'} per second"
    return f"one frame every {frame_period_s:.4g} s"


def _origins_text(plan: dict[str, Any]) -> str:
    names = [str(origin[0]) for origin in plan.get("origins", [])]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"read from {', '.join(names[:MAX_NAMES])}{more}" if names else "added by hand"
