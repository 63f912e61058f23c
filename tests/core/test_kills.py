"""What `kill -9` leaves at each atomic write of the application: the old or the new content, and nothing that stays for ever."""

import ast
import shutil
from pathlib import Path

import pytest

from longview.app.maintenance import housekeeping
from longview.core import atomic
from longview.video.synthetic import render
from tests.support.hub_server import Hub
from tests.support.killed_writers import of_files, of_libraries, of_models
from tests.support.killed_writers.base import CLIP_SIZE, Scene, Writer
from tests.support.kills import ROOT, Kill, Moment, run_in_child

WRITERS = {
    name: item
    for module in (of_files, of_libraries, of_models)
    for name, item in vars(module).items()
    if isinstance(item, Writer)
}
PACKAGES = ("app", "core", "indexing", "model", "ui", "video")
WRITING_FUNCTIONS = (atomic.atomic_write.__name__, atomic.replace_file.__name__)
MOMENTS: tuple[Moment, ...] = ("before", "after")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("clip") / "clip.mp4", (), 1.0, **CLIP_SIZE)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_a_kill_at_a_rename_costs_neither_the_old_content_nor_the_next_run(
    writer: Writer,
    clip: Path,
    hub: Hub,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, before = Scene(tmp_path, clip, hub), tmp_path_factory.mktemp("before")
    writer.prepare(scene)
    shutil.copytree(tmp_path, before, symlinks=True, dirs_exist_ok=True)
    old = writer.read(scene)
    modules = run_in_child(lambda: writer.write(scene))
    new = writer.read(scene)
    assert modules is not None and set(modules) == writer.modules and old != new
    monkeypatch.setattr(housekeeping, "PARTIAL_KEPT_S", -1.0)
    for number, moment in ((number, moment) for number in range(1, len(modules) + 1) for moment in MOMENTS):
        shutil.rmtree(tmp_path)
        shutil.copytree(before, tmp_path, symlinks=True)
        assert run_in_child(lambda: writer.write(scene), Kill(number, moment)) is None
        found = writer.read(scene)
        # Of several files, those that were renamed are new.
        assert all(value in (old.get(part), new.get(part)) for part, value in found.items()), (number, moment)
        assert found == old or (number, moment) != (1, "before")
        assert found == new or (number, moment) != (len(modules), "after")
        left = [
            path for path in tmp_path.rglob(f"{atomic.PARTIAL_PREFIX}*") if not path.parent.name.startswith(atomic.PARTIAL_PREFIX)
        ]
        run_in_child(lambda: writer.write(scene))
        assert writer.read(scene) == new, (number, moment)
        if writer.tidy is not None:
            writer.tidy(scene)
            assert [path for path in left if path.exists()] == [], (number, moment)


def test_every_module_that_puts_files_in_their_places_is_killed() -> None:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    users = {path.relative_to(ROOT).as_posix() for path in paths if not imported_names(path).isdisjoint(WRITING_FUNCTIONS)}
    assert users == frozenset[str]().union(*(writer.modules for writer in WRITERS.values()))


def imported_names(path: Path) -> set[str]:
    """Return what a module imports of `longview.core.atomic`."""
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text)) if atomic.__name__ in text else ()
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == atomic.__name__)
    return {alias.name for node in imports for alias in node.names}
