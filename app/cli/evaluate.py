"""The command that measures the accuracy of captions, moments, answers and words."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from longview.app.cli.console import Context, command
from longview.app.errors import BadRequest
from longview.app.evaluation import datasets, suites
from longview.app.evaluation import report as reports
from longview.app.schemas import EvalDocument
from longview.app.service import Longview
from longview.app.streams import Stream
from longview.core.progress import Progress

SUITES = ("shapes", "needle", "words")
SHAPES_MINUTES = 1.0


@command("json", "model", "decoding")
def eval_(
    context: Context,
    suite: Annotated[str, typer.Argument(help="shapes, needle, words, or a JSON file of your own labels in ActivityNet's form.")],
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=600,
            help="Minutes of each rendered video (default: 1); for needle, of the longest (default: 16).",
            show_default=False,
        ),
    ] = None,
    videos: Annotated[int, typer.Option(min=1, max=1000, help="Number of rendered videos.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=100_000, help="Seed of the rendered videos.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report as JSON, Markdown and an image.")] = Path(
        "eval"
    ),
) -> None:
    """Measure accuracy on rendered videos, on synthetic speech, or on your own labels.

    Example: longview eval shapes
    """
    if suite == "words":
        suites.require_speech_model(context.app)
    elif find_spec("matplotlib") is None:
        raise BadRequest("The chart of `eval` needs matplotlib; install it with: pip install matplotlib")
    if suite not in SUITES:
        # Invalid labels are reported before anything is written.
        datasets.read_labels(Path(suite).expanduser())
    try:
        # An evaluation that takes hours must not fail when it writes its report.
        output.expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}.") from error

    with tempfile.TemporaryDirectory(prefix="longview-eval-") as scratch:
        folder, app = Path(scratch), context.app
        if suite in SUITES:
            # Rendered videos do not belong in the user's library, and the user's language is not that of the recordings.
            changes = {"library": folder / "library", "speech_language": None, "speech_vocabulary": None, "audio_track": None}
            app = Longview(app.settings.model_copy(update=changes))

        def operation(progress: Progress) -> dict[str, Any]:
            if suite == "words":
                return {"suite": suite, **suites.words(app, folder, progress)}
            if suite == "shapes":
                facts = suites.shapes(app, folder, minutes=minutes or SHAPES_MINUTES, videos=videos, seed=seed, progress=progress)
            elif suite == "needle":
                facts = suites.needle(app, folder, minutes=minutes or suites.NEEDLE_MINUTES[-1], seed=seed, progress=progress)
            else:
                facts = suites.own_labels(app, Path(suite).expanduser(), progress)
            return {"suite": suite, "checkpoint": app.checkpoint.identity, "device": suites.device(app), **facts}

        report = context.follow(Stream(operation))
    try:
        paths = reports.write(output.expanduser(), Path(suite).stem, report)
    except OSError as error:
        raise BadRequest(f"{output} cannot be written: {error.strerror}.") from error
    notice = None if suite == "words" else context.app.notice
    document = EvalDocument(**report, paths=[str(path) for path in paths], notice=notice)
    context.print_result(document, reports.markdown(report))
