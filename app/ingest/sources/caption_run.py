"""One run of captions: its settings, its plan, and the windows that an earlier run had finished when it was cut off.

The plan depends on the memory that is free, so the library keeps what it was made from: the context, and the shots at which
windows meet. The same plan is made of them without decoding. If it is not the same, because the context has become smaller or
the sampler another one, the run begins anew.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ConfigDict, NonNegativeFloat, TypeAdapter, with_config

from longview.app.ingest.sources.base import SourceJob
from longview.app.runtime.provenance import caption_options_fields, provenance_of
from longview.app.runtime.runtime import Runtime
from longview.core.progress import Progress
from longview.core.timeline import Span
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.tracks.caption_windows import CaptionWindowRow
from longview.model.tasks.captioner import FinishedWindow
from longview.video.errors import ImpossiblePlan
from longview.video.sampler import window_meetings_s
from longview.video.sampling_plan import SamplingPlan, Window

PLAN_DIGEST_BYTES = 16
"""Size of the digest by which a plan is recognised, in bytes."""
END_SLACK_S = 1.0
"""Maximum time by which a caption ends after the video, in seconds."""
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@with_config(_STRICT)
@dataclass(frozen=True)
class _Settings:
    """What has to be the same for a run to be resumed, apart from the plan."""

    checkpoint: str
    revision: str
    profile: str
    prompt_version: str
    span: Span
    options: dict[str, Any]


@with_config(_STRICT)
@dataclass(frozen=True)
class _StoredRun:
    """The settings of a run, and what its plan was made from."""

    settings: _Settings
    context_tokens: int
    """Maximum tokens of a window, as it was when the run began."""
    shot_starts_s: tuple[float, ...]
    """Times at which two windows meet, in seconds."""
    kept_share: float
    """See `SamplingPlan.kept_share`; measuring it again would decode parts of the video."""
    plan_digest: str


@with_config(_STRICT)
@dataclass(frozen=True)
class _StoredWindow:
    """A finished window, and the time that passed since the one before it."""

    window: FinishedWindow
    seconds_spent: NonNegativeFloat


_RUN = TypeAdapter(_StoredRun)
_WINDOW = TypeAdapter(_StoredWindow)


@dataclass(frozen=True)
class CaptionRun:
    """A new or resumed run of captions."""

    plan: SamplingPlan
    finished: tuple[FinishedWindow, ...]
    """Windows that earlier runs have finished, in order of time."""
    seconds_spent: float
    """Time that the earlier runs took for them, in seconds."""
    text: str
    """Settings and plan, as the rows of the library have them."""

    def row(self, window: FinishedWindow, seconds_spent: float) -> CaptionWindowRow:
        """Return a finished window as a row of the library. `seconds_spent`: time since the one before it."""
        content = _WINDOW.dump_json(_StoredWindow(window, seconds_spent)).decode()
        return CaptionWindowRow(window.position, self.text, content)


def find_run(library: Library, runtime: Runtime, job: SourceJob, progress: Progress) -> CaptionRun:
    """Return the run to resume, or a new one; the checkpoint is loaded, and nothing is written.

    Raises:
        ImpossiblePlan: the span or the context cannot be satisfied. Cancelled: the operation was cancelled.
    """
    planner = runtime.pool.planner
    # What a server says of its model is known once its pool is open.
    settings = _settings(runtime, job)
    rows = library.caption_windows.rows(job.entry.video_id)
    for text in dict.fromkeys(row.run for row in rows):
        if plan := _earlier_plan(text, settings, runtime, job):
            windows = list(_finished_windows(rows, text, plan, job.video.duration_s))
            spent_s = sum(run.seconds_spent for run in windows)
            return CaptionRun(plan, tuple(run.window for run in windows), spent_s, text)
    span = _planned_span(job)
    context_tokens = planner.context_limit(job.context_tokens)
    plan = planner.plan(job.video, "caption", span=span, context_tokens=job.context_tokens, progress=progress)
    plan = planner.estimate_kept_share(job.video, plan, progress)
    run = _StoredRun(settings, context_tokens, window_meetings_s(plan), plan.kept_share, _digest(plan))
    return CaptionRun(plan, (), 0.0, _RUN.dump_json(run).decode())


def _settings(runtime: Runtime, job: SourceJob) -> _Settings:
    provenance = provenance_of(runtime, None)
    limits = {"context_tokens": job.context_tokens, "context_setting": runtime.settings.context_tokens}
    return _Settings(
        provenance.checkpoint,
        provenance.revision,
        provenance.profile,
        provenance.prompt_version,
        job.span,
        caption_options_fields(runtime) | limits,
    )


def _planned_span(job: SourceJob) -> Span | None:
    return job.span if job.is_partial else None


def _earlier_plan(text: str, settings: _Settings, runtime: Runtime, job: SourceJob) -> SamplingPlan | None:
    """Return the plan of an earlier run if that run had the same settings, and if the plan is still possible; else None."""
    planner = runtime.pool.planner
    # Not what Longview has written, or a context that is too small now.
    with suppress(ValueError, ImpossiblePlan):
        run = _RUN.validate_json(text)
        if run.settings != settings:
            return None
        plan = planner.rebuild_plan(job.video, run.shot_starts_s, span=_planned_span(job), context_tokens=run.context_tokens)
        if _digest(plan) == run.plan_digest:
            return replace(plan, kept_share=min(1.0, max(0.0, run.kept_share)))
    return None


def _digest(plan: SamplingPlan) -> str:
    text = repr(replace(plan, kept_share=1.0))
    return hashlib.blake2b(text.encode(), digest_size=PLAN_DIGEST_BYTES).hexdigest()


def _finished_windows(
    rows: Iterable[CaptionWindowRow], text: str, plan: SamplingPlan, duration_s: float
) -> Iterator[_StoredWindow]:
    """Yield the windows of a run that are what Longview has written, as far as that can be recognised."""
    for row in rows:
        if row.run != text:
            continue
        with suppress(ValueError):
            window = _WINDOW.validate_json(row.content)
            if window.window.position == row.position and _is_of(window.window, plan.windows, duration_s):
                yield window


def _is_of(finished: FinishedWindow, windows: Sequence[Window], duration_s: float) -> bool:
    """Whether a finished window is one of a plan, and its captions and gaps are times of the video."""
    if not 0 <= finished.position < len(windows):
        return False
    coverage, span = finished.coverage, windows[finished.position].span
    spans = [event.span for event in finished.events]
    return (
        finished.window == coverage.window == span
        and all(inner.start_s >= 0.0 and inner.end_s <= duration_s + END_SLACK_S for inner in spans)
        and all(span.start_s <= gap.start_s and gap.end_s <= span.end_s for gap in coverage.undecodable)
        and min(coverage.frames, coverage.prompt_tokens) >= 0
        and coverage.max_gap_s >= 0.0
    )
