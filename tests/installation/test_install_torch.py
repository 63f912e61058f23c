"""The CPU build of PyTorch comes from its own index, or one line says why not. No test leaves the loopback interface."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from longview.installation import install_torch
from tests.support.package_index import Answer, PackageIndex, answer, drip, package_index

ROOT = Path(__file__).parents[2]
PINS = install_torch.pinned_versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))
CPU_TORCH, CPU_TORCHVISION = (f"{PINS[name]}+cpu" for name in install_torch.PACKAGES)
CPU_BUILDS = {"torch": CPU_TORCH, "torchvision": CPU_TORCHVISION}
INTERPRETER = f"cp{sys.version_info.major}{sys.version_info.minor}"
ABI = INTERPRETER + sys.abiflags
MACHINE = os.uname().machine
TAGS = f"{INTERPRETER}-{ABI}-manylinux_2_17_{MACHINE}"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is one build of torch")


def variables(**more: str) -> dict[str, str]:
    """Return the environment without the settings of pip and of proxies of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") and "proxy" not in name.lower()}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"} | more


def installed(python: Path) -> dict[str, str]:
    code = "import importlib.metadata as m; print(*(f'{d.name}={d.version}' for d in m.distributions()))"
    words = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return {name: version for name, _, version in (word.partition("=") for word in words) if name not in ("pip", "setuptools")}


def run(python: Path, index: str, code: int = 0) -> str:
    script = ROOT / "installation" / "install_torch.py"
    result = subprocess.run(
        [python, "-I", script], capture_output=True, text=True, env=variables(LONGVIEW_TORCH_INDEX=index), timeout=60, check=False
    )
    assert result.returncode == code and not (code == 0 and result.stderr), result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with package_index() as index:
        index.add("torch", CPU_TORCH, TAGS)
        index.add("torchvision", CPU_TORCHVISION, TAGS)
        yield index


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment without pip: what tries to install something there fails."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def python_with_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def python(python_with_pip: Path) -> Path:
    """The Python of a fresh environment with pip."""
    for package in python_with_pip.parents[1].glob("lib/python*/site-packages/torch*"):
        shutil.rmtree(package)
    return python_with_pip


@pytest.fixture
def default_index() -> Iterator[PackageIndex]:
    """An index with the default builds."""
    with package_index() as index:
        index.add("torch", PINS["torch"], TAGS)
        index.add("torchvision", PINS["torchvision"], TAGS)
        yield index


def install_from(python: Path, index: PackageIndex, *requirements: str | Path) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--index-url", index.url]
    subprocess.run([python, "-I", "-m", "pip", "install", *options, *requirements], env=variables(), check=True)


def test_the_requirements_keep_the_cpu_build(
    index: PackageIndex, default_index: PackageIndex, python: Path, tmp_path: Path
) -> None:
    # Packages that such an index has besides, and other builds, are not taken from there.
    index.add("torch", f"{PINS['torch']}+xpu", TAGS)
    index.add("filelock", "999", "py3-none-any")
    line = run(python, f"{index.url}/whl/cpu/")
    assert (
        line.startswith(f"Installing torch=={CPU_TORCH} and torchvision=={CPU_TORCHVISION} from 127.0.0.1")
        and line.count("\n") == 1
    )
    assert installed(python) == CPU_BUILDS and not any("filelock" in path for path in index.requests)

    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name}=={pin}\n" for name, pin in PINS.items()))
    install_from(python, default_index, "-c", constraints, "torch>=2.11", "torchvision>=0.26")
    assert installed(python) == CPU_BUILDS
    index.requests.clear()
    assert run(python, index.url) == "" and index.requests == []


def test_an_older_or_incomplete_cpu_build_is_replaced(index: PackageIndex, python: Path) -> None:
    index.add("torch", "2.0+cpu", TAGS)
    install_from(python, index, "torch==2.0+cpu")
    run(python, index.url)
    assert installed(python) == CPU_BUILDS


def test_an_installed_default_build_is_left_alone(index: PackageIndex, default_index: PackageIndex, python: Path) -> None:
    install_from(python, default_index, "torch")
    assert run(python, index.url) == "" and index.requests == []


def test_a_wheel_that_is_not_delivered_means_the_default_build(index: PackageIndex, python: Path) -> None:
    index.wrong_answers[f"/wheels/torchvision-{CPU_TORCHVISION}-{TAGS}.whl"] = answer(200, b"<html>not a wheel</html>")
    lines = run(python, index.url).splitlines()
    assert len(lines) == 2 and lines[1].startswith("Installing the default build of PyTorch, which may take gigabytes, because")
    assert installed(python) == {}


@pytest.mark.parametrize("reason", ["none", "nvidia-smi", "PIP_FIND_LINKS"])
def test_only_a_machine_without_accelerator_and_settings_of_pip_asks_the_index(
    reason: str, index: PackageIndex, python: Path, tmp_path: Path
) -> None:
    # The address and the files of drivers are those of the test, so that it can run on any machine.
    code = (
        "import os, sys; sys.path.insert(0, 'installation'); import install_torch; "
        "install_torch.CPU_INDEX, install_torch.ACCELERATOR_PATHS = sys.argv[1], (); install_torch.main(os.environ)"
    )
    environment = variables(PATH=str(tmp_path)) | ({reason: str(tmp_path)} if reason.startswith("PIP_") else {})
    environment.pop("LONGVIEW_TORCH_INDEX", None)
    if reason == "nvidia-smi":
        (tmp_path / reason).touch(0o755)
    output = subprocess.run(
        [python, "-c", code, index.url], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert installed(python) == (CPU_BUILDS if reason == "none" else {})
    assert reason == "none" or (index.requests == [] and output.stdout == "")


UNUSABLE_ANSWERS = {
    "slow": (lambda _: time.sleep(20), "did not answer within 3 s"),
    "drip": (drip, "did not answer within 3 s"),
    "html": (answer(200, b"<html><a href='/sign-in'>Sign in to the network</a></html>"), "has no torch"),
    "not html": (answer(200, b"<![x[<a href='http://[/'>\xff\0"), "does not answer as a package index"),
    "other type": (answer(200, b"{}", "application/json"), "does not answer as a package index"),
    "no http": (lambda request: request.wfile.write(b"\0\xff garbage\r\n\r\n"), "cannot be reached"),
    "endless": (answer(200, b" " * (install_torch.MAX_PAGE_BYTES + 2)), "does not answer as a package index"),
    "not found": (answer(404, b""), "answers with the status 404"),
    "unavailable": (answer(503, b""), "answers with the status 503"),
}


@pytest.mark.parametrize("name", UNUSABLE_ANSWERS)
def test_an_unusable_index_means_the_default_build_in_one_line(name: str, index: PackageIndex, bare_python: Path) -> None:
    wrong, reason = UNUSABLE_ANSWERS[name]
    index.wrong_answers["/torch/"] = wrong
    line = run(bare_python, index.url)
    assert (
        line.startswith("Installing the default build of PyTorch")
        and f"because 127.0.0.1 {reason}" in line
        and line.count("\n") == 1
    )


def test_a_redirect_is_followed_on_the_same_host_only(index: PackageIndex, bare_python: Path) -> None:
    def redirect(url: str) -> Answer:
        return answer(302, b"", Location=url)

    with package_index() as other:
        other.wheels = index.wheels
        index.wrong_answers["/torch/"] = redirect(f"{other.url}/torch/")
        assert "127.0.0.1 redirects to another host." in run(bare_python, index.url)
        assert other.requests == []
    index.wrong_answers["/torch/"] = redirect("/whl/torch/")
    assert install_torch.find_builds(index.url, PINS) == [f"torch=={CPU_TORCH}", f"torchvision=={CPU_TORCHVISION}"]


def test_nothing_listens(bare_python: Path) -> None:
    with package_index() as index:
        pass
    assert "127.0.0.1 cannot be reached." in run(bare_python, index.url)


@pytest.mark.parametrize(
    ("version", "tags"),
    [
        ("0.1+cpu", TAGS),
        (CPU_TORCH, f"cp27-cp27mu-manylinux_2_17_{MACHINE}"),
        (CPU_TORCH, f"{INTERPRETER}-{ABI}-manylinux_2_999_{MACHINE}"),
        (CPU_TORCH, f"{INTERPRETER}-{ABI}-manylinux_2_17_vax"),
        (CPU_TORCH, f"{INTERPRETER}-{ABI}-win_amd64"),
        (f"{PINS['torch']}+cpu --index-url x", TAGS),
        (f"{PINS['torch']}+cu130", TAGS),
    ],
)
def test_an_index_without_matching_builds_for_this_machine_is_unusable(version: str, tags: str, index: PackageIndex) -> None:
    index.wheels = {name: content for name, content in index.wheels.items() if not name.startswith("torch-")}
    index.add("torch", version, tags)
    with pytest.raises(install_torch.IndexUnusable, match="for this Python and machine"):
        install_torch.find_builds(index.url, PINS)


def test_the_default_build_can_be_chosen_and_a_wrong_value_is_an_error(bare_python: Path) -> None:
    assert run(bare_python, "default") == ""
    for value in ("cpu", "file:///wheels", "https://", "http://[::1"):
        assert "LONGVIEW_TORCH_INDEX is not the address of a package index" in run(bare_python, value, code=1)


@pytest.mark.parametrize("path", install_torch.ACCELERATOR_PATHS)
def test_a_driver_means_an_accelerator(path: str, tmp_path: Path) -> None:
    assert not install_torch.has_accelerator(str(tmp_path), tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    assert install_torch.has_accelerator(str(tmp_path / "bin"), tmp_path)


@pytest.mark.parametrize("program", install_torch.ACCELERATOR_PROGRAMS)
def test_a_tool_of_a_driver_means_an_accelerator(program: str, tmp_path: Path) -> None:
    (tmp_path / program).touch(0o755)
    assert install_torch.has_accelerator(str(tmp_path), tmp_path / "root")


@pytest.mark.parametrize(
    ("setting", "value", "is_configured"),
    [
        ("PIP_INDEX_URL", "https://mirror.example/simple", True),
        ("PIP_EXTRA_INDEX_URL", "https://mirror.example/simple", True),
        ("PIP_FIND_LINKS", "/wheels", True),
        ("PIP_CONSTRAINT", "/pins.txt", True),
        ("PIP_FIND_LINKS", "", False),
        ("PIP_TIMEOUT", "60", False),
        ("[global]\nfind-links", "/wheels", True),
        ("[install]\nconstraint", "/pins.txt", True),
        ("not a file of pip", "", True),
    ],
)
def test_a_configured_pip_is_left_alone(
    setting: str, value: str, is_configured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    if setting.startswith("PIP_"):
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv(setting, value)
    else:
        (tmp_path / "pip.conf").write_text(f"{setting} = {value}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    assert install_torch.is_pip_configured() == is_configured


@pytest.mark.parametrize("target", ["run", "test"])
def test_make_asks_for_torch_before_it_installs_the_requirements(target: str, tmp_path: Path) -> None:
    words = ["make", "-n", target, f"VENV={tmp_path / 'venv'}"]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    steps = [line for line in lines if "install_torch.py" in line or "pip install" in line]
    assert "-I installation/install_torch.py" in steps[0] and "-c constraints.txt" in steps[1]


def test_no_file_of_requirements_names_an_index() -> None:
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"):
        assert "--" not in path.read_text(encoding="utf-8") and "://" not in path.read_text(encoding="utf-8"), path.name
