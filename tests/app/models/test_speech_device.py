"""The device of speech: its own setting, which by default follows that of the video models."""

from dataclasses import replace

import ctranslate2
import pytest

from longview.app.errors import BadRequest
from longview.app.models import speech_device
from longview.app.models.speech_device import expected_speech_device
from longview.app.settings import Settings, load_settings
from longview.model.engine import torch_packages
from longview.model.errors import DeviceNotFound
from longview.model.recommendation import recommend
from longview.model.speech.devices import SpeechDevice
from tests.model.test_recommendation import ONE_GPU

DEVICES: tuple[SpeechDevice, ...] = ("cuda", "cpu")


@pytest.mark.parametrize(
    ("settings", "device_of_torch", "expected"),
    [
        (Settings(), "cuda", "cuda"),
        (Settings(), "cpu", "cpu"),
        (Settings(), "xpu", "cpu"),
        (Settings(device="cpu"), "cuda", "cpu"),
        (Settings(device="cuda"), "cuda", "cuda"),
        (Settings(device="cuda"), None, "cpu"),
        (Settings(device="cpu", speech_device="cuda"), "cpu", "cuda"),
        (Settings(device="cuda", speech_device="cpu"), "cuda", "cpu"),
    ],
)
def test_speech_follows_the_device_of_the_video_models_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, device_of_torch: str | None, expected: str
) -> None:
    def choose(_: str | None) -> str:
        if device_of_torch is None:
            raise DeviceNotFound("There is no CUDA device.")
        return device_of_torch

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(speech_device, "choose_device_type", choose)
    assert expected_speech_device(settings) == expected


def test_a_driver_beside_a_pytorch_for_the_cpu_leaves_speech_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(torch_packages, "torch_version", lambda: "2.13.0+cpu")
    assert expected_speech_device(Settings()) == "cpu"


def test_the_setting_is_read_from_the_environment_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGVIEW_SPEECH_DEVICE", "cuda")
    assert load_settings().speech_device == "cuda"
    monkeypatch.setenv("LONGVIEW_SPEECH_DEVICE", "gpu")
    with pytest.raises(BadRequest, match="speech_device has an invalid value"):
        load_settings()


def test_the_recommended_speech_model_suits_its_device() -> None:
    """A card with 16 GB has no memory left for a large speech model, but 16 cores run it."""
    machine = replace(ONE_GPU, device_bytes=(16 << 30,))
    on_gpu, on_cpu = (recommend(machine, speech_device=device).speech for device in DEVICES)
    assert on_gpu and on_cpu and on_gpu.weight_bytes < on_cpu.weight_bytes
    assert recommend(machine).speech == on_gpu
