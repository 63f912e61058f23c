"""What all commands share: options, one document on stdout, progress on stderr, errors and exit codes."""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer
from pydantic import BaseModel

from longview.app.cli import CANCELLED_EXIT_CODE
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
from longview.app.errors import EXPECTED_ERRORS, AppError, LibraryUnusable, OutputFailed
from longview.app.settings import Settings, load_settings, rename_notices
from longview.app.streams import Done, Stream
from longview.core.progress import Cancelled, ProgressReport
from longview.model.engine.checkpoints.precision_names import Precision
from longview.model.tasks.events import TextDelta
from longview.video.decoding.backends import BackendName

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
                self.app.runner.pause_own()

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


OptionGroup = Literal[
    "json",
    "model",
    "decoding",
    "backend",
    "key-frames",
    "speech",
    "screen-text",
    "transcript",
    "thinking",
    "index-checks",
    "ask-checks",
    "search-checks",
]
"""Options that several commands have: `--json`; the model and where it runs; how frames are decoded for it, or only the
backend, or only `--key-frames-only`; how speech is recognised; how text on screen is read; whether the checkpoint gets the
transcript; whether it thinks before an answer; the checks of captions, answers and search results. All but `--json` override a
setting."""
_LIBRARY = {"library": Annotated[Path | None, typer.Option(help="Library folder (also LONGVIEW_LIBRARY).", show_default=False)]}
_VERBOSE = {"verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")]}
_BACKEND = {"backend": Annotated[BackendName | None, typer.Option(help="Decoder backend.", show_default=False)]}
_KEY_FRAMES = {
    "key_frames_only": Annotated[
        bool | None,
        typer.Option(
            "--key-frames-only", help="Decode key frames only: much faster, but events between two key frames are missed."
        ),
    ]
}
_SPEECH = {
    "speech_model": Annotated[
        str | None,
        typer.Option(help="Speech model: auto (the bundled one), a folder, or the name of a cached model.", show_default=False),
    ],
    "speech_language": Annotated[
        str | None,
        typer.Option("--language", help="Language of the speech, such as en; auto detects it (the default).", show_default=False),
    ],
    "speech_vocabulary": Annotated[
        Path | None,
        typer.Option("--vocabulary", help="Text file with names and terms that are likely in the speech.", show_default=False),
    ],
    "audio_track": Annotated[
        str | None,
        typer.Option(help="Audio track to recognise: its number from 1, or a language.", show_default=False),
    ],
}
_SCREEN_TEXT = {
    "screen_text_language": Annotated[
        str | None,
        typer.Option(
            "--screen-language",
            help="Language of the text on screen, such as ko; by default that of the speech.",
            show_default=False,
        ),
    ],
}
_TRANSCRIPT = {
    "transcript": Annotated[
        bool | None,
        typer.Option(
            "--transcript/--no-transcript",
            help="Give the checkpoint what is said and shown, beside the frames; the demo checkpoint never gets it.",
            show_default=False,
        ),
    ]
}
_THINKING = {
    "thinking": Annotated[
        bool | None,
        typer.Option(
            "--thinking/--no-thinking",
            help="Let the checkpoint think before it answers, if its chat template has a switch for it; off by default.",
            show_default=False,
        ),
    ]
}
_INDEX_CHECKS = {
    "index_verify": Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify", help="Verify every caption; by default only for the demo checkpoint.", show_default=False
        ),
    ],
    "index_refine": Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Refine the times of contested captions; by default only for the demo checkpoint.",
            show_default=False,
        ),
    ],
}
_ASK_CHECKS = {
    "ask_verify": Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Verify each time that an answer names.", show_default=False)
    ]
}
_SEARCH_CHECKS = {
    "search_verify": Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Verify each moment, and hide it if the video does not confirm its caption; by default where this is quick.",
            show_default=False,
        ),
    ]
}
_GROUPS: dict[OptionGroup, dict[str, Any]] = {
    "json": {"as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]},
    "model": {
        "model": Annotated[
            str | None, typer.Option(help="Checkpoint: auto, demo, a Hugging Face id or a folder.", show_default=False)
        ],
        "server": Annotated[
            str | None,
            typer.Option(help="Server of the model: http://host:8000/v1.", show_default=False),
        ],
        "grounding_model": Annotated[
            str | None,
            typer.Option(help="Second checkpoint, which locates and refines times; by default --model does.", show_default=False),
        ],
        "grounding_server": Annotated[
            str | None, typer.Option(help="Server of --grounding-model; by default it runs here.", show_default=False)
        ],
        "profile": Annotated[
            str | None,
            typer.Option(help="Profile of the model; by default as its name and architecture say.", show_default=False),
        ],
        "precision": Annotated[
            Precision | None,
            typer.Option(
                help="Number format on a CPU: float32, bfloat16, int8, or auto, the faster of the first two.", show_default=False
            ),
        ],
    },
    "decoding": _BACKEND | _KEY_FRAMES,
    "backend": _BACKEND,
    "key-frames": _KEY_FRAMES,
    "speech": _SPEECH,
    "screen-text": _SCREEN_TEXT,
    "transcript": _TRANSCRIPT,
    "thinking": _THINKING,
    "index-checks": _INDEX_CHECKS,
    "ask-checks": _ASK_CHECKS,
    "search-checks": _SEARCH_CHECKS,
}


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
        options |= _GROUPS[group]
    options |= _LIBRARY | _VERBOSE
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
