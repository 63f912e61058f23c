"""`python -m app`: the command line, with `serve` joined to it here because only the entry point knows the interface."""

import os
from typing import Annotated

import typer

import app.cli
import app.cli_eval
import app.cli_files  # noqa: F401 (they register their verbs)
from app.terminal import Call, progress_bar, run, verb


@verb
def serve(
    call: Call,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.", show_default=False)] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Put the sample video into the library if it is empty.")] = False,
) -> None:
    """Open Longview in the browser, on this machine only."""
    from app.sample import add_sample
    from ui.server import serve as start

    if sample:
        with progress_bar() as on_progress:
            add_sample(call.app, on_progress)
    start(call.app, port)


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run()


if __name__ == "__main__":
    main()
