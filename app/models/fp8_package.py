"""Whether pip can install the package with the FP8 kernels, in a version that transformers accepts."""

import functools
import logging
import subprocess
import sys

from longview.model.engine.costs.machine import Machine
from longview.model.engine.local_access import kernels_requirement

log = logging.getLogger(__name__)

MAX_ANSWER_S = 3.0
"""Maximum time that pip has to find a version, in seconds."""


def installable_fp8_package(machine: Machine) -> str | None:
    """Return what pip would be asked for on a machine that multiplies FP8 without its kernels; None if it has no such version."""
    if not machine.multiplies_fp8 or machine.has_fp8_kernels:
        return None
    requirement = kernels_requirement()
    return requirement if can_install(requirement) else None


@functools.cache
def can_install(requirement: str) -> bool:
    """Ask pip once whether its registry has a version of a package. Nothing is installed."""
    # Nothing of the current folder or of a source package is run, and no login is asked for.
    options = ["--dry-run", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    command = [sys.executable, "-I", "-m", "pip", "install", *options, requirement]
    try:
        result = subprocess.run(command, timeout=MAX_ANSWER_S, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        return result.returncode == 0
    except (OSError, subprocess.SubprocessError) as error:
        log.info("pip does not say whether it has %s: %s", requirement, error)
        return False
