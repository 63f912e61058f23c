"""The state of each source of a video: what it has found, and what the queue does about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from longview.core.sources import SOURCES, traits_of
from longview.indexing.records.job import QueuedJob
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry

State = Literal["waiting", "running", "paused", "failed", "current", "outdated", "partial", "none", "not_yet", "needs_model"]
NEEDS_MODEL = "A larger model is needed, which is not on this machine; `longview models` names one."
"""Why captions cannot be looked for."""
ROUNDING_S = 0.1
"""Difference between two lengths that is rounding, in seconds."""


@dataclass(frozen=True)
class SourceState:
    """The state of one source of a video.

    `waiting`, `running`, `paused`: a job is to find it, finds it, or is paused; `failed`; `current`: all was found; `outdated`:
    another checkpoint would find it now; `partial`: only a part was looked at; `none`: there was nothing; `not_yet`: it was not
    looked for; `needs_model`: nor can it be, because no checkpoint of this machine captions footage.
    """

    source: str
    state: State
    fraction: float
    """The share of the requested part that was looked at, 0 to 1."""
    segment_count: int
    seconds_left: float | None = None
    """Estimated time until its job has ended, in seconds, while it runs."""
    reason: str = ""
    """Why it failed or found nothing."""
    job_id: int | None = None
    """The job that is to find it, or that has failed."""


def jobs_by_content(jobs: Iterable[QueuedJob]) -> dict[str, QueuedJob]:
    """Return the job that says most of each content: the unfinished one that is next, else the one that has failed last.

    `jobs`: in the order of `JobQueue.jobs`.
    """
    chosen: dict[str, QueuedJob] = {}
    for job in jobs:
        if job.content_hash and (job.is_unfinished or job.status == "failed"):
            chosen.setdefault(job.content_hash, job)
    return chosen


def unfinished_by_content(jobs: Iterable[QueuedJob]) -> dict[str, list[QueuedJob]]:
    """Return the unfinished jobs of each content, in the order of `jobs`."""
    found: dict[str, list[QueuedJob]] = {}
    for job in jobs:
        if job.content_hash and job.is_unfinished:
            found.setdefault(job.content_hash, []).append(job)
    return found


def source_states(
    entry: VideoEntry, job: QueuedJob | None, *, is_outdated: bool, captions_footage: bool = True
) -> tuple[SourceState, ...]:
    """Return the states of the sources that apply to a video, in the order in which they are shown.

    `job`: the unfinished or failed one of the video. `is_outdated`: whether another checkpoint would caption it now.
    `captions_footage`: whether the chosen checkpoint captions any footage.
    """
    names = [name for name in _shown_order(entry) if _applies(entry, name, is_expected=_job_of(name, job) is not None)]
    states = (_state(name, entry.track(name), _job_of(name, job), is_outdated=is_outdated) for name in names)
    return tuple(state if captions_footage else _without_model(state) for state in states)


def _without_model(state: SourceState) -> SourceState:
    """Return a state where the checkpoint does not caption footage: captions that were not looked for need another one."""
    if (state.source, state.state) != ("captions", "not_yet"):
        return state
    return replace(state, state="needs_model", reason=NEEDS_MODEL)


def _shown_order(entry: VideoEntry) -> Sequence[str]:
    names = {*SOURCES, *(track.source for track in entry.tracks)}
    return sorted(names, key=lambda name: (traits_of(name).display_rank, name))


def _applies(entry: VideoEntry, name: str, *, is_expected: bool) -> bool:
    """Whether users are told about a source. `is_expected`: whether a job is to find it, or has failed to."""
    traits = traits_of(name)
    if entry.track(name) is not None:
        return True
    if traits.is_spoken and not is_expected and (not entry.facts.get("has_audio", True) or _has_words(entry)):
        # A file without sound has no speech, and that of one with subtitles is not recognised unless somebody asks for it.
        return False
    needs_frames = traits.kind in ("seen", "written")
    # Nobody has to be told that a video has no subtitles.
    return not traits.is_imported and (entry.has_frames or not needs_frames)


def _has_words(entry: VideoEntry) -> bool:
    return any(track.segment_count and traits_of(track.source).is_spoken for track in entry.tracks)


def _job_of(name: str, job: QueuedJob | None) -> QueuedJob | None:
    """Return the job of a video if it is about a source."""
    if job is None:
        return None
    sources = job.options.get("sources")
    return job if not sources or name in sources else None


def _state(name: str, track: Track | None, job: QueuedJob | None, *, is_outdated: bool) -> SourceState:
    fraction, count = (0.0, 0) if track is None else (_fraction(track), track.segment_count)
    note = track.note if track else ""
    if job is not None and job.is_unfinished and not (track is not None and _is_done(track, job)):
        state: State = "paused" if job.status == "paused" else "waiting"
        if job.status == "running" and track is not None and track.status == "incomplete":
            state = "running"
        return SourceState(name, state, fraction, count, job.seconds_left if state == "running" else None, "", job.job_id)
    if track is None:
        if job is not None and job.status == "failed":
            return SourceState(name, "failed", 0.0, 0, None, job.reason, job.job_id)
        return SourceState(name, "not_yet", 0.0, 0)
    if track.status == "declined":
        return SourceState(name, "none", 1.0, 0, None, note)
    if track.status == "failed":
        return SourceState(name, "failed", fraction, count, None, note, job.job_id if job else None)
    if not track.is_complete:
        return SourceState(name, "partial", fraction, count, None, note)
    if not count:
        return SourceState(name, "none", 1.0, 0, None, note or traits_of(name).empty_text)
    return SourceState(name, "outdated" if name == "captions" and is_outdated else "current", 1.0, count, None, note)


def _is_done(track: Track, job: QueuedJob) -> bool:
    """Whether a job has nothing more to do for a source: it runs, or it was paused after it had written the complete track."""
    return track.is_complete and (job.status == "running" or (job.attempts > 0 and track.updated_at >= job.added_at))


def _fraction(track: Track) -> float:
    return max(0.0, min(1.0, (track.done_s - track.span.start_s) / max(track.span.duration_s, ROUNDING_S)))
