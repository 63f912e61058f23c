"""The libraries of CUDA 12 that CTranslate2 opens by their names on a GPU, from the packages of the extra `cuda`.

The wheel of CTranslate2 4.8 opens libcublas.so.12 when it first multiplies, and nothing else of CUDA (its CUDA runtime is linked
statically, and cuDNN is not used). PyTorch's wheels bring the libraries of CUDA 13, which have other names. A library that is
loaded is found by its name again, so that the packages need not be in a folder of the system's.
"""

import ctypes
import logging
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

log = logging.getLogger(__name__)

LIBRARIES = (
    ("nvidia-cuda-nvrtc-cu12", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
    ("nvidia-cublas-cu12", "nvidia/cublas/lib/libcublasLt.so.12"),
    ("nvidia-cublas-cu12", "nvidia/cublas/lib/libcublas.so.12"),
)
"""Packages and the paths of their libraries. Each library needs those before it."""


def load_cuda_libraries() -> None:
    """Load the libraries that are installed as packages. What is missing is left to CTranslate2, which searches the system.

    They are not made global: CTranslate2 finds them by name all the same, and PyTorch's libraries of CUDA 13 do not bind to them.
    """
    for package, path in LIBRARIES:
        try:
            library = Path(str(distribution(package).locate_file(path)))
        except PackageNotFoundError:
            continue
        if not library.is_file():
            continue
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)
        except OSError as error:
            log.info("cannot load %s: %s", library, error)
