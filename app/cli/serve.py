"""The command that serves the page. Only this module of the application imports the interface."""

from typing import Annotated

import typer

from longview.app.cli.console import Context, command, stop
from longview.app.cli.output import write_err
from longview.app.text.counts import count_text

STOPPED_SERVE = "Stopped. What is unfinished is paused in the queue: resume on the page or with `longview jobs retry --all`."


@command("model", "decoding", "speech", "screen-text", "thinking")
def serve(
    context: Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.", show_default=False)] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Add the two sample videos if the library is empty.")] = False,
) -> None:
    """Serve the browser interface, on this machine only.

    Example: longview serve
    """
    from longview.app.serving.sample import resume_samples
    from longview.ui.process import serve as start

    if sample:
        resume_samples(context.app)
    if paused_count := sum(job.status == "paused" for job in context.app.jobs.unfinished()):
        write_err(
            f"{count_text(paused_count, 'file')} paused in the queue; resume on the page or with `longview jobs retry --all`."
        )
    try:
        start(context.app, port, with_samples=sample)
    except KeyboardInterrupt:
        stop(as_json=False, message=STOPPED_SERVE)
