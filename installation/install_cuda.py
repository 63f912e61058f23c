"""Install the extra `cuda` where the driver of NVIDIA is: kernels and libraries that a GPU needs besides the default PyTorch.

The requirements are those of the extra in pyproject.toml, in the versions of constraints.txt where it has them. They need no
compiler. Everything works without them, slower or on the CPU, so that a failure is one line and not the end of the installation.

The Makefile runs this file by its path and isolated (`python -I`), after the other requirements are installed.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VARIABLE = "LONGVIEW_CUDA"
"""Environment variable: 1 installs the extra, for instance in WSL, where the driver has no such file; 0 leaves it out."""
DRIVER_FILE = "proc/driver/nvidia/version"
"""The file of the loaded kernel module of NVIDIA's driver."""
ROOT = Path(__file__).parents[1]
MAX_REASON_CHARACTERS = 200


def wants_cuda(environment: Mapping[str, str], root: Path, torch_version: str) -> bool:
    """Tell whether the extra is to be installed. `root`: the root of the file system. `torch_version`: empty without PyTorch.

    Beside a PyTorch for the CPU it would have no effect, so that it is left out unless it was chosen.

    Raises:
        ValueError: the variable has another value.
    """
    choice = environment.get(VARIABLE, "").strip()
    if choice not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE} is not 0 or 1")
    return choice == "1" or (not choice and (root / DRIVER_FILE).exists() and not torch_version.endswith("+cpu"))


def find_version(package: str) -> str:
    """Return the version of an installed package; an empty text if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main(environment: Mapping[str, str], root: Path = Path("/")) -> None:
    """Install the extra on a machine that wants it."""
    try:
        if not sys.platform.startswith("linux") or not wants_cuda(environment, root, find_version("torch")):
            return
    except ValueError:
        sys.exit(f"{VARIABLE} is neither 0 nor 1; set it to 1 to install the extra `cuda`, or to 0 to leave it out.")
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"][
        "cuda"
    ]
    print(f"Installing the extra `cuda`, about 700 MB; {VARIABLE}=0 leaves it out.", flush=True)
    # Wheels only: a package that is offered as source would need a compiler.
    options = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    result = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "install", *options, *requirements],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")] or result.stderr.split("\n", 1)
        reason = "".join(filter(str.isprintable, lines[0]))[:MAX_REASON_CHARACTERS]
        print(
            f"The extra `cuda` could not be installed ({reason}): speech runs on the CPU, and some models are slower. To try "
            "again: .venv/bin/pip install -e '.[cuda]'",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main(os.environ)
    except KeyboardInterrupt:
        sys.exit(130)
