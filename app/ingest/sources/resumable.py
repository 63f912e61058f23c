"""Tracks that are committed piece by piece: what is left of one, and its beginning or its continuation."""

from dataclasses import replace

from longview.app.ingest.sources.base import SourceJob
from longview.indexing.records.track import Provenance, Track
from longview.indexing.sqlite.library import Library


def left_s(job: SourceJob, track: Track | None) -> float:
    """Return how much of the requested span a run has to read, in seconds. `track`: the one that it would keep or resume."""
    return job.span.end_s - (track.done_s if track and not track.is_complete else job.span.start_s)


def begin_or_resume(library: Library, job: SourceJob, source: str, provenance: Provenance, track: Track | None) -> Track:
    """Return the track that a run continues. `track`: the one that it would keep or resume; a complete one is made anew."""
    if track and not track.is_complete:
        return replace(track, status="incomplete", note="")
    track = Track(source, "incomplete", job.span, job.span.start_s, provenance)
    library.tracks.begin(job.entry.video_id, track)
    return track
