"""What is said of the cost of files that are not on this machine yet."""

from pathlib import Path

from longview.app.ingest.options import IndexOptions
from longview.app.service import Longview
from longview.app.serving.estimates import Estimates, FileFacts
from tests.support.app_samples import demo_settings


def test_a_rough_estimate_loads_no_model(tmp_path: Path) -> None:
    app = Longview(demo_settings(tmp_path))
    estimate = Estimates(app).of_files([FileFacts("film.mp4", 600.0, 1280, 720)], IndexOptions())
    assert estimate.seconds is not None and estimate.seconds > 0.0
    runtime = app.parts.runtime
    assert not (runtime.has_text_recognizer or runtime.has_speech_recognizer or runtime.is_loaded)
