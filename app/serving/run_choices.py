"""What a client may choose of a run on this machine."""

from dataclasses import dataclass
from typing import get_args

from longview.app.errors import BadRequest
from longview.app.ingest.options import IndexOptions, RunSettings
from longview.app.ingest.sources.speech import DETECTED
from longview.app.service import Longview
from longview.core.sources import SOURCES
from longview.model.engine.checkpoints.precision_names import Precision
from longview.model.engine.local_access import choose_device_type
from longview.model.errors import ModelError
from longview.model.speech.languages import SPEECH_LANGUAGES
from longview.model.speech.weights import local_speech_models


@dataclass(frozen=True)
class RunChoices:
    """The choices of a run. What means nothing on this machine has none."""

    sources: tuple[str, ...]
    settings: RunSettings
    """The settings of the server, which hold where nothing is chosen. A speech model in a folder has the name of the folder."""
    captions_footage: bool
    """Whether the checkpoint captions any footage; the bundled one knows moving shapes only."""
    speech_models: tuple[str, ...]
    precisions: tuple[str, ...]


def run_choices(app: Longview) -> RunChoices:
    """Return what a client may choose. No weights are loaded."""
    settings, runtime = app.settings, app.parts.runtime
    captions_footage = app.captions_footage
    try:
        speech_models, speech_model = local_speech_models(), runtime.speech_model.name
    except ModelError:
        speech_models, speech_model = (), None
    own = {name: getattr(settings, name) for name in ("precision", "speech_language", "audio_track", "screen_text_language")}
    return RunChoices(
        tuple(name for name in SOURCES if (name != "captions" or captions_footage) and (name != "speech" or speech_models)),
        RunSettings(speech_model=speech_model, **own),
        captions_footage,
        speech_models,
        get_args(Precision) if captions_footage and _runs_on_cpu(app) else (),
    )


def _runs_on_cpu(app: Longview) -> bool:
    try:
        return app.settings.server is None and choose_device_type(app.settings.device) == "cpu"
    except ModelError:
        return False


def check_choices(options: IndexOptions) -> None:
    """Check the settings that a client has chosen: it may name what is listed, and no path.

    Raises:
        BadRequest: there is no such speech model on this machine, or no such language.
    """
    language, model = options.settings.speech_language, options.settings.speech_model
    if language is not None and language not in (DETECTED, *SPEECH_LANGUAGES):
        raise BadRequest(
            f"The speech models do not know the language {language!r}; use a code such as en, de or ko, or {DETECTED}."
        )
    if model is not None and model not in (names := local_speech_models()):
        raise BadRequest(f"There is no speech model {model!r} on this machine; choose one of these: {', '.join(names)}.")
