"""The offer to caption a video again: another checkpoint than the one that captioned it is the default now."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from longview.app.runtime.provenance import is_outdated, provenance_of
from longview.app.runtime.runtime import Runtime
from longview.indexing.records.provenance_text import REVISION_DIGITS, model_name
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import VideoEntry


@dataclass(frozen=True)
class CaptionOffer:
    """An offer to caption a video again."""

    text: str
    """A sentence that names what captioned the video, and what would caption it now."""
    path: Path
    """The file of the video."""
    has_captions: bool
    """Whether there are captions that become an earlier version."""
    model_option: str = ""
    """The option that chooses the checkpoint, if it is not the default."""

    @property
    def command(self) -> str:
        """The command that captions the video again."""
        return f"longview index {shlex.quote(str(self.path))} --sources captions{self.model_option}"

    @property
    def advice(self) -> str:
        """The text, and how to accept the offer on the command line."""
        effect = "captions it again; the older captions stay" if self.has_captions else "captions it"
        return f"{self.text} `{self.command}` {effect}."


def caption_offer(entry: VideoEntry, runtime: Runtime) -> CaptionOffer | None:
    """Return the offer to caption a video again; None if its captions are those of the default, or it could not make better ones.

    A narrowly trained checkpoint is not offered in place of another one: it would decline most videos, again and again.
    """
    track = entry.track("captions")
    if track is None or not entry.has_frames or not is_outdated(runtime, entry):
        return None
    checkpoint = runtime.checkpoint
    provenance, default = track.provenance, provenance_of(runtime, None)
    is_same_name = model_name(provenance.checkpoint) == checkpoint.name
    if not provenance.checkpoint or not checkpoint.profile.capabilities.captions:
        return None
    if checkpoint.ood_detector_file is not None and not is_same_name:
        return None
    before, now = _labels(provenance, default)
    verb = "Declined" if track.status == "declined" else "Captioned"
    choice = "the chosen checkpoint is" if runtime.model_option else "the default is now"
    return CaptionOffer(f"{verb} by {before}; {choice} {now}.", entry.path, track.segment_count > 0, runtime.model_option)


def _labels(provenance: Provenance, default: Provenance) -> tuple[str, str]:
    """Return the names of two checkpoints. If they have one name, what else differs follows it in parentheses."""
    items = (provenance, default)
    before, now = (model_name(item.checkpoint) for item in items)
    if before != now:
        return before, now
    differences = {
        "revision": [item.revision[:REVISION_DIGITS] for item in items],
        "fingerprint": [item.checkpoint.rpartition("@")[2] for item in items],
        "profile": [item.profile for item in items],
        "prompts": [item.prompt_version for item in items],
    }
    for name, (one, other) in differences.items():
        if one and other and one != other:
            return f"{before} ({name} {one})", f"{now} ({name} {other})"
    return before, now
