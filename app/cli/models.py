"""The verb that lists the checkpoints on this machine."""

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.local_models import LocalModel, local_models


@command("json", "model")
def models(context: Context) -> None:
    """List the checkpoints on this machine: what each was trained for, what memory it needs, and whether it fits.

    Example: longview models
    """
    found = local_models(context.app.settings)
    document = schemas.ModelsDocument(models=[schemas.LocalModelOut.of(model) for model in found])
    context.print_result(document, "\n".join(map(_describe, found)))


def _describe(model: LocalModel) -> str:
    memory = ", ".join(
        f"{tokens // 1024}K {needed / 1e9:.1f} GB{'' if model.fits(tokens) else ' (does not fit)'}"
        for tokens, needed in model.memory_bytes.items()
    )
    chosen = "* " if model.is_chosen else "  "
    return f"{chosen}{model.checkpoint.name}  {', '.join(model.tasks)}\n    memory with a context of {memory}"
