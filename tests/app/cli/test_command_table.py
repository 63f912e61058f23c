"""The table of commands, the help, and what a command imports."""

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import longview.app.cli
from longview.app.cli.command_table import COMMANDS, GROUPS
from longview.app.cli.group import cli, summary_of
from longview.indexing.sqlite.library import Library
from tests.support.library_samples import put_speech, sample_entry, spoken
from tests.support.shell import environment

REGISTERED = dict(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
HEAVY = ("torch", "transformers", "gradio", "av", "onnxruntime", "ctranslate2")
SCRIPT = """
import sys
from longview.app.__main__ import main
try:
    main()
finally:
    print(*sorted(%r & set(sys.modules)), file=sys.stderr)
"""
"""A program that runs a command, and prints on the last line of stderr which packages of a list were imported."""


def helps() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words of each command and subcommand, with its command."""
    for name, command in REGISTERED.items():
        yield (name,), command
        for subname, subcommand in getattr(command, "commands", {}).items():
            yield (name, subname), subcommand


def test_the_table_has_what_the_modules_define() -> None:
    for module in pkgutil.iter_modules(longview.app.cli.__path__):
        importlib.import_module(f"longview.app.cli.{module.name}")
    groups = [info.typer_instance for info in cli.registered_groups if info.typer_instance]
    defined = [info.name for info in cli.registered_commands] + [group.info.name for group in groups]
    assert sorted(map(str, defined)) == sorted(COMMANDS)
    for name, command in REGISTERED.items():
        assert summary_of(command) == COMMANDS[name].summary, name
        assert command.callback.__module__ == f"longview.app.cli.{COMMANDS[name].module}", name
    assert {command.group for command in COMMANDS.values()} == set(GROUPS)


def test_help_lists_all_commands_in_their_groups() -> None:
    printed = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"}).output
    sections = dict(re.findall(r"^([A-Z][\w ]+):\n((?:  .+\n)+)", printed, re.MULTILINE))
    for group in GROUPS:
        names = [name for name, command in COMMANDS.items() if command.group == group]
        assert re.findall(r"^  ([a-z-]+) ", sections[group], re.MULTILINE) == names
    assert "--json" in sections["For programs"]


@pytest.mark.parametrize(("words", "command"), helps(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_help_has_every_option_whole_at_80_columns(words: tuple[str, ...], command: Any) -> None:
    lines = CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": "80"}).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith(("…", "...")) and not line.startswith("Usage:")], "something was cut"
    assert not re.findall(r"<(?:str|int|float|path|list\[)", "\n".join(lines))
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--"):
                assert [line for line in lines if re.match(rf"  (?:.*[ ,/])?{option}(?:[ ]|$)", line)], option
    for name, subcommand in getattr(command, "commands", {}).items():
        assert f"  {name} " in "\n".join(lines) and summary_of(subcommand) in " ".join(" ".join(lines).split())


@pytest.fixture(scope="module")
def words_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a video whose words are known, and whose file does not exist."""
    library = Library(tmp_path_factory.mktemp("library"))
    sentences = ("The lamp was lit at dusk.", "The keeper slept until the fog came.", "A ship rang its bell.")
    put_speech(library, sample_entry("0" * 12), [spoken(20.0 * number, text) for number, text in enumerate(sentences)])
    return library.folder


@pytest.mark.parametrize(
    ("words", "expected", "allowed"),
    [
        (("list",), "0" * 12, ()),
        (("transcript", "0" * 12), "The lamp was lit", ()),
        (("export", "0" * 12, "--format", "srt", "--source", "speech"), "The lamp was lit", ()),
        (("search", "lamp"), "The lamp was lit", ()),
        (("chapters", "0" * 12), "0:00", ()),
        (("ask", "0" * 12, "Who slept?"), "The keeper slept", ("av",)),
    ],
    ids=lambda value: value[0] if value and value[0].isalpha() else "",
)
def test_a_command_imports_no_more_than_it_needs(
    words_library: Path, words: tuple[str, ...], expected: str, allowed: tuple[str, ...]
) -> None:
    names = set(HEAVY) - set(allowed) | ({"numpy"} if words[0] in ("list", "transcript", "export") else set())
    completed = subprocess.run(
        [sys.executable, "-c", SCRIPT % names, *words],
        capture_output=True,
        text=True,
        env=environment(words_library),
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert expected in completed.stdout
    assert completed.stderr.splitlines()[-1] == ""
