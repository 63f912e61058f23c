"""The command that lists the checkpoints on this machine, with subcommands that pull, remove and choose models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app import settings as settings_module
from longview.app.cli.console import Context, command, command_with_subcommands, stop
from longview.app.cli.output import printable, write_err
from longview.app.errors import BadRequest
from longview.app.models import defaults as model_defaults
from longview.app.models.defaults import Default
from longview.app.models.installed import LocalModel, local_models
from longview.app.models.pulls import PullPlan, license_of, plan_pulls, pull_models, remove_model
from longview.app.settings import load_settings
from longview.app.text.counts import count_text
from longview.core.progress import Cancelled
from longview.indexing.records.provenance_text import REVISION_DIGITS
from longview.model.engine.checkpoints.checkpoints import incomplete_checkpoints
from longview.model.errors import LocalEngineUnavailable

if TYPE_CHECKING:
    from longview.model.hub.pulls import PullResult

RECOMMENDED = "recommended"
"""The name that means what is recommended for this machine."""
MIN_GIGABYTES = 100_000_000
"""Minimum size that is stated in gigabytes, in bytes."""
STOPPED_PULL = "Stopped. What was transferred is kept: run the same command to resume."

ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="A Hugging Face id, or the size of a speech model, such as small.")
]


@command_with_subcommands("json", "model")
def models(context: Context) -> None:
    """List the checkpoints on this machine, what memory each needs, and what is recommended for this machine.

    The times of an hour of video follow from the machine's speed, which is measured by the first call and kept. The subcommands
    pull models from the Hugging Face Hub, remove them, and choose the default.

    Example: longview models
    """
    from longview.app.models.advice import describe_machine, describe_recommendation, installed_speech_models, recommend_here
    from longview.app.models.fp8_package import installable_fp8_package

    incomplete = incomplete_checkpoints()
    checkpoints: Sequence[LocalModel] = ()
    try:
        checkpoints = local_models(context.settings)
        recommendation = recommend_here(context.settings)
        recommended = schemas.RecommendationOut.of(recommendation)
        requirement = installable_fp8_package(recommendation.machine)
        names = {model.checkpoint.name for model in checkpoints} | installed_speech_models(recommendation)
        advice = [describe_machine(recommendation.machine), *describe_recommendation(recommendation, names, requirement)]
    except LocalEngineUnavailable as error:
        recommended, advice = schemas.RecommendationOut.without_speed(str(error)), [str(error)]
    document = schemas.ModelsDocument(
        models=[schemas.LocalModelOut.of(model) for model in checkpoints],
        incomplete=list(incomplete),
        recommendation=recommended,
    )
    hints = [f"  {name} is not complete; `longview models pull {name}` resumes where it stopped." for name in incomplete]
    context.print_result(document, "\n".join([*map(_describe, checkpoints), *hints, "", *advice]))


def _describe(model: LocalModel) -> str:
    memory = ", ".join(
        f"{tokens // 1024}K {memory_bytes / 1e9:.1f} GB{'' if model.fits(tokens) else ' (does not fit)'}"
        for tokens, memory_bytes in model.memory_bytes.items()
    )
    mark = "* " if model.is_chosen else "  "
    commit = model.checkpoint.revision
    revision = f" at {_short(commit)}" if commit else ""
    weight_bytes = model.checkpoint.weight_bytes
    weights = f"{weight_bytes / 1e9:.1f} GB" if weight_bytes >= MIN_GIGABYTES else f"{weight_bytes / 1e6:.0f} MB"
    return f"{mark}{model.checkpoint.name}{revision}  {', '.join(model.tasks)}\n    weights {weights}, with a context of {memory}"


@command("json", parent=models)
def pull(
    context: Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Hugging Face ids, each with a revision if you like (NAME@REVISION), sizes of speech models, such as small, or "
            "recommended: those that `longview models` recommends, which become the default.",
        ),
    ],
    update: Annotated[bool, typer.Option("--update", help="Take the newest commit of what was pulled before.")] = False,
) -> None:
    """Download checkpoints and speech models, or what is missing of them, and check their hashes.

    Example: longview models pull recommended
    """
    recommended_names = _recommended_names(context) if RECOMMENDED in names else ()
    results = _pull(context, [*(name for name in names if name != RECOMMENDED), *recommended_names], update=update)
    defaults: dict[model_defaults.DefaultSetting, str] = {}
    removed_values: dict[model_defaults.DefaultSetting, str] = {}
    if recommended_names:
        defaults, removed_values = model_defaults.set_defaults_only(recommended_names)
    document = schemas.PullDocument(
        models=[schemas.PulledModelOut.of(result, license_of(result.plan.listing.repo_id)) for result in results],
        default_settings=list(defaults),
        reset_settings=list(removed_values),
    )
    lines = [line for result in results for line in _result_lines(result, is_default=bool(defaults))]
    file = printable(str(settings_module.CONFIG_FILE))
    lines += [f"The default {setting} is now {name} (in {file})." for setting, name in defaults.items()]
    lines += [
        f"The default {setting} was reset, because none is recommended; it was {printable(name)}."
        for setting, name in removed_values.items()
    ]
    context.print_result(document, "\n".join(lines))


def _recommended_names(context: Context) -> tuple[str, ...]:
    from longview.app.models.advice import describe_recommendation, recommend_here

    recommendation = recommend_here(context.settings)
    if recommendation.model is None:
        raise BadRequest(describe_recommendation(recommendation, ())[0])
    return recommendation.names


def _pull(context: Context, names: Sequence[str], *, update: bool) -> tuple["PullResult", ...]:
    """Pull models by their names: state on stderr what is transferred, with the licenses, then show the progress."""
    from longview.app.models.fit import fit_warnings

    plan = plan_pulls(names, update=update)
    write_err("\n".join([_plan_text(plan), *fit_warnings(plan, context.settings)]))
    try:
        return context.follow(pull_models(plan))
    except (KeyboardInterrupt, Cancelled):
        stop(as_json=context.as_json, message=STOPPED_PULL)


def _plan_text(plan: PullPlan) -> str:
    count = count_text(len(plan.pulls), "model")
    present_bytes = plan.size_bytes - plan.missing_bytes
    text = f"{count}: {_gigabytes(plan.missing_bytes)} to download; {_gigabytes(present_bytes)} are here already."
    licenses = {pull.listing.repo_id: license_of(pull.listing.repo_id) for pull in plan.pulls}
    return "\n".join([text, *(f"{repo_id}: {license_name}" for repo_id, license_name in licenses.items() if license_name)])


def _result_lines(result: "PullResult", *, is_default: bool) -> list[str]:
    listing = result.plan.listing
    name, commit, size = listing.repo_id, _short(listing.commit), _gigabytes(result.plan.size_bytes)
    if result.transferred_bytes:
        option = "--speech-model" if listing.kind == "speech" else "--model"
        use = "" if is_default else f"; use it with {option}, or by default after: longview models default {name}"
        lines = [f"Pulled {name} at {commit} ({size}){use}"]
    else:
        lines = [f"{name} is up to date at {commit} ({size})."]
    if newer := result.plan.newer_commit:
        lines.append(f"  The hub has a newer commit, {_short(newer)}; `longview models pull {name} --update` takes it.")
    return lines


@command("json", parent=models)
def remove(context: Context, name: ModelName) -> None:
    """Delete a model from the Hugging Face cache. Folders of yours are never deleted.

    Example: longview models remove Qwen/Qwen3-VL-4B-Instruct
    """
    freed_bytes = remove_model(name)
    settings = model_defaults.reset_defaults(name)
    document = schemas.RemoveModelDocument(name=name, freed_bytes=freed_bytes, reset_settings=list(settings))
    lines = [f"Removed {name}: {_gigabytes(freed_bytes)} are free again."]
    lines += [f"It was the default of {setting}, which was reset." for setting in settings]
    context.print_result(document, "\n".join(lines))


@command("json", parent=models)
def default(
    context: Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A model on this machine: a pulled one, a folder, demo or auto.")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Reset the default that NAME is, or all defaults.")] = False,
) -> None:
    """Choose the default model in longview.toml; without a name, show the default models and where each is set.

    A checkpoint that only locates becomes grounding_model, a speech model speech_model, any other model. `auto` resets model.

    Example: longview models default Qwen/Qwen3-VL-8B-Instruct
    """
    settings: Sequence[str] = ()
    if unset:
        settings = model_defaults.reset_defaults(name)
        if name is not None and not settings:
            raise BadRequest(f"{name} is not a default in {settings_module.CONFIG_FILE}.")
    elif name is not None:
        settings = (model_defaults.set_default(name),)
    defaults = model_defaults.read_defaults(load_settings() if settings else context.settings)
    document = schemas.DefaultsDocument(
        defaults=schemas.DefaultOut.of_all(defaults),
        changed_settings=list(settings),
        file=str(settings_module.CONFIG_FILE),
    )
    context.print_result(document, "\n".join(_default_text(item, is_changed=item.setting in settings) for item in defaults))


def _default_text(item: Default, *, is_changed: bool) -> str:
    text = f"{item.setting:16} {printable(item.value or 'none')}"
    if item.source == "environment":
        overrides = ", which overrides the change" if is_changed else ""
        return f"{text}  ({item.variable} is set{overrides})"
    return f"{text}  ({'by default' if item.source == 'default' else f'in {printable(str(settings_module.CONFIG_FILE))}'})"


def _short(commit: str) -> str:
    return commit[:REVISION_DIGITS]


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"
