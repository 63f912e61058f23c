"""Values in the messages between the application and its decoding processes, to JSON and back."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from longview.core.timeline import Segment, Span
from longview.video import errors
from longview.video.errors import UnreadableVideo, VideoError
from longview.video.probing.guard import Limits
from longview.video.probing.probe import Chapter, StreamInfo, VideoInfo
from longview.video.subtitles.cues import TRACK, Cue
from longview.video.subtitles.parsers import SubtitleFile
from longview.video.subtitles.streams import CueBatch

PART_CHARACTERS = 1 << 17
"""Length of the texts after which a part of a file ends, in characters. As JSON, with at most twelve bytes per character, it
stays below the maximum length of a response (`MAX_LINE_BYTES` in `longview.video.decoding.worker_client`)."""
ROW_CHARACTERS = 50
"""Length of the times of a segment as JSON, in characters."""


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


def subtitles_to_json(subtitles: SubtitleFile) -> Iterator[dict[str, Any]]:
    """Convert the subtitles of a file to parts that JSON can store; the first one has no segments."""
    yield {
        "path": str(subtitles.path),
        "language": subtitles.language,
        "encoding": subtitles.encoding,
        "problems": subtitles.problems,
    }
    rows: list[tuple[float, float, str]] = []
    characters = 0
    for segment in subtitles.segments:
        rows.append((segment.span.start_s, segment.span.end_s, segment.text))
        characters += len(segment.text) + ROW_CHARACTERS
        if characters >= PART_CHARACTERS:
            yield {"segments": rows}
            rows, characters = [], 0
    yield {"segments": rows}


def subtitles_from(parts: list[dict[str, Any]]) -> SubtitleFile:
    """Restore the subtitles of a file from the result of `subtitles_to_json`.

    Raises:
        ValueError: a time is not finite.
    """
    head, *bodies = parts
    language = None if head["language"] is None else str(head["language"])
    rows = [(float(start_s), float(end_s), str(text)) for body in bodies for start_s, end_s, text in body["segments"]]
    if not all(math.isfinite(start_s) and math.isfinite(end_s) for start_s, end_s, _ in rows):
        raise ValueError("a subtitle has a time that is not finite")
    segments = tuple(Segment(Span(start_s, end_s), text, TRACK, language) for start_s, end_s, text in rows)
    return SubtitleFile(Path(head["path"]), segments, language, str(head["encoding"]), tuple(map(str, head["problems"])))


def error_from(response: dict[str, Any]) -> VideoError:
    """Return the error that the process reported, or `UnreadableVideo` if its type is unknown."""
    kind = getattr(errors, str(response["error"]), UnreadableVideo)
    if not (isinstance(kind, type) and issubclass(kind, VideoError)):
        kind = UnreadableVideo
    return kind(str(response["message"]))
