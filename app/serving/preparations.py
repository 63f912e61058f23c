"""What a server prepares beside the queue, such as a file of its own: pages show it like a job."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from longview.app.errors import EXPECTED_ERRORS
from longview.core.progress import Cancelled, Progress

log = logging.getLogger(__name__)


@dataclass
class Preparation:
    """Something that is prepared; its fields change meanwhile. They have the names of those of a job of the queue."""

    title: str
    action: str
    """What is done, in words that begin a line: `Preparing …`."""
    video_id: str | None = None
    """The video that it is for; None before there is one."""
    progress: Progress = field(default_factory=Progress)
    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    reason: str = ""
    """A sentence for the user, if it failed."""
    ended_event: threading.Event = field(default_factory=threading.Event)

    @property
    def stage(self) -> str:
        """The name of the current stage."""
        return self.progress.report.stage

    @property
    def fraction(self) -> float:
        """The completed fraction, 0 to 1."""
        return self.progress.report.fraction

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time, in seconds; None if it is unknown."""
        return self.progress.report.seconds_left

    @contextmanager
    def running(self) -> Iterator[None]:
        """Note in the block how it ends; its errors end here."""
        try:
            self.status = "running"
            self.progress.restart_clock()
            yield
            self.status = "done"
        except Cancelled:
            self.status, self.reason = "failed", "It was cancelled."
        except EXPECTED_ERRORS as error:
            self.status, self.reason = "failed", str(error)
        except Exception:
            log.exception("%s failed", self.action)
            self.status, self.reason = "failed", "An unexpected error occurred; the log of the server has the traceback."
        finally:
            self.ended_event.set()


class EndedPreparations:
    """For which videos something was prepared, or could not be, since a moment. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._revision = 0

    @property
    def revision(self) -> int:
        """A number that grows whenever something ends."""
        return self._revision

    def note(self, video_id: str) -> None:
        """Note that something has ended that was prepared for a video."""
        with self._lock:
            self._revision += 1
            self._numbers[video_id] = self._revision

    def since(self, revision: int) -> set[str]:
        """Return the ids of the videos for which something has ended since a revision."""
        with self._lock:
            return {video_id for video_id, number in self._numbers.items() if number > revision}
