"""What all verbs share: options, one document on stdout, progress on stderr, errors and exit codes."""

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from pydantic import BaseModel
from tqdm import tqdm

from longview.app.errors import EXPECTED_ERRORS, AppError
from longview.app.progress import OnProgress, Progress
from longview.app.schemas import ErrorDocument, ErrorOut
from longview.app.service import Longview
from longview.app.settings import load_settings
from longview.video.backends import BackendName
from longview.video.time_text import format_time

log = logging.getLogger(__name__)

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's own class: Typer has brought a copy of click since 0.26, and exports only this child of it."""

DESCRIPTION = "Answer questions about long videos, find moments in a library of videos, and export timestamped captions."
FIRST_STEPS = f"""{DESCRIPTION}

  longview serve                        open Longview in the browser
  longview index VIDEO                  caption a video and put it into the library
  longview ask VIDEO "What happens?"    answer a question about it
  longview search "red circle"          find moments in all videos
  longview export VIDEO --format srt    write its captions as subtitles

`longview --help` lists all verbs, `longview VERB --help` the options of one."""

cli = typer.Typer(name="longview", help=DESCRIPTION, pretty_exceptions_enable=False)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"longview {version('longview-video')}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def first_steps(
    context: typer.Context,
    is_version: Annotated[  # noqa: ARG001 (its callback uses it)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Print the first steps where no verb is given."""
    if context.invoked_subcommand is None:
        print(FIRST_STEPS)


@dataclass(frozen=True)
class Context:
    """One call of a verb: the application and the form of its output."""

    app: Longview
    as_json: bool

    def print_result(self, document: BaseModel, text: str) -> None:
        """Print the one result, as JSON or for people."""
        print(to_json(document) if self.as_json else text)

    def print_notice(self) -> None:
        """Print on stderr what every user of this checkpoint must know."""
        if self.app.checkpoint.notice:
            print(self.app.checkpoint.notice, file=sys.stderr)


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """Show a bar with stage and remaining time on stderr; plain lines where that is no terminal."""
    is_live = sys.stderr.isatty()
    layout = "{desc} {percentage:3.0f}%|{bar:30}| {postfix}"
    printed_steps: set[tuple[str, int]] = set()
    with tqdm(total=100, bar_format=layout, file=sys.stderr, leave=False, disable=not is_live) as bar:

        def show(progress: Progress) -> None:
            remaining = f"{format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
            step = (progress.stage, int(progress.fraction * 10))
            if is_live:
                bar.set_description_str(progress.stage, refresh=False)
                bar.set_postfix_str(remaining, refresh=False)
                bar.n = progress.fraction * 100
                bar.refresh()
            elif step not in printed_steps:
                printed_steps.add(step)
                print(f"{progress.fraction:4.0%} {progress.stage} {remaining}".rstrip(), file=sys.stderr)

        yield show


OptionGroup = Literal["json", "model", "decoding", "backend", "key-frames"]
"""Options that several verbs have: `--json`; the model and where it runs; how frames are decoded for it, or only the backend, or
only `--key-frames-only`."""
_LIBRARY = {
    "library": Annotated[Path | None, typer.Option(help="The library folder (also LONGVIEW_LIBRARY).", show_default=False)]
}
_VERBOSE = {"verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")]}
_BACKEND = {"backend": Annotated[BackendName | None, typer.Option(help="The library that decodes videos.", show_default=False)]}
_KEY_FRAMES = {
    "key_frames_only": Annotated[
        bool, typer.Option("--key-frames-only", help="Decode key frames only: much faster, but misses what is between them.")
    ]
}
_GROUPS: dict[OptionGroup, dict[str, Any]] = {
    "json": {"as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]},
    "model": {
        "model": Annotated[str | None, typer.Option(help="auto, demo, a Hugging Face id or a folder.", show_default=False)],
        "server": Annotated[
            str | None,
            typer.Option(help="An OpenAI-compatible server that has the model: http://host:8000/v1.", show_default=False),
        ],
    },
    "decoding": _BACKEND | _KEY_FRAMES,
    "backend": _BACKEND,
    "key-frames": _KEY_FRAMES,
}


def command(*groups: OptionGroup) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a verb with the options of its groups; turn expected errors into one sentence and exit code 1.

    The verb's function gets a `Context` as its first argument. Every verb has `--library` and `--verbose`.
    """
    options: dict[str, Any] = {}
    for group in groups:
        options |= _GROUPS[group]
    options |= _LIBRARY | _VERBOSE

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared_parameters = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=False if kind.__origin__ is bool else None, annotation=kind
            )
            for name, kind in options.items()
        ]

        @functools.wraps(function)
        def run_verb(**values: Any) -> None:
            option_values = {name: values.pop(name) for name in options}
            _run(function, values, **option_values)

        run_verb.__signature__ = inspect.Signature([*own, *shared_parameters])  # type: ignore[attr-defined]
        run_verb.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared_parameters)}
        cli.command(function.__name__.rstrip("_").replace("_", "-"))(run_verb)
        return run_verb

    return register


def _run(function: Callable[..., None], values: dict[str, Any], *, verbose: bool, as_json: bool = False, **settings: Any) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not verbose:
        logging.getLogger("transformers").setLevel(logging.ERROR)
    # A flag that is not set leaves the setting to the environment and the file.
    settings = {name: value for name, value in settings.items() if value is not False}
    if settings.get("key_frames_only"):
        log.warning("--key-frames-only: events between two key frames are missed; words and times may be wrong.")
    try:
        function(Context(Longview(load_settings(**settings)), as_json), **values)
    except EXPECTED_ERRORS as error:
        fail(error, as_json=as_json)
    except BrokenPipeError:
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        # A bug: programs still get one document, and people the traceback if they ask for it.
        log.info("unexpected", exc_info=True)
        message = f"Something unexpected went wrong ({type(error).__name__}: {error}); --verbose prints more."
        fail(AppError(message), as_json=as_json)
    except KeyboardInterrupt:
        print("Stopped; nothing half-done was kept.", file=sys.stderr)
        raise typer.Exit(1) from None


def run() -> NoReturn:
    """Run the verb that the program was called with, and exit with its code."""
    try:
        code = cli(standalone_mode=False)
    except UsageError as error:
        # Programs get their one document for wrong usage, too.
        if "--json" in sys.argv:
            print(to_json(ErrorDocument(error=ErrorOut(code="usage", message=error.format_message()))))
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    sys.exit(code)


def fail(error: Exception, *, as_json: bool) -> None:
    """Print an expected error and exit with code 1."""
    if as_json:
        print(to_json(ErrorDocument(error=ErrorOut.of(error))))
    else:
        print(printable(str(error)), file=sys.stderr)
    raise typer.Exit(1)


def to_json(document: BaseModel) -> str:
    """Return a document as JSON text."""
    return json.dumps(document.model_dump(), ensure_ascii=False, indent=2)


def printable(text: str) -> str:
    """Replace what a terminal could interpret, such as line breaks and escape sequences in a file's name."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
