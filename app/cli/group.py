"""The program `longview`: its commands, each of which is imported when it is called, its help, and its first steps."""

import importlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup

from longview.app.cli.command_table import COMMANDS, FOR_PROGRAMS, GROUPS, RENAMED_OPTIONS

DESCRIPTION = "Answer questions about long videos, find moments in a library of videos, and export timestamped captions."
FIRST_STEPS = f"""{DESCRIPTION}

  longview serve                              open Longview in the browser
  longview index VIDEO                        add a video to the library: words and captions
  longview ask VIDEO "What happens at 0:20?"  answer a question about it
  longview search "red circle"                find what is shown or said in all videos
  longview export VIDEO --format srt          write its captions or words as subtitles

`longview --help` lists all commands, `longview COMMAND --help` the options of a command."""

VALUE_NAMES = {
    "<str>": "TEXT",
    "<path>": "PATH",
    "<int>": "NUMBER",
    "<int range>": "NUMBER",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
}
"""What a help calls the value of an option, by Typer's name of its type."""


class LazyCommands(MutableMapping[str, Any]):
    """Click's commands by their names. Reading one imports its module, which registers it."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            importlib.import_module(f"longview.app.cli.{COMMANDS[name].module}")
            self._commands[name] = _registered_command(name)
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _registered_command(name: str) -> Any:
    """Return the click command of a name whose module was imported."""
    for info in cli.registered_commands:
        if info.name == name:
            return _with_value_names(typer.main.get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None))
    parents = (info.typer_instance for info in cli.registered_groups if info.typer_instance)
    parent = next(parent for parent in parents if parent.info.name == name)
    group = typer.main.get_group(parent)
    for command in group.commands.values():
        _with_value_names(command)
    return _with_value_names(group)


def _with_present_names(args: list[str], renamed: Mapping[str, str]) -> list[str]:
    """Replace the options of earlier versions, and print a line about each. What follows `--` is not an option."""
    count = args.index("--") if "--" in args else len(args)
    for old in renamed.keys() & set(args[:count]):
        print(f"{old} is now {renamed[old]}.", file=sys.stderr)
    return [renamed.get(arg, arg) for arg in args[:count]] + args[count:]


def _with_value_names(command: Any) -> Any:
    """Replace the names of Python's types in the help of a command."""
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign] # noqa: ARG005
        elif parameter.metavar is None:
            parameter.metavar = VALUE_NAMES.get(parameter.display_type(None))
    return command


class WholeHelpGroup(TyperGroup):
    """A command with subcommands, whose help has the first paragraph of each of them as a whole."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (as click calls it)
        """Write the names of the subcommands and what they do."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary_of(command)) for name, command in self.commands.items()])


def summary_of(command: Any) -> str:
    """Return the first paragraph of the help of a command."""
    return " ".join((command.help or "").split("\n\n")[0].split())


class CommandGroup(TyperGroup):
    """The program `longview`: commands that are imported when they are called, and a help in groups."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (as click calls it)
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command of a call, whose options may have the names of earlier versions."""
        name, found_command, rest = super().resolve_command(ctx, args)
        return name, found_command, _with_present_names(rest, RENAMED_OPTIONS.get(name or "", {}))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the commands in their groups, each with its summary."""
        # All groups have their summaries in one column.
        width = max(map(len, COMMANDS))
        for group in GROUPS:
            with formatter.section(group):
                rows = [(f"{name:{width}}", command.summary) for name, command in COMMANDS.items() if command.group == group]
                formatter.write_dl(rows)
        with formatter.section("For programs"):
            formatter.write_text(FOR_PROGRAMS)


# Rich cuts the names of options at 80 columns, and takes half a second for a help.
cli = typer.Typer(name="longview", cls=CommandGroup, help=DESCRIPTION, rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from importlib.metadata import version

        print(f"longview {version('longview-video')}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def first_steps(
    context: typer.Context,
    is_version: Annotated[  # noqa: ARG001 (its callback uses it)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Print the first steps if no command is given."""
    if context.invoked_subcommand is None:
        print(FIRST_STEPS)
