"""The verb that serves the page. Only this module of the application knows the interface."""

from typing import Annotated

import typer

from longview.app.cli.console import Context, command


@command("model", "decoding")
def serve(
    context: Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.", show_default=False)] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Add the sample video if the library is empty.")] = False,
) -> None:
    """Open Longview in the browser, on this machine only.

    Example: longview serve
    """
    from longview.app.sample import add_sample
    from longview.ui.server import serve as start

    if sample:
        context.follow(add_sample(context.app))
    start(context.app, port)
