"""Check of the weights that come with Longview."""

from collections.abc import Callable, Iterator
from pathlib import Path

from longview.app.diagnostics.findings import Finding
from longview.app.errors import EXPECTED_ERRORS
from longview.app.settings import Settings
from longview.indexing.embedding.embedder import check_encoder, encoder_folder
from longview.model.engine.checkpoints.checkpoints import DEMO, cached_checkpoints, find_checkpoint
from longview.model.engine.checkpoints.weight_files import check_demo, check_weights
from longview.model.errors import SpeechModelNotFound
from longview.model.screen_text.weights import find_text_model
from longview.model.speech.weights import find_speech_model


def weight_findings(settings: Settings) -> Iterator[Finding]:
    """Check the weights that come with Longview by hash, and those of other checkpoints on this machine by their headers."""

    def check_speech() -> None:
        try:
            model = find_speech_model(settings.speech_model)
        except SpeechModelNotFound:
            # Everything but speech works without it.
            return
        if model.folder is None:
            model.read_files()

    def check_chosen() -> None:
        if settings.server is None and Path(settings.model).expanduser().is_dir():
            check_weights(find_checkpoint(settings.model))

    checks: list[Callable[[], object]] = [
        lambda: check_demo(DEMO),
        lambda: check_encoder(encoder_folder()),
        lambda: find_text_model().check(),
        check_speech,
        check_chosen,
        *(lambda checkpoint=checkpoint: check_weights(checkpoint) for checkpoint in cached_checkpoints()),
    ]
    for run in checks:
        try:
            run()
        except EXPECTED_ERRORS as error:
            yield Finding("weights", str(error), "The library is not affected.", code=str(getattr(error, "code", "")))
