"""The devices of a speech model: the CPU, or a GPU of NVIDIA, and what to do where the latter cannot be used."""

from importlib.util import find_spec
from typing import Literal

from longview.model.cuda_extra import CUDA_EXTRA_COMMAND, has_cuda_extra

SpeechDevice = Literal["cpu", "cuda"]
SpeechDeviceChoice = Literal["auto", "cpu", "cuda"]
CUDA_SPEECH_BYTES = 3 << 30
"""Memory that the largest speech model takes on a GPU while it recognises, in bytes: twice its weights."""
MISSING_LIBRARY_TEXT = "is not found or cannot be loaded"
"""Part of CTranslate2's message about a library of CUDA."""


def cuda_device_count() -> int:
    """Return the number of CUDA devices of the driver. It says nothing of the libraries that CTranslate2 needs besides."""
    if find_spec("ctranslate2") is None:
        return 0
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count())


def cuda_advice(reason: str) -> str:
    """Return a clause that says what makes CUDA usable for speech. `reason`: the message of CTranslate2."""
    if MISSING_LIBRARY_TEXT not in reason:
        return "end other programs on the GPU, or update its driver"
    return f"install CUDA 12 with: {CUDA_EXTRA_COMMAND}" if has_cuda_extra() else "install cuBLAS of CUDA 12"
