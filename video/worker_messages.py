"""Values in the messages between the application and its decoding processes, to JSON and back."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from longview.video import errors
from longview.video.cues import Cue
from longview.video.errors import UnreadableVideo, VideoError
from longview.video.guard import Limits
from longview.video.probe import Chapter, StreamInfo, VideoInfo
from longview.video.subtitle_streams import CueBatch


def video_to_json(video: VideoInfo) -> dict[str, Any]:
    """Convert a `VideoInfo` to values that JSON can store."""
    return asdict(video) | {"path": str(video.path)}


def video_from(video_fields: dict[str, Any]) -> VideoInfo:
    """Restore a `VideoInfo` from the result of `video_to_json`."""
    video_fields = video_fields | {
        "path": Path(video_fields["path"]),
        "audio_streams": tuple(StreamInfo(**stream) for stream in video_fields["audio_streams"]),
        "subtitle_streams": tuple(StreamInfo(**stream) for stream in video_fields["subtitle_streams"]),
        "chapters": tuple(Chapter(**chapter) for chapter in video_fields["chapters"]),
    }
    return VideoInfo(**video_fields)


def limits_to_json(limits: Limits) -> dict[str, Any]:
    """Convert limits to values that JSON can store."""
    return asdict(limits) | {"folders": [str(folder) for folder in limits.folders]}


def limits_from(limit_fields: dict[str, Any]) -> Limits:
    """Restore limits from the result of `limits_to_json`."""
    return Limits(**limit_fields | {"folders": tuple(map(Path, limit_fields["folders"]))})


def cue_batch_from(response: dict[str, Any]) -> CueBatch:
    """Restore a batch from the JSON of its `dataclasses.asdict`.

    Raises:
        ValueError: a time is not finite.
    """
    cues = [Cue(float(cue["start_s"]), float(cue["end_s"]), str(cue["text"])) for cue in response["cues"]]
    if not all(math.isfinite(cue.start_s) and math.isfinite(cue.end_s) for cue in cues):
        raise ValueError("a cue has a time that is not finite")
    return CueBatch(cues, int(response["lost_packets"]), bool(response["is_cut"]))


def error_from(response: dict[str, Any]) -> VideoError:
    """Return the error that the process reported, or `UnreadableVideo` if its type is unknown."""
    kind = getattr(errors, str(response["error"]), UnreadableVideo)
    if not (isinstance(kind, type) and issubclass(kind, VideoError)):
        kind = UnreadableVideo
    return kind(str(response["message"]))
