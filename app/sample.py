"""The sample video of an empty library: five minutes of coloured shapes with twelve events, rendered on first use."""

import logging
import sys

from longview.app.progress import OnProgress
from longview.app.service import Longview
from longview.video.synthetic import render, sample_events

log = logging.getLogger(__name__)

SAMPLE_NAME = "sample-shapes.mp4"
DURATION_S = 300.0
EVENTS = 12
SEED = 7
FPS = 15.0


def add_sample(app: Longview, on_progress: OnProgress | None = None) -> None:
    """Render and index the sample video if the library is empty."""
    if app.videos():
        return
    path = app.library.folder / "samples" / SAMPLE_NAME
    print("The library is empty: rendering a sample video of five minutes.", file=sys.stderr)
    if not path.exists():
        render(path, sample_events(DURATION_S, EVENTS, seed=SEED), DURATION_S, fps=FPS, seed=SEED)
    app.index(path, title="Sample: coloured shapes", on_progress=on_progress)
