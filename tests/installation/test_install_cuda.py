"""The extra `cuda` is installed where the driver is, and a failure is one line. No test leaves the loopback interface."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from longview.installation import install_cuda
from tests.installation.test_install_torch import ROOT, installed, variables
from tests.support.package_index import PackageIndex, package_index

REQUIREMENTS = [
    Requirement(line)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["cuda"]
]
LINUX = {"platform_system": "Linux", "platform_machine": "x86_64"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the extra is for Linux")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    """An index with the extra, and a newer source of a package without a wheel."""
    with package_index() as index:
        index.add("flash_linear_attention", "0.6.0", "py3-none-any")
        index.add("nvidia_cublas_cu12", "12.9.3.13", "py3-none-any")
        index.wheels["nvidia_cublas_cu12-99.tar.gz"] = b"a source"
        yield index


def run(python: Path, index: PackageIndex, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, pathlib, sys; sys.path.insert(0, 'installation'); import install_cuda; "
        "install_cuda.main(os.environ, pathlib.Path(sys.argv[1]))"
    )
    known = {name: value for name, value in variables().items() if name != install_cuda.VARIABLE}
    words: list[str | Path] = [python, "-c", code, root]
    environment = known | {"PIP_INDEX_URL": index.url} | environment
    return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def make_driver(root: Path) -> None:
    (root / install_cuda.DRIVER_FILE).parent.mkdir(parents=True)
    (root / install_cuda.DRIVER_FILE).write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\n")


@pytest.mark.parametrize(
    ("has_driver", "value", "torch_version", "expected"),
    [
        (False, "", "2.13.0", False),
        (True, "", "2.13.0", True),
        (True, "", "2.13.0+cpu", False),
        (True, "0", "2.13.0", False),
        (False, "1", "2.13.0", True),
        (False, "1", "2.13.0+cpu", True),
    ],
)
def test_the_driver_or_the_variable_decides(
    has_driver: bool, value: str, torch_version: str, expected: bool, tmp_path: Path
) -> None:
    if has_driver:
        make_driver(tmp_path)
    assert install_cuda.wants_cuda({install_cuda.VARIABLE: value}, tmp_path, torch_version) is expected


def test_the_extra_is_installed_beside_a_driver_only(index: PackageIndex, python: Path, tmp_path: Path) -> None:
    result = run(python, index, tmp_path)
    assert (result.returncode, result.stdout, installed(python), index.requests) == (0, "", {}, [])
    make_driver(tmp_path)
    result = run(python, index, tmp_path)
    assert result.returncode == 0 and result.stdout.count("\n") == 1 and not result.stderr
    # Other names of the same packages: pip and the metadata spell them in two ways.
    names = {name.replace("_", "-"): version for name, version in installed(python).items()}
    expected = {one.name for one in REQUIREMENTS if one.marker is None or one.marker.evaluate()}
    assert names.keys() == expected and names["flash-linear-attention"] == "0.6.0"
    assert names.get("nvidia-cublas-cu12", "12.9.3.13") == "12.9.3.13"


def test_a_failure_is_one_line_and_not_the_end(index: PackageIndex, python: Path, tmp_path: Path) -> None:
    index.wheels.clear()
    result = run(python, index, tmp_path, LONGVIEW_CUDA="1")
    assert result.returncode == 0 and not result.stderr and installed(python) == {}
    line = result.stdout.splitlines()[1]
    assert line.startswith("The extra `cuda` could not be installed (ERROR: C")
    assert line.endswith("pip install -e '.[cuda]'") and result.stdout.count("\n") == 2


def test_a_wrong_value_is_an_error(index: PackageIndex, tmp_path: Path) -> None:
    result = run(Path(sys.executable), index, tmp_path, LONGVIEW_CUDA="yes")
    assert result.returncode == 1 and result.stderr.startswith("LONGVIEW_CUDA is neither 0 nor 1; set it to 1")


def test_the_extra_is_for_linux_and_needs_no_compiler() -> None:
    assert {one.name for one in REQUIREMENTS} == {"flash-linear-attention", "nvidia-cublas-cu12"}
    for one in REQUIREMENTS:
        assert one.marker and one.marker.evaluate(LINUX)
        assert not one.marker.evaluate({"platform_system": "Windows", "platform_machine": "AMD64"})
        assert not one.marker.evaluate({"platform_system": "Darwin", "platform_machine": "arm64"})


@pytest.mark.parametrize("target", ["run", "test"])
def test_make_asks_for_the_extra_after_the_other_requirements(target: str, tmp_path: Path) -> None:
    words = ["make", "-n", target, f"VENV={tmp_path / 'venv'}"]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    steps = [line for line in lines if "install_cuda.py" in line or "pip install" in line]
    assert "-I installation/install_cuda.py" in steps[-1]
