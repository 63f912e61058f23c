"""Loading of checkpoints on this machine: with its settings, and at most once for files that were refused."""

from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.settings import Settings
from longview.model.engine.generation.thoughts import ThinkingBudget
from longview.model.errors import InvalidCheckpoint

if TYPE_CHECKING:
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.model.engine.local import LocalEngine
    from longview.model.engine.weight_swapping import DeviceScheduler


class EngineLoader:
    """A loader of local engines.

    To find out that files cannot be used takes minutes, so it is remembered as long as they are the same.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusals: dict[Path, tuple[frozenset[tuple[str, int, int]], str]] = {}
        """By the folder of the files: their state, and why they were refused. An error would keep the weights in memory."""

    def load(self, checkpoint: "Checkpoint", scheduler: "DeviceScheduler | None") -> "LocalEngine":
        """Load a checkpoint. `scheduler`: that of two checkpoints which have the device one after the other.

        Raises:
            InvalidCheckpoint: its files cannot be used, now or when they were last loaded.
            As `longview.model.engine.local_access.load_engine`.
        """
        from longview.model.engine.local_access import load_engine

        state = _file_states(checkpoint.folder)
        refused_state, reason = self._refusals.get(checkpoint.folder, (None, ""))
        if state == refused_state:
            raise InvalidCheckpoint(reason)

        def load() -> "LocalEngine":
            settings = self._settings
            return load_engine(
                checkpoint,
                has_canary=settings.canary,
                device=settings.device,
                cpu_threads=settings.cpu_threads,
                precision=settings.precision,
                cache=settings.cache,
                thinking_budget=ThinkingBudget(settings.thinking, settings.thinking_tokens),
                scheduler=scheduler,
            )

        try:
            return load() if scheduler is None else scheduler.load(load)
        except InvalidCheckpoint as error:
            self._refusals[checkpoint.folder] = (state, str(error))
            raise


def _file_states(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Return name, size and time of change (in nanoseconds) of the files of a checkpoint."""
    states = ((path.name, path.stat()) for path in folder.iterdir() if path.is_file())
    return frozenset((name, status.st_size, status.st_mtime_ns) for name, status in states)
