"""The samples of an empty library: five minutes of coloured shapes, rendered on first use, and a narrated slide show.

They are made while the server runs already, and indexed by its queue. They are files of the library folder, and not of the
package, because an upgrade replaces the package.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longview.app.files.file_names import write_errors
from longview.app.ingest.options import IndexOptions
from longview.app.jobs.runner import STOPPED_JOB
from longview.app.service import Longview
from longview.app.serving.preparations import Preparation
from longview.app.serving.workers import Workers
from longview.core.atomic import atomic_write
from longview.core.progress import Progress
from longview.indexing.library_files import SAMPLE_FILES
from longview.indexing.records.job import CRASHED
from longview.indexing.records.listing import ListingQuery
from longview.indexing.records.video import VideoEntry
from longview.video.synthetic import render, sample_events

log = logging.getLogger(__name__)

PENDING = "pending.txt"
"""File beside the samples with the names of those that are not in the queue yet, one per line; empty once all of them are."""
PACKAGED = Path(__file__).parents[1] / "samples"
"""Folder of the package with the narrated sample and its card."""
DURATION_S = 300.0
EVENTS = 12
SEED = 7
FPS = 15.0


@dataclass(frozen=True)
class Sample:
    """A video that an empty library gets."""

    name: str
    """File name."""
    title: str
    stage: str
    """Name of the stage of the progress in which its file is made."""
    make: Callable[[Path, Progress], object]
    """Function that writes its file, which appears complete or not at all."""
    sources: tuple[str, ...] | None = None
    """The only sources that have something to find in it; None: all of them."""


def _render_shapes(path: Path, progress: Progress) -> None:
    render(path, sample_events(DURATION_S, EVENTS, seed=SEED), DURATION_S, fps=FPS, seed=SEED, progress=progress)


def _copy_slides(path: Path, progress: Progress) -> None:  # noqa: ARG001
    with write_errors(path), atomic_write(path) as temporary_path:
        shutil.copyfile(PACKAGED / path.name, temporary_path)


SHAPES_SAMPLE = Sample(
    "sample-shapes.mp4", "Sample: coloured shapes", "Rendering a sample video of five minutes", _render_shapes, ("captions",)
)
SLIDES_SAMPLE = Sample("narrated-slides.mp4", "Sample: how a lighthouse works", "Copying the narrated sample", _copy_slides)
SAMPLES = (SLIDES_SAMPLE, SHAPES_SAMPLE)
"""The samples in the order in which they are added: first the one whose file only has to be copied."""


def add_samples(app: Longview, workers: Workers, samples: Sequence[Sample] = SAMPLES) -> None:
    """Make the samples of an empty library, and add them to the queue of its server.

    Pages show what is made. If the first start was interrupted, the next one adds what is missing. A library with other videos
    stays as it is, and so does one from which the user has removed the samples.
    """
    folder = app.parts.library.folder / SAMPLE_FILES
    pending = _pending_samples(app, folder, samples)
    for number, sample in enumerate(pending):
        preparation = Preparation(sample.title, f"Preparing “{sample.title}”")
        workers.show_preparation(preparation)
        with preparation.running():
            path = folder / sample.name
            if not path.exists():
                sample.make(path, preparation.progress.child(0.0, 1.0, sample.stage))
            workers.add(path, IndexOptions(title=sample.title, sources=sample.sources), title=sample.title)
            _write_pending(folder, pending[number + 1 :])
        if preparation.status == "failed":
            log.warning("%s: %s", sample.title, preparation.reason)
            return


def video_to_open(app: Longview) -> VideoEntry | None:
    """Return the video that a page opens by itself: the one that was watched last, else the newest one; None: there is none.

    The rendered sample is opened only where there is no other, because the words of the narrated one are found by a first search.

    Raises:
        LibraryUnusable: the library cannot be read.
    """
    (last,) = app.listing(ListingQuery(sort="watched", is_descending=True), limit=1).entries or (None,)
    if last is None or last.watched_at:
        return last
    newest = app.listing(ListingQuery(sort="added", is_descending=True), limit=2).entries
    others = [video for video in newest if (video.path.parent.name, video.path.name) != (SAMPLE_FILES, SHAPES_SAMPLE.name)]
    return next(iter(others or newest), None)


def resume_samples(app: Longview) -> None:
    """Let the jobs of samples wait for their turn again that were interrupted with their server, and not by their buttons."""
    folder = app.parts.library.folder / SAMPLE_FILES
    for job in app.parts.library.queue.jobs(ended_limit=0):
        is_interrupted = (job.status, job.reason) == ("paused", STOPPED_JOB) or (job.status, job.error_code) == (
            "failed",
            CRASHED,
        )
        if job.path.parent == folder and is_interrupted:
            app.parts.library.queue.retry(job.job_id)


def _pending_samples(app: Longview, folder: Path, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples that are still to be added, and remember them before the first one is."""
    file = folder / PENDING
    has_started = file.exists()
    if any(entry.path.parent != folder or not has_started for entry in app.videos()):
        return ()
    if has_started:
        names = file.read_text(encoding="utf-8").splitlines()
        return [sample for sample in samples if sample.name in names]
    _write_pending(folder, samples)
    return samples


def _write_pending(folder: Path, samples: Sequence[Sample]) -> None:
    file = folder / PENDING
    with write_errors(file), atomic_write(file) as temporary_path:
        temporary_path.write_text("".join(f"{sample.name}\n" for sample in samples), encoding="utf-8")
