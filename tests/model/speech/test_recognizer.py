"""Speech on a GPU whose driver is there and whose libraries are not: it is recognised on the CPU, or refused in one sentence."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from numpy.typing import NDArray

from longview.app.evaluation.word_material import read_sound, recordings
from longview.model.errors import DeviceNotFound
from longview.model.speech import devices, recognizer
from longview.model.speech.recognizer import SpeechRecognizer
from longview.model.speech.weights import find_speech_model
from longview.video.decoding.audio import RATE_HZ
from longview.video.decoding.decoder import Decoder
from tests.support.speech_samples import needs_speech_model

MISSING_LIBRARY = "Library libcublas.so.12 is not found or cannot be loaded"


def use_cuda_model(monkeypatch: pytest.MonkeyPatch, encode: Callable[[Any], Any] = lambda encoded: encoded) -> None:
    """Let the driver have a device. What runs on it runs on the CPU, and `encode` changes what it encodes."""

    class CudaModel(recognizer._CachingModel):
        def __init__(self, name: str, *, device: str, compute_type: str, **options: Any) -> None:
            self.is_on_cuda = device == "cuda"
            assert compute_type == ("float16" if self.is_on_cuda else "int8")
            super().__init__(name, device="cpu", compute_type="int8", **options)

        def encode(self, features: NDArray[np.float32]) -> Any:
            encoded = super().encode(features)
            return encode(encoded) if self.is_on_cuda else encoded

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(recognizer, "_CachingModel", CudaModel)


def fail_with(reason: str) -> Callable[[Any], Any]:
    def encode(_: Any) -> Any:
        raise RuntimeError(reason)

    return encode


def give_no_numbers(encoded: Any) -> Any:
    return ctranslate2.StorageView.from_array(np.full(tuple(encoded.shape), np.nan, np.float32))


def count_words(speech: SpeechRecognizer) -> int:
    samples = read_sound(Decoder(processes=1), recordings()[0].path)[: 4 * RATE_HZ]
    return len(speech.recognize(samples, language="en").words)


@needs_speech_model
@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (fail_with(MISSING_LIBRARY), MISSING_LIBRARY),
        (fail_with("CUDA failed with error out of memory"), "out of memory"),
        (give_no_numbers, "not finite"),
    ],
)
def test_speech_is_recognised_on_the_cpu_where_cuda_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, encode: Callable[[Any], Any], reason: str
) -> None:
    use_cuda_model(monkeypatch, encode)
    with caplog.at_level(logging.WARNING):
        speech = SpeechRecognizer(find_speech_model(), device="cuda")
    assert speech.device == "cpu" and count_words(speech) > 4
    (record,) = caplog.records
    assert reason in record.getMessage() and record.getMessage().endswith("; until then it runs on the CPU, in 8 bits")


@needs_speech_model
def test_a_trial_that_succeeds_leaves_speech_on_cuda(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    use_cuda_model(monkeypatch)
    speech = SpeechRecognizer(find_speech_model(), device="cuda", may_fall_back=False)
    assert speech.device == "cuda" and count_words(speech) > 4 and not caplog.records


@needs_speech_model
@pytest.mark.parametrize(
    ("has_packages", "advice"),
    [(True, "install CUDA 12 with: pip install 'longview-video[cuda]'"), (False, "install cuBLAS of CUDA 12")],
)
def test_cuda_that_was_asked_for_is_an_error_that_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, has_packages: bool, advice: str
) -> None:
    use_cuda_model(monkeypatch, fail_with(MISSING_LIBRARY))
    monkeypatch.setattr(devices, "has_cuda_extra", lambda: has_packages)
    with pytest.raises(DeviceNotFound) as caught:
        SpeechRecognizer(find_speech_model(), device="cuda", may_fall_back=False)
    assert MISSING_LIBRARY in str(caught.value) and advice in str(caught.value)
    assert str(caught.value).endswith(", or set LONGVIEW_SPEECH_DEVICE=cpu.")


@needs_speech_model
def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(
        DeviceNotFound, match=r"\(there is no device\); install a driver of NVIDIA, or set LONGVIEW_SPEECH_DEVICE"
    ):
        SpeechRecognizer(find_speech_model(), device="cuda", may_fall_back=False)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="makes a library of Linux")
def test_a_library_of_a_package_is_found_by_its_name_once_it_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "nvidia/cublas/lib"
    folder.mkdir(parents=True)
    (tmp_path / "nvidia_cublas_cu12-12.9.dist-info").mkdir()
    (tmp_path / "nvidia_cublas_cu12-12.9.dist-info/METADATA").write_text("Name: nvidia-cublas-cu12\nVersion: 12.9\n")
    (tmp_path / "answer.c").write_text("int answer(void) { return 12; }\n")
    library = folder / "libcublas.so.12"
    words: list[str | Path] = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, tmp_path / "answer.c"]
    subprocess.run(words, check=True)
    # The other one is damaged.
    (folder / "libcublasLt.so.12").write_text("no library")
    code = (
        "import ctypes, sys; sys.path.insert(0, sys.argv[1]); from longview.model.speech import cuda_libraries; "
        "cuda_libraries.load_cuda_libraries(); print(ctypes.CDLL('libcublas.so.12').answer())"
    )
    output = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert output == "12\n"
