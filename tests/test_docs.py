"""The documents name what exists, and all of it."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.make_command_reference import TARGET, command_tree, option_parameters, reference
from longview.app.settings import OLD_NAMES, RENAMED, Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [path for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md")) if path.name != "CHANGELOG.md"]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
COMMANDS = command_tree()
PACKAGES = ("app", "core", "indexing", "model", "ui", "video")
FOLDERS = (*PACKAGES, "benchmarks", "docs", "installation", "tests", ".ci")
CONSTANT = re.compile(r"(?!LONGVIEW_|HF_)[A-Z]+(?:_[A-Z]+)+")
CODE = re.compile(r"`([^`\n]+)`|^((?:\$ )?(?:longview|make|python -m) .*)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])


def code_of(document: Path) -> Iterator[str]:
    """Yield the inline code of a document, and the commands of its blocks of code."""
    for inline, line in CODE.findall(document.read_text(encoding="utf-8")):
        yield (inline or line).removeprefix("$ ")


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of the headings of a document, as code hosts make them."""
    headings = HEADING.findall(document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_command_reference_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == reference(), "renew it: python -m benchmarks.make_command_reference"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_in_the_guide_and_its_help_has_an_example(name: str) -> None:
    assert re.search(rf"longview {name}\b", GUIDE)
    assert f"longview {name}" in (COMMANDS[name].help or "")


@every_document
def test_a_document_names_only_commands_and_options_that_exist(document: Path) -> None:
    for code in code_of(document):
        words = code.split()
        if words[0] != "longview" or len(words) < 2 or words[1].startswith("--") or words[1] in ("VERB", "COMMAND"):
            continue
        name = words[1] if " ".join(words[1:3]) not in COMMANDS else " ".join(words[1:3])
        assert name in COMMANDS, code
        flags = {flag for option in option_parameters(COMMANDS[name]) for flag in (*option.opts, *option.secondary_opts)}
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", code.partition("#")[0])) <= flags | {"--help"}, code


@every_document
def test_a_document_names_only_files_targets_and_modules_that_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for code in code_of(document):
        if match := re.match(r"make ([a-z-]+)", code):
            assert match[1] in targets, code
        if match := re.match(r"python -m ((?:benchmarks|longview)[\w.]*)", code):
            assert find_spec(match[1]), code
        if match := re.match(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*", code):
            assert (ROOT / match[0]).exists() or "NAME" in match[0], code
        if match := re.match(r"([\w./-]+\.py):(?:\w+\.)*(\w+)", code):
            assert re.search(rf"\b{match[2]}\b", (ROOT / match[1]).read_text(encoding="utf-8")), code


def test_the_documents_of_the_code_name_only_constants_that_exist() -> None:
    modules = [path.read_text(encoding="utf-8") for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    for document in (ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "engine.md"):
        for code in filter(CONSTANT.fullmatch, code_of(document)):
            assert any(re.search(rf"^{code}\b", module, re.MULTILINE) for module in modules), code


@every_document
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize(("name", "max_words"), [("README.md", 1200), ("docs/architecture.md", 4000)])
def test_the_documents_for_beginners_stay_short(name: str, max_words: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").split()) <= max_words


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `LONGVIEW_([A-Z_]+)`", SETTINGS, re.MULTILINE))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_environment_variable_is_documented() -> None:
    old = {f"LONGVIEW_{name.upper()}" for name in (*OLD_NAMES, *RENAMED)}
    named: set[str] = set()
    files = [path for folder in (*PACKAGES, "installation", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for path in [*files, *DOCUMENTS, ROOT / "Makefile", ROOT / ".ci" / "run"]:
        named |= set(re.findall(r"\bLONGVIEW_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert {name for name in named - old if name not in SETTINGS} == set()


def test_no_document_names_the_old_command_or_settings() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "model").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        old = re.findall(r"python -m app [a-z]+|python -m model\b|--sheet|pip install longview\b", text)
        if path.name not in ("CHANGELOG.md", "settings.md"):
            old += re.findall(r"LONGVIEW_HOME|--reader\b|--fast\b", text)
        assert not old, path.name
