"""Pulls and removals of models by the names that users give: checkpoints and speech models, several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from longview.app.errors import BadRequest
from longview.app.streams import Stream
from longview.core.progress import Progress
from longview.model.catalog import read_catalog
from longview.model.engine.checkpoints.checkpoints import find_cached_checkpoint
from longview.model.errors import SpeechModelNotFound
from longview.model.model_folders import find_folder
from longview.model.speech.weights import BUNDLED_NAME, speech_repository

if TYPE_CHECKING:
    from longview.model.hub.pulls import PlannedPull, PullResult

INCLUDED = ("auto", "demo", BUNDLED_NAME)
"""Names of models that come with Longview, and of the choice among them."""


@dataclass(frozen=True)
class PullPlan:
    """What a pull of several models will transfer."""

    pulls: tuple["PlannedPull", ...]

    @property
    def missing_bytes(self) -> int:
        """Bytes that are not on this machine yet."""
        return sum(pull.missing_bytes for pull in self.pulls)

    @property
    def size_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(pull.size_bytes for pull in self.pulls)


def repository_of(name: str) -> str:
    """Return the repository of a model: its own name, or that of a speech model's size, such as `small`.

    Raises:
        BadRequest: the model comes with Longview, or is a folder. SpeechModelNotFound: there is no speech model of this size.
    """
    if name in INCLUDED:
        raise BadRequest(f"{name} comes with Longview; it is neither pulled nor removed.")
    if find_folder(name) or name.startswith((".", "/", "~")):
        raise BadRequest(f"{name} is a folder of yours, which Longview uses where it lies, and never removes.")
    try:
        return speech_repository(name)
    except SpeechModelNotFound as error:
        catalog = read_catalog()
        names = [item.name for item in catalog.checkpoints] + [item.name for item in catalog.speech_models] + ["recommended"]
        last_parts = {item.rpartition("/")[2].lower(): item for item in names}
        similar = [last_parts[part] for part in get_close_matches(name.lower(), last_parts, n=1)]
        hint = f" Did you mean {similar[0]}?" if similar else ""
        raise SpeechModelNotFound(
            f"There is no model {name!r}; name a Hugging Face id such as Qwen/Qwen3.5-0.8B, the size of a speech model such as "
            f"small, or recommended.{hint}"
        ) from error


def license_of(repo_id: str) -> str | None:
    """Return the license of a published checkpoint that the catalogue has; None if it is in no catalogue."""
    return next((item.license for item in read_catalog().checkpoints if item.name == repo_id), None)


def plan_pulls(names: Sequence[str], *, update: bool = False) -> PullPlan:
    """Ask the hub what a pull of models would transfer, and check that the disk has the space for all of it.

    A name may have a revision, as in `Qwen/Qwen3-VL-8B-Instruct@main`. What was pulled before stays at its commit, unless another
    revision is named, or with `update`.

    Raises:
        BadRequest, SpeechModelNotFound: see `repository_of`.
        ModelError: the hub does not give it, it cannot be loaded, or the disk has no space; see `longview.model.hub.pulls`.
    """
    from longview.model.hub.pulls import check_space, plan_pull

    # A repository that is named twice is pulled once, at the revision that was named last.
    revisions: dict[str, str | None] = {}
    for name in names:
        base, _, revision = name.partition("@")
        revisions[repository_of(base)] = revision or None
    plan = PullPlan(tuple(plan_pull(repo_id, revision, update=update) for repo_id, revision in revisions.items()))
    check_space(plan.pulls)
    return plan


def pull_models(plan: PullPlan) -> Stream[tuple["PullResult", ...]]:
    """Transfer what is missing of several models, one after another, and check them.

    Those that are complete when one fails are kept. The stream raises `ModelError`; see `longview.model.hub.pulls.pull`.
    """
    from longview.model.hub.pulls import pull

    def transfer_all(progress: Progress) -> tuple["PullResult", ...]:
        results, fraction = [], 0.0
        for pull_plan in plan.pulls:
            # A model of which nothing is missing takes a little time, too: its files are checked.
            share = (pull_plan.missing_bytes + 1) / (plan.missing_bytes + len(plan.pulls))
            results.append(pull(pull_plan, progress.child(fraction, fraction + share)))
            fraction += share
            if pull_plan.listing.kind == "checkpoint":
                find_cached_checkpoint(pull_plan.listing.repo_id)
        return tuple(results)

    return Stream(transfer_all)


def remove_model(name: str) -> int:
    """Delete a model from the Hugging Face cache, and nothing else; return the bytes that this has freed.

    Raises:
        BadRequest, SpeechModelNotFound: see `repository_of`. CheckpointNotFound: it is not in the cache.
        RepositoryNotFound: it cannot be the name of a model. CacheNotWritable: it cannot be deleted.
    """
    from longview.model.hub.cache import remove_repository
    from longview.model.hub.listing import check_name

    repo_id = repository_of(name)
    check_name(repo_id)
    return remove_repository(repo_id)
