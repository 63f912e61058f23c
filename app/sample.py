"""The sample video of an empty library: five minutes of coloured shapes with twelve events, rendered on first use."""

from collections.abc import Generator
from typing import Any

from longview.app.service import IndexOptions, Longview
from longview.app.streams import Stream
from longview.model.tasks.events import PartialResult
from longview.video.progress import Progress
from longview.video.synthetic import render, sample_events

SAMPLE_NAME = "sample-shapes.mp4"
DURATION_S = 300.0
EVENTS = 12
SEED = 7
FPS = 15.0
RENDER_SHARE = 0.3
"""Share of the progress bar for rendering; the rest is for captions."""


def add_sample(app: Longview) -> Stream[None]:
    """Render and index the sample video if the library is empty."""

    def operation(progress: Progress) -> Generator[PartialResult[Any], None, None]:
        if app.videos():
            return
        path = app.library.folder / "samples" / SAMPLE_NAME
        step = progress.child(0.0, RENDER_SHARE, "Rendering a sample video of five minutes")
        if not path.exists():
            render(path, sample_events(DURATION_S, EVENTS, seed=SEED), DURATION_S, fps=FPS, seed=SEED, progress=step)
        options = IndexOptions(title="Sample: coloured shapes")
        yield from app.indexer.index(path, options, progress=progress.child(RENDER_SHARE, 1.0))

    return Stream(operation)
