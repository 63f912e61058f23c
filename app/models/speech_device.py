"""The device of the speech model: the setting `speech_device`, which by default follows the device of the video models."""

from typing import TYPE_CHECKING

from longview.app.settings import Settings
from longview.model.engine.local_access import choose_device_type
from longview.model.errors import DeviceNotFound, LocalEngineUnavailable, ModelError
from longview.model.speech.devices import CUDA_SPEECH_BYTES, SpeechDevice, cuda_device_count

if TYPE_CHECKING:
    from longview.model.speech.recognizer import SpeechRecognizer
    from longview.model.speech.weights import SpeechModel


def expected_speech_device(settings: Settings) -> SpeechDevice:
    """Return the device that speech is to have. PyTorch is imported only where the driver has a CUDA device.

    `auto` is CUDA where a video model on this machine would run on CUDA: with a PyTorch for the CPU, speech runs there, too.
    """
    if settings.speech_device != "auto":
        return settings.speech_device
    if settings.device not in (None, "cuda") or not cuda_device_count():
        return "cpu"
    try:
        return "cuda" if choose_device_type(settings.device) == "cuda" else "cpu"
    except (DeviceNotFound, LocalEngineUnavailable):
        # Whatever needs the device says that it is missing. Speech does not need PyTorch.
        return "cpu"


def expected_speech_bytes(settings: Settings) -> int:
    """Return the memory that the speech model will take on the GPU, in bytes: twice its weights; 0 if it is not to run there."""
    from longview.model.speech.weights import find_speech_model

    if expected_speech_device(settings) != "cuda":
        return 0
    try:
        return min(CUDA_SPEECH_BYTES, 2 * find_speech_model(settings.speech_model).size_bytes)
    except ModelError:
        # Without the model, no speech is recognised.
        return 0


def load_recognizer(model: "SpeechModel", settings: Settings) -> "SpeechRecognizer":
    """Load a speech model on the device of the settings.

    Raises:
        DeviceNotFound: the setting is `cuda`, which cannot be used. InvalidSpeechModel: its files cannot be loaded.
    """
    from longview.model.speech.recognizer import SpeechRecognizer

    return SpeechRecognizer(
        model,
        device=expected_speech_device(settings),
        may_fall_back=settings.speech_device != "cuda",
        threads=settings.cpu_threads or 0,
    )
