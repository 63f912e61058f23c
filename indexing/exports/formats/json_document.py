"""JSON: a document of a video and its segments."""

import json
from dataclasses import asdict
from typing import Any

from longview.core.time_format import format_time
from longview.core.timeline import Segment, Span, Word
from longview.indexing.exports.format import ExportedSegments, ExportFormat
from longview.indexing.records.video import VideoEntry


def _write(content: ExportedSegments) -> str:
    entry, segments = content.entry, content.segments
    document = {
        "video_id": entry.video_id,
        "title": entry.title,
        "path": str(entry.path),
        "duration_s": entry.duration_s,
        "tracks": [_track(entry, source) for source in dict.fromkeys(segment.source for segment in segments)],
        "events": [_event(segment, word_times=content.word_times) for segment in segments],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def segment_row(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON and CSV have it: seconds for programs, clock times for readers."""
    return {
        **_seconds(segment.span),
        "start": format_time(segment.span.start_s),
        "end": format_time(segment.span.end_s),
        "source": segment.source,
        "language": segment.language,
        "text": segment.text,
    }


def _event(segment: Segment, *, word_times: bool) -> dict[str, Any]:
    event = segment_row(segment) | {"confidence": _round(segment.confidence)}
    if segment.box:
        event["box"] = asdict(segment.box)
    return event | {"words": [_word(word) for word in segment.words]} if word_times else event


def _word(word: Word) -> dict[str, Any]:
    return {**_seconds(word.span), "text": word.text, "confidence": _round(word.confidence)}


def _seconds(span: Span) -> dict[str, float]:
    return {"start_s": round(span.start_s, 3), "end_s": round(span.end_s, 3)}


def _round(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 3)


def _track(entry: VideoEntry, source: str) -> dict[str, Any]:
    """Return what made a track, and when."""
    track = entry.track(source)
    return {"source": source, "provenance": asdict(track.provenance) | {"made_at": track.updated_at} if track else None}


FORMAT = ExportFormat("json", ".json", "application/json", _write, holds_word_times=True)
