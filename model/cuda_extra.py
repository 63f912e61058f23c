"""The extra `cuda`: what a machine with a GPU of NVIDIA needs besides PyTorch, and pip installs without a compiler."""

import platform

CUDA_EXTRA_COMMAND = "pip install 'longview-video[cuda]' (in a checkout: pip install -e '.[cuda]')"


def has_cuda_extra() -> bool:
    """Tell whether the packages of the extra exist for this machine: Linux on x86-64."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"
