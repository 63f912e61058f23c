"""What all verbs of the command line share: options, one document on stdout, progress on stderr, errors and exit codes."""

import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from tqdm import tqdm

from longview.app.errors import EXPECTED_ERRORS, AppError
from longview.app.progress import OnProgress, Progress
from longview.app.service import Longview
from longview.app.settings import load_settings
from longview.indexing.library import Provenance
from longview.video.decoder import BackendName
from longview.video.time_text import format_time

log = logging.getLogger(__name__)

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's own, wherever it is: Typer has come with a copy of click since 0.26, and names only this child of it."""

cli = typer.Typer(
    name="longview",
    help="Ask long videos questions, find moments in a library of them, and export timestamped captions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class Context:
    """One use of a verb: the application and how to print."""

    app: Longview
    as_json: bool

    def print_result(self, document: dict[str, Any], text: str) -> None:
        """Print the one result, as JSON or for people."""
        print(json.dumps(document, ensure_ascii=False, indent=2) if self.as_json else text)

    def provenance_fields(self, *made_by: Provenance) -> dict[str, Any]:
        """Provenance and notice for results that a model made."""
        provenance = [asdict(item) for item in made_by]
        return {"provenance": provenance[0] if len(provenance) == 1 else provenance, "notice": self.app.checkpoint.notice}

    def print_notice(self) -> None:
        """Say what every user of this checkpoint must know, where people read and programs don't."""
        if self.app.checkpoint.notice:
            print(self.app.checkpoint.notice, file=sys.stderr)


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A bar with stage and time left on stderr; plain lines where that is no terminal."""
    live = sys.stderr.isatty()
    layout = "{desc} {percentage:3.0f}%|{bar:30}| {postfix}"
    told: list[tuple[str, int]] = []
    with tqdm(total=100, bar_format=layout, file=sys.stderr, leave=False, disable=not live) as bar:

        def show(progress: Progress) -> None:
            left = f"{format_time(progress.seconds_left)[:-2]} left" if progress.seconds_left is not None else ""
            if live:
                bar.set_description_str(progress.stage, refresh=False)
                bar.set_postfix_str(left, refresh=False)
                bar.n = progress.fraction * 100
                bar.refresh()
            elif (step := (progress.stage, int(progress.fraction * 10))) not in told:
                told.append(step)
                print(f"{progress.fraction:4.0%} {progress.stage} {left}".rstrip(), file=sys.stderr)

        yield show


_COMMON: dict[str, Any] = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")],
    "library": Annotated[Path | None, typer.Option(help="The library folder (also LONGVIEW_LIBRARY).", show_default=False)],
    "model": Annotated[str | None, typer.Option(help="auto, demo, a Hugging Face id or a folder.", show_default=False)],
    "server": Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server that has the model: http://host:8000/v1.", show_default=False)
    ],
    "reader": Annotated[BackendName | None, typer.Option(help="The library that decodes videos.", show_default=False)],
    "fast": Annotated[bool, typer.Option("--fast", help="Decode key frames only: much faster, sees less.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr.")],
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a verb, give it the common options, and turn expected errors into one sentence and exit code 1."""
    own = [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "call"]
    common = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if kind.__origin__ is bool else None, annotation=kind
        )
        for name, kind in _COMMON.items()
    ]

    @functools.wraps(function)
    def run(**values: Any) -> None:
        as_json, verbose = values.pop("as_json"), values.pop("verbose")
        flags = {"home": values.pop("library"), "fast": values.pop("fast") or None}
        flags |= {name: values.pop(name) for name in ("model", "server", "reader")}
        logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr)
        if not verbose:
            # Other people's libraries report to the log of those who asked for it.
            logging.getLogger("transformers").setLevel(logging.ERROR)
        if flags["fast"]:
            log.warning(
                "--fast: only key frames are read. What lies between two of them is not seen; words and times may be wrong."
            )
        try:
            function(Context(Longview(load_settings(**flags)), as_json), **values)
        except EXPECTED_ERRORS as error:
            fail(error, as_json=as_json)
        except BrokenPipeError:
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            # A mistake of ours: programs still get one document, and people the whole story when they ask for it.
            log.info("unexpected", exc_info=True)
            fail(
                AppError(f"Something unexpected went wrong ({type(error).__name__}: {error}); --verbose says more."),
                as_json=as_json,
            )
        except KeyboardInterrupt:
            print("Stopped; nothing half-done was kept.", file=sys.stderr)
            raise typer.Exit(1) from None

    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *common)}
    cli.command(function.__name__.rstrip("_"))(run)
    return run


def run() -> NoReturn:
    """Run the verb that the program was called with, and leave with its exit code."""
    try:
        code = cli(standalone_mode=False)
    except UsageError as error:
        # Programs get their one document for wrong usage, too.
        if "--json" in sys.argv:
            print(json.dumps({"error": {"code": "usage", "message": error.format_message()}}, ensure_ascii=False, indent=2))
        error.show()
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    sys.exit(code)


def fail(error: Exception, *, as_json: bool) -> None:
    """Say an expected error and leave with exit code 1."""
    if as_json:
        print(json.dumps({"error": error_document(error)}, ensure_ascii=False, indent=2))
    else:
        print(printable(str(error)), file=sys.stderr)
    raise typer.Exit(1)


def printable(text: str) -> str:
    """A file's name as it may be shown in a terminal: without line breaks and escape sequences."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def error_document(error: Exception) -> dict[str, str]:
    """An error as programs read it: its stable code and its sentence."""
    return {"code": getattr(error, "code", "error"), "message": str(error)}
