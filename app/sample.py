"""The samples of an empty library: five minutes of coloured shapes, rendered on first use, and a narrated slide show.

They are files of the library folder, and not of the package, because an upgrade replaces the package.
"""

import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longview.app.file_names import write_errors
from longview.app.service import IndexOptions, Longview
from longview.app.streams import Stream
from longview.model.tasks.events import PartialResult
from longview.video.atomic import atomic_write
from longview.video.progress import Progress
from longview.video.synthetic import render, sample_events

FOLDER = "samples"
"""Folder of the library with the samples."""
PENDING = "pending.txt"
"""File beside the samples with the names of those that are not indexed yet, one per line; empty once all of them are."""
PACKAGED = Path(__file__).parent / "samples"
"""Folder of the package with the narrated sample and its card."""
DURATION_S = 300.0
EVENTS = 12
SEED = 7
FPS = 15.0
FILE_SHARE = 0.3
"""Share of a sample's progress for its file; the rest is for indexing."""


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


SHAPES = Sample(
    "sample-shapes.mp4", "Sample: coloured shapes", "Rendering a sample video of five minutes", _render_shapes, ("captions",)
)
SLIDES = Sample("narrated-slides.mp4", "Sample: how a lighthouse works", "Copying the narrated sample", _copy_slides)
SAMPLES = (SHAPES, SLIDES)
"""The samples in the order in which they are added. The page opens the last one: its words are found by a first search."""


def add_samples(app: Longview, samples: Sequence[Sample] = SAMPLES) -> Stream[None]:
    """Add the samples to an empty library, and index them with all sources.

    If the first start was interrupted, the next one adds what is missing. A library with other videos stays as it is, and so does
    one from which the user has removed the samples.
    """

    def operation(progress: Progress) -> Generator[PartialResult[Any], None, None]:
        folder = app.library.folder / FOLDER
        pending = _pending_samples(app, folder, samples)
        for number, (sample, step) in enumerate(zip(pending, progress.steps(len(pending)), strict=True)):
            path = folder / sample.name
            making = step.child(0.0, FILE_SHARE, sample.stage)
            if not path.exists():
                sample.make(path, making)
            options = IndexOptions(title=sample.title, sources=sample.sources)
            yield from app.indexer.index(path, options, progress=step.child(FILE_SHARE, 1.0))
            _write_pending(folder, pending[number + 1 :])

    return Stream(operation)


def _pending_samples(app: Longview, folder: Path, samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples that are still to be indexed, and remember them before the first one is."""
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
