"""What all commands share: options, one document on stdout, progress on stderr, errors and exit codes."""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel

from longview.app.cli import CANCELLED_EXIT_CODE
from longview.app.cli.command_options import GROUPS, LIBRARY, VERBOSE, OptionGroup
from longview.app.cli.group import WholeHelpGroup, cli
from longview.app.cli.output import (
    CleanFormatter,
    prepare_standard_streams,
    printable,
    progress_bar,
    to_json,
    write_err,
    write_out,
)
from longview.app.cli.usage_text import plain_usage
from longview.app.errors import EXPECTED_ERRORS, AppError, OutputFailed
from longview.app.settings import Settings, load_settings, rename_notices
from longview.app.streams import Done, Stream
from longview.core.progress import Cancelled, ProgressReport
from longview.indexing.errors import LibraryUnusable
from longview.model.tasks.events import TextDelta

if TYPE_CHECKING:
    from longview.app.service import Longview

log = logging.getLogger(__name__)

T = TypeVar("T")

STOPPED_COMMAND = "Stopped. Finished parts are kept, and incomplete results were discarded."

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's own class: Typer has brought a copy of click since 0.26, and exports only this child of it."""


@dataclass(frozen=True)
class Context:
    """One call of a command: the settings, the application over them, and the form of its output."""

    settings: Settings
    as_json: bool

    @functools.cached_property
    def app(self) -> "Longview":
        """The application; the first access opens the library.

        Raises:
            LibraryUnusable: the library cannot be used.
        """
        from longview.app.service import Longview

        return Longview(self.settings)

    def pause_jobs(self) -> None:
        """Pause the unfinished jobs of this process, if it has opened a library."""
        if "app" in self.__dict__:
            with suppress(LibraryUnusable):
                self.app.jobs.pause_own()

    def print_result(self, document: BaseModel, text: str) -> None:
        """Print the one result, as JSON or as text."""
        write_out((to_json(document) if self.as_json else text) + "\n")

    def print_notice(self) -> None:
        """Print the notice of the checkpoint, which names its limits, on stderr, once in a call.

        It is for results that depend on what the checkpoint sees.
        """
        _ = self._printed_notice

    @functools.cached_property
    def _printed_notice(self) -> str | None:
        if notice := self.app.notice:
            write_err(notice)
        return notice

    def follow(self, stream: Stream[T]) -> T:
        """Show the progress of a stream on stderr, and its text on stdout; return its result.

        The progress is shown until the first piece of text.
        """
        with closing(iter(stream)) as events, progress_bar() as bar:
            for event in events:
                match event:
                    case ProgressReport():
                        bar.show(event)
                    case TextDelta(text):
                        bar.close()
                        if not self.as_json:
                            write_out(text)
                    case Done(result):
                        return result
        raise AssertionError("a stream ends with its result or an error")


def command(*groups: OptionGroup, parent: typer.Typer = cli) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command with the options of its groups; turn expected errors into one sentence and exit code 1.

    The function gets a `Context` as its first argument. Every command has `--library` and `--verbose`. `parent`: the command
    of which this is a subcommand.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        run_command = _with_options(function, groups)
        parent.command(function.__name__.rstrip("_").replace("_", "-"))(run_command)
        return run_command

    return register


def command_with_subcommands(*groups: OptionGroup) -> Callable[[Callable[..., None]], typer.Typer]:
    """Register a command as `command` does, which has subcommands beside what it does without one; return their `parent`."""

    def register(function: Callable[..., None]) -> typer.Typer:
        run_command = _with_options(function, groups)

        @functools.wraps(run_command)
        def run_or_wait(call: typer.Context, **values: Any) -> None:
            if call.invoked_subcommand is None:
                run_command(**values)
            elif any(values.values()):
                start = f"longview {call.info_name} {call.invoked_subcommand}"
                raise typer.BadParameter(f"options come after the subcommand: {start} …")

        call = inspect.Parameter("call", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        shared_parameters = inspect.signature(run_command).parameters.values()
        run_or_wait.__signature__ = inspect.Signature([call, *shared_parameters])  # type: ignore[attr-defined]
        run_or_wait.__annotations__ = {parameter.name: parameter.annotation for parameter in (call, *shared_parameters)}
        parent = typer.Typer(
            name=function.__name__,
            cls=WholeHelpGroup,
            help=function.__doc__,
            invoke_without_command=True,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )
        parent.callback()(run_or_wait)
        cli.add_typer(parent)
        return parent

    return register


def _with_options(function: Callable[..., None], groups: Sequence[OptionGroup]) -> Callable[..., None]:
    """Return the function of a command as Typer calls it: with its own parameters, and the options of its groups."""
    options: dict[str, Any] = {}
    for group in groups:
        options |= GROUPS[group]
    options |= LIBRARY | VERBOSE
    own = list(inspect.signature(function).parameters.values())[1:]
    shared_parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind.__origin__ is bool else None, annotation=kind
        )
        for name, kind in options.items()
    ]

    @functools.wraps(function)
    def run_command(**values: Any) -> None:
        option_values = {name: values.pop(name) for name in options}
        _run(function, values, **option_values)

    run_command.__signature__ = inspect.Signature([*own, *shared_parameters])  # type: ignore[attr-defined]
    run_command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared_parameters)}
    return run_command


def _run(function: Callable[..., None], values: dict[str, Any], *, verbose: bool, as_json: bool = False, **settings: Any) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CleanFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    if not verbose:
        logging.getLogger("transformers").setLevel(logging.ERROR)
    if settings.get("key_frames_only"):
        log.warning("With --key-frames-only, events between two key frames are missed; captions and times may be wrong.")
    context: Context | None = None
    try:
        context = Context(load_settings(**settings), as_json)
        for notice in rename_notices(settings):
            write_err(notice)
        function(context, **values)
    except EXPECTED_ERRORS as error:
        fail(error, as_json=as_json)
    except BrokenPipeError:
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except (KeyboardInterrupt, Cancelled):
        if context is not None:
            context.pause_jobs()
        stop(as_json=as_json)
    except Exception as error:
        # A bug: programs still get one document, and users the traceback if they ask for it.
        log.info("unexpected", exc_info=True)
        message = f"An unexpected error occurred ({type(error).__name__}: {error}); add --verbose to see the traceback."
        fail(AppError(message), as_json=as_json)


def run() -> NoReturn:
    """Run the command that the program was called with, and exit with its code."""
    from longview.app.schemas import ErrorDocument, ErrorOut

    prepare_standard_streams()
    try:
        code = cli(standalone_mode=False)
    except UsageError as error:
        error.message = plain_usage(error.message)
        # Programs also get one document for wrong usage.
        if "--json" in sys.argv:
            with suppress(OutputFailed, BrokenPipeError):
                write_out(to_json(ErrorDocument(error=ErrorOut(code="usage", message=error.format_message()))) + "\n")
        error.show()
        code = 2
    except typer.Abort:
        code = 1
    except OSError as error:
        # Typer itself prints the help.
        write_err(f"The output cannot be written: {error.strerror}.")
        code = 1
    except KeyboardInterrupt:
        write_err(STOPPED_COMMAND)
        code = CANCELLED_EXIT_CODE
    _exit(code or 0)


def _exit(code: int) -> NoReturn:
    """End the program. What can no longer be written to stdout is discarded, because Python would report an error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or 1
    if code == CANCELLED_EXIT_CODE:
        # A step that cannot be cancelled, such as loading a checkpoint, would keep the program waiting, and PyTorch's threads may
        # abort it. Files appear only when they are complete, so no partial file remains.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def stop(*, as_json: bool, message: str = STOPPED_COMMAND) -> NoReturn:
    """Report that the user has stopped the command, and what is kept, and exit with the code that shells use for that."""
    from longview.app.schemas import ErrorDocument, ErrorOut

    error = Cancelled()
    if as_json:
        with suppress(OutputFailed, BrokenPipeError):
            write_out(to_json(ErrorDocument(error=ErrorOut(code=error.code, message=message))) + "\n")
    write_err(message)
    raise typer.Exit(CANCELLED_EXIT_CODE)


def fail(error: Exception, *, as_json: bool) -> NoReturn:
    """Print an expected error and exit with code 1."""
    from longview.app.schemas import ErrorDocument, ErrorOut

    is_written = False
    if as_json and not isinstance(error, OutputFailed):
        with suppress(OutputFailed, BrokenPipeError):
            write_out(to_json(ErrorDocument(error=ErrorOut.of(error))) + "\n")
            is_written = True
    if not is_written:
        write_err(printable(str(error)))
    raise typer.Exit(1)
