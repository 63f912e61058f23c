"""The packages that only a model on this machine needs: PyTorch, and transformers with what it uses. All else works without them.

Whatever imports one of them calls `require_torch` or `require_transformers` before, at the time when it is needed.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from pathlib import Path

from longview.model.errors import LocalEngineUnavailable

log = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "accelerate", "xgrammar")
INSTALL_COMMAND = "pip install -r requirements.txt"
"""The command that installs all packages, in a checkout."""
REPAIR_ADVICE = "install Longview into a new environment (in a checkout: delete .venv, then make run), and start it again"
"""What repairs packages that cannot be imported. Single ones of another build would not fit the others."""
TRANSFORMERS_NAMES = "longview.model.engine.transformers_names"
"""The module that imports all that is used of transformers."""
SERVER_ADVICE = "use a model on a server (--server); all else works without"
MAX_REASON_CHARACTERS = 200
"""Maximum length of the reason that an import gives for its failure."""
DEVICE_FILES = ("nvidia*", "nvhost*", "dxg", "kfd")
"""Files in /dev by which the drivers of CUDA (also on Jetson and in WSL) and of ROCm can be used."""
INTEL_DEVICE_FILES = ("dri/renderD*",)
"""Those of Intel's driver. Other graphics cards have them, too, so that they count for a PyTorch for Intel only."""


def require_torch() -> None:
    """Import PyTorch, if that was not done before.

    Raises:
        LocalEngineUnavailable: a package is not installed, or PyTorch cannot be imported.
    """
    _require("torch")


def require_transformers() -> None:
    """Import PyTorch and what is used of transformers, if that was not done before; it takes several seconds.

    Raises:
        LocalEngineUnavailable: a package is not installed or cannot be imported.
    """
    _require("torch")
    _require(TRANSFORMERS_NAMES)


def require_xgrammar() -> None:
    """Import xgrammar, if that was not done before.

    Raises:
        LocalEngineUnavailable: a package is not installed or cannot be imported.
    """
    _require("xgrammar")


def _require(module: str) -> None:
    problem = _find_problem(module)
    if problem is not None:
        raise LocalEngineUnavailable(f"{problem[0].upper()}{problem[1:]}.")


@functools.cache
def _find_problem(module: str) -> str | None:
    """Import a module; return why that is not possible, as a clause. It is kept: a second attempt would fail in another way."""
    text = missing_packages_text()
    if text is not None:
        return text
    try:
        importlib.import_module(module)
    except Exception as error:  # the import of a damaged installation raises OSError, ImportError, RuntimeError and others
        log.info("cannot import %s", module, exc_info=True)
        name = "transformers" if module == TRANSFORMERS_NAMES else module
        reason = " ".join(str(error).split())[:MAX_REASON_CHARACTERS] or type(error).__name__
        return (
            f"a model on this machine needs {name}, which is installed but cannot be imported ({reason}); {REPAIR_ADVICE}, "
            f"or {SERVER_ADVICE}"
        )
    return None


def missing_packages_text() -> str | None:
    """Return what is not installed, and how to install it, as a clause; None if all packages are. Nothing is imported."""
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if not missing:
        return None
    names = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
    return (
        f"a model on this machine needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed; install with: "
        f"{INSTALL_COMMAND} (then start Longview again), or {SERVER_ADVICE}"
    )


def _is_installed(name: str) -> bool:
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def torch_version() -> str:
    """Return the version of the installed PyTorch, which is not imported; an empty text if there is none."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def may_have_accelerator() -> bool:
    """Whether PyTorch may find an accelerator on this machine. False is certain: no driver, or a PyTorch for the CPU or none."""
    version = torch_version()
    if not version or version.endswith("+cpu") or not _is_installed("torch"):
        return False
    if sys.platform != "linux":
        return True
    patterns = DEVICE_FILES + (INTEL_DEVICE_FILES if "xpu" in version else ())
    return any(any(Path("/dev").glob(pattern)) for pattern in patterns)
