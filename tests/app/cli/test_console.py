"""What all commands share: version, first steps, options, wrong usage and settings of earlier versions."""

import re
import tomllib
from pathlib import Path

import pytest
import typer

from longview.app.cli.group import cli
from tests.support.shell import Shell

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
COMMANDS = dict(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
SHARED_OPTIONS = {"--json", "--model", "--server", "--backend", "--key-frames-only", "--speech-model", "--library", "--verbose"}
ALWAYS = {"--library", "--verbose"}
MODEL = {"--model", "--server"}
DECODING = {"--backend", "--key-frames-only"}
SPEECH = {"--speech-model"}
OPTIONS = {
    "index": {"--json"} | MODEL | DECODING | SPEECH,
    "transcript": {"--json"} | MODEL | DECODING | SPEECH,
    "subtitles": {"--json"} | MODEL | DECODING,
    **dict.fromkeys(("caption", "chapters", "locate", "ask", "search", "export", "eval"), {"--json"} | MODEL | DECODING),
    **dict.fromkeys(("cut", "contact-sheet"), {"--json", "--backend"}),
    **dict.fromkeys(("list", "info", "models", "doctor"), {"--json"} | MODEL),
    "plan": {"--json", "--key-frames-only"} | MODEL | SPEECH,
    **dict.fromkeys(("remove", "rename", "versions", "jobs", "check", "backup", "restore", "relink"), {"--json"}),
    "serve": MODEL | DECODING | SPEECH,
}
"""The shared options of each command, beside `ALWAYS`."""


def test_version_is_that_of_the_package(shell: Shell) -> None:
    version = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    assert shell.run("--version").stdout == f"longview {version}\n"


def test_call_without_a_command_prints_the_first_steps(shell: Shell) -> None:
    printed = shell.run().stdout
    assert len(re.findall(r"^  longview (?:serve|index|ask|search|export)\b", printed, re.MULTILINE)) == 5


def test_help_lists_commands_and_shell_completion(shell: Shell) -> None:
    printed = shell.run("--help", COLUMNS="120").stdout
    assert "locate" in printed
    assert "--install-completion" in printed


def test_every_command_has_only_the_options_that_act_on_it() -> None:
    assert COMMANDS.keys() == OPTIONS.keys()
    for name, command in COMMANDS.items():
        options = {option for parameter in command.params for option in parameter.opts} & SHARED_OPTIONS
        assert options == OPTIONS[name] | ALWAYS, name
        for subname, subcommand in getattr(command, "commands", {}).items():
            options = {option for parameter in subcommand.params for option in parameter.opts} & SHARED_OPTIONS
            assert options == {"--json"} | ALWAYS, (name, subname)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "x", "--format", "docx"),
        ("index", "x.mp4", "--start", "soon"),
        ("dance",),
        ("remove", "x", "--model", "demo"),
        ("list", "--key-frames-only"),
        ("models", "--model", "demo", "default"),
        ("models", "pull"),
        ("models", "dance"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_two(shell: Shell, words: tuple[str, ...]) -> None:
    completed = shell.run(*words, code=2)
    assert "Usage" in completed.stderr and "Traceback" not in completed.stderr


def test_wrong_usage_with_json_is_an_error_document(shell: Shell) -> None:
    assert shell.json("plan", "x.mp4", "--fps", "0", code=2)["error"]["code"] == "usage"


def test_old_library_variable_never_shows_an_empty_library(shell: Shell, tmp_path: Path) -> None:
    # An empty variable counts as one that is not set.
    completed = shell.run("list", code=1, LONGVIEW_LIBRARY="", LONGVIEW_HOME=str(tmp_path))
    assert completed.stdout == ""
    assert "LONGVIEW_HOME is now called LONGVIEW_LIBRARY" in completed.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jobs", "retry", "abc"], "it must be a whole number"),
        (["export", "a", "--format", "edl"], "Invalid value for '--format': 'edl' is not one of 'srt', 'vtt', "),
        (["search", "a", "--limit", "0"], "it must be at least 1"),
        (["exprot"], "There is no command 'exprot'; did you mean 'export'?"),
        (["frobnicate"], "There is no command 'frobnicate'; `longview --help` lists all commands."),
    ],
)
def test_wrong_usage_is_reported_in_plain_words(tmp_path: Path, words: list[str], expected: str) -> None:
    completed = Shell(tmp_path).run(*words, code=2)
    assert expected in completed.stderr and "Value error" not in completed.stderr and "Input should" not in completed.stderr
