"""The package as users get it: beside their own modules, and as a wheel."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from longview.video.synthetic import ShapesEvent, render

ROOT = Path(__file__).parents[1]
UNPACKAGED = ("tests/", "benchmarks/", "installation/")
COMMAND = Path(sys.executable).parent / "longview"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder whose modules have the names of Longview's packages."""
    folder = tmp_path_factory.mktemp("user")
    for package in ("video", "model", "ui", "indexing"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise SystemExit('this is the user’s own module')\n")
    (folder / "app.py").write_text("raise SystemExit('this is the user’s own module')\n")
    render(folder / "ring.mp4", [ShapesEvent(1, 4, "cyan", "ring", "moves up")], 5.0, fps=5)
    return folder


def run(*words: str | Path, folder: Path, library: Path, **environment: str) -> str:
    variables = os.environ | {"LONGVIEW_LIBRARY": str(library), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment
    result = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=variables, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_works_beside_modules_of_the_same_names(folder: Path, tmp_path: Path) -> None:
    sheet = json.loads(run(COMMAND, "contact-sheet", "ring.mp4", "--json", folder=folder, library=tmp_path))
    assert len(sheet["times_s"]) == 16 and sheet["undecodable_s"] == []


def test_a_script_imports_longview_beside_such_modules(folder: Path, tmp_path: Path) -> None:
    script = folder / "script.py"
    script.write_text("from longview.video.probing.probe import probe\nprint(probe('ring.mp4').duration_s)\n")
    assert float(run(sys.executable, "script.py", folder=folder, library=tmp_path)) == pytest.approx(5.0, abs=0.05)


def test_the_module_app_is_the_command_in_the_checkout(tmp_path: Path) -> None:
    assert run(sys.executable, "-m", "app", "--version", folder=ROOT, library=tmp_path).startswith("longview 0.")


def test_a_wheel_has_all_modules_weights_and_assets(folder: Path, tmp_path: Path) -> None:
    # Built from a copy, because setuptools writes beside the sources.
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file() and not name.startswith((*UNPACKAGED, "docs/")):
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / name).write_bytes((ROOT / name).read_bytes())
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(tmp_path),
        "./source",
    ]
    run(*build, folder=tmp_path, library=tmp_path)
    (wheel,) = tmp_path.glob("longview_video-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    modules = {f"longview/{name}" for name in files if name.endswith(".py") and not name.startswith(UNPACKAGED)}
    assert modules <= names
    for data in (
        "app/samples/narrated-slides.mp4",
        "model/demo/model.safetensors",
        "model/demo/detector/ood_detector.safetensors",
        "model/demo/chat_template.jinja",
        "model/demo/profile.toml",
        "model/profiles/qwen3-vl.toml",
        "model/profiles/qwen3.5.toml",
        "ui/assets/main.js",
        "ui/assets/watch/page.js",
        "ui/assets/watch/watch.css",
        "ui/templates/moments.html",
    ):
        assert f"longview/{data}" in names
    assert not [name for name in names if name.startswith(("tests/", "longview/tests", "longview/installation", "app/"))]
    # The unpacked wheel comes before the editable installation.
    words = (sys.executable, "-P", "-m", "longview.app", "index", "ring.mp4", "--json")
    index = json.loads(run(*words, folder=folder, library=tmp_path / "library", PYTHONPATH=str(tmp_path / "site")))
    assert index["videos"][0]["events"] == 1
    where = (sys.executable, "-P", "-c", "import longview; print(longview.__file__)")
    assert run(*where, folder=folder, library=tmp_path, PYTHONPATH=str(tmp_path / "site")).startswith(str(tmp_path / "site"))
