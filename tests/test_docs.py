"""The documents name what exists, and all of it."""

import re
from pathlib import Path

import pytest
import typer

from longview.app.cli.group import cli
from longview.app.settings import OLD_NAMES, RENAMED, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
COMMANDS = dict(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
PACKAGES = ("app", "indexing", "model", "ui", "video")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_is_in_the_readme_and_has_an_example(command: str) -> None:
    assert re.search(rf"^\| .*`longview {command}\b", README, re.MULTILINE)
    assert f"longview {command}" in (COMMANDS[command].help or "")
    for name, subcommand in getattr(COMMANDS[command], "commands", {}).items():
        assert f"`longview {command} {name} " in README
        assert f"longview {command} {name}" in (subcommand.help or "")


def test_the_readme_names_only_commands_and_options_that_exist() -> None:
    for command, rest in re.findall(
        r"longview ([a-z-]+)\b(?! is)([^`\n]*)", "\n".join(re.findall(r"`[^`]+`|^longview .*", README, re.M))
    ):
        assert command in COMMANDS or command.startswith("--"), command
        subcommand = getattr(COMMANDS[command], "commands", {}).get(rest.split()[0] if rest.split() else "", COMMANDS[command])
        options = {option for parameter in subcommand.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest)) <= options | {"--help", "--install-completion"}, (
            command,
            rest,
        )


@pytest.mark.parametrize("document", [README, CONTRIBUTING, ARCHITECTURE], ids=["readme", "contributing", "architecture"])
def test_a_document_names_only_files_and_targets_that_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", document, re.MULTILINE))
    assert {first or second for first, second in named} <= targets
    links = re.findall(r"\]\(([^)#:]+)\)", document)
    paths = re.findall(r"`((?:app|docs|indexing|model|tests|ui|video|benchmarks|\.ci)/[\w./-]*)", document)
    for path in [*links, *paths]:
        beside = ROOT / "docs" / path if document is ARCHITECTURE else ROOT / path
        assert beside.exists() or (ROOT / path).exists() or "NAME" in path, path


def test_the_architecture_lists_every_module() -> None:
    existing = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    listed: set[str] = set()
    for block in re.findall(r"```\n((?:app|indexing|model|ui|video)/\n.*?)```", ARCHITECTURE, re.DOTALL):
        folder = ""
        for line in block.splitlines():
            folder, module = (line.strip(), "") if not line.startswith(" ") else (folder, line.split()[0])
            listed |= {folder + module} if module else set()
    assert listed == existing


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `LONGVIEW_([A-Z_]+)`", SETTINGS, re.MULTILINE))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_environment_variable_is_documented() -> None:
    old = {f"LONGVIEW_{name.upper()}" for name in (*OLD_NAMES, *RENAMED)}
    named: set[str] = set()
    files = [path for folder in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for path in [*files, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        named |= set(re.findall(r"\bLONGVIEW_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert {name for name in named - old if name not in SETTINGS} == set()


def test_no_document_names_the_old_command_or_settings() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "model").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        old = re.findall(r"python -m app [a-z]+|python -m model\b|--sheet|pip install longview\b", text)
        if path.name not in ("CHANGELOG.md", "settings.md"):
            old += re.findall(r"LONGVIEW_HOME|--reader\b|--fast\b", text)
        assert not old, path.name
