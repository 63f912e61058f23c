"""Write docs/commands.md, the reference of all commands and options, from the program itself.

    python -m benchmarks.make_command_reference

`tests/test_docs.py` compares the document with the program, so run this after a change of a command, an option or a help text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument

from longview.app.cli.command_table import COMMANDS, FOR_PROGRAMS
from longview.app.cli.group import cli

TARGET = Path(__file__).parents[1] / "docs" / "commands.md"
MIN_SHARING_COMMANDS = 5
"""Minimum number of commands with the same option, from which the option is described once for all of them."""
HEADER = """# Commands
This reference is generated from the program by `python -m benchmarks.make_command_reference`. `longview COMMAND --help` prints
the same text. [guide.md](guide.md) explains the commands by task, and [settings.md](settings.md) lists the settings that the
options override.
"""


@dataclass(frozen=True)
class Option:
    """An option as the reference shows it."""

    flag: str
    """Its long name."""
    usage: str
    """All its names, and its value."""
    meaning: str


def command_tree() -> dict[str, Any]:
    """Return all commands and subcommands that are not hidden, by their full names, such as `models pull`."""
    commands: dict[str, Any] = {}
    for name, command in typer.main.get_command(cli).commands.items():  # type: ignore[attr-defined]
        commands[name] = command
        commands |= {f"{name} {subname}": subcommand for subname, subcommand in getattr(command, "commands", {}).items()}
    return {name: command for name, command in commands.items() if not command.hidden}


def reference() -> str:
    """Return the whole document."""
    commands = command_tree()
    options = {name: list(map(_option, option_parameters(command))) for name, command in commands.items()}
    users = Counter(option for listed in options.values() for option in listed)
    shared = sorted((option for option, count in users.items() if count >= MIN_SHARING_COMMANDS), key=lambda option: option.flag)
    everywhere = [option for option in shared if users[option] == len(commands)]
    parts = [HEADER, "## Common options", _option_table(shared)]
    parts.append(f"Every command has {_flags(everywhere, ' and ')}. {FOR_PROGRAMS}\n")
    program = list(map(_option, option_parameters(typer.main.get_command(cli))))
    parts += ["`longview` without a command prints the first steps.\n", _option_table(program)]
    for group, names in groupby(commands, lambda name: COMMANDS[name.split()[0]].group):
        parts.append(f"## {group}")
        for name in names:
            parts += _description(name, commands[name])
            if own := [option for option in options[name] if option not in shared]:
                parts.append(_option_table(own))
            if common := [option for option in options[name] if option in shared and option not in everywhere]:
                parts.append(f"Common options: {_flags(common)}.\n")
    return "\n".join(parts).rstrip() + "\n"


def option_parameters(command: Any) -> list[Any]:
    """Return the options of a command that are neither hidden nor `--help`."""
    return [
        parameter
        for parameter in command.params
        if not isinstance(parameter, TyperArgument) and not parameter.hidden and parameter.name != "help"
    ]


def _option(parameter: Any) -> Option:
    names = [*sorted(parameter.opts, key=len, reverse=True), *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.display_type(None).strip('<>')}"
    has_default = parameter.show_default and parameter.default and not parameter.is_flag
    default = f" Default: {parameter.default}." if has_default else ""
    return Option(names[0], ", ".join(names) + value, f"{parameter.help}{default}{' Required.' if parameter.required else ''}")


def _description(name: str, command: Any) -> Iterator[str]:
    """Yield heading, help, example and arguments of a command."""
    yield f"### longview {name}"
    for paragraph in command.help.split("\n\n"):
        text = " ".join(paragraph.split())
        example = text.removeprefix("Example: ")
        yield f"```sh\n{example}\n```\n" if example != text else f"{text}\n"
    arguments = [parameter for parameter in command.params if isinstance(parameter, TyperArgument) and not parameter.hidden]
    if arguments:
        yield _table("argument", [(argument.metavar or argument.name.upper(), argument.help or "") for argument in arguments])


def _option_table(options: Sequence[Option]) -> str:
    return _table("option", [(option.usage, option.meaning) for option in options])


def _flags(options: Sequence[Option], separator: str = ", ") -> str:
    return separator.join(f"`{option.flag}`" for option in options)


def _table(name: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of names and meanings. A `|` within a cell would end it."""
    lines = [(f"`{usage}`".replace("|", r"\|"), meaning.replace("|", r"\|")) for usage, meaning in rows]
    return "\n".join(f"| {first} | {second} |" for first, second in [(name, "meaning"), ("---", "---"), *lines]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
