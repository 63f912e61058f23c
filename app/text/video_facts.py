"""One video in words: its picture and sound, the state of its tracks, and what can be done with it next."""

import shlex

from longview.app.text.contents import segments_text, track_state_text
from longview.core.sources import spoken_sources
from longview.core.time_format import format_spans, format_time
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry


def picture_text(entry: VideoEntry) -> str:
    """Return size, frame rate and codec of the pictures of a video, and whether it has sound."""
    facts = entry.facts
    sound = "with sound" if facts.get("has_audio") else "no sound"
    if not entry.has_frames:
        return "none, only sound"
    size = f"{facts['width']} x {facts['height']}" if facts.get("width") and facts.get("height") else ""
    rate = f"{facts['fps']:g} frames per second" if facts.get("fps") else ""
    return ", ".join(filter(None, (size, rate, facts.get("codec") or "", sound)))


def track_text(track: Track) -> str:
    """Return what a source has found, in which languages, and how far it has come."""
    counts = segments_text(track.source, track.segment_count)
    languages = f" ({', '.join(track.languages)})" if track.languages else ""
    match track.status:
        case "complete":
            text = f"{counts}{languages}"
        case "declined":
            text = "none"
        case _:
            text = f"{track_state_text(track)}, {counts}{languages} up to {format_time(track.done_s)}"
    note = f"; {track.note}" if track.note else ""
    span = f", only {format_spans(track.span)}" if track.status == "complete" and track.span.start_s > 0 else ""
    return text + span + note


def next_steps(entry: VideoEntry, *, is_missing: bool, is_unfinished: bool) -> tuple[str, ...]:
    """Return what a person can do next with a video, most urgent first.

    `is_missing`: whether its file is not where it was. `is_unfinished`: whether a job indexes it, or will.
    """
    steps = []
    if is_missing:
        steps.append("`longview relink FOLDER` finds the file again if it was moved.")
    if not is_unfinished and any(track.status in ("incomplete", "failed") for track in entry.tracks) and not is_missing:
        steps.append(f"`longview index {shlex.quote(str(entry.path))}` resumes where it stopped.")
    if any((track := entry.track(source)) and track.segment_count for source in spoken_sources()):
        steps.append(f"`longview transcript {entry.video_id}` prints what is said.")
    if entry.has_segments:
        steps.append(f'`longview ask {entry.video_id} "…"` answers a question about it.')
    elif not is_unfinished:
        steps.append(f"`longview subtitles {entry.video_id} FILE` adds words, by which it can be searched.")
    return tuple(steps)
