"""What every task on a video needs: the sessions of its checkpoints, the verifier, the video, its words, and the progress."""

from dataclasses import dataclass, replace

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.transcript_context import SegmentsWithin, no_segments
from longview.model.tasks.verifier import Verifier
from longview.video.probing.probe import VideoInfo


@dataclass(frozen=True)
class TaskContext:
    """The context of a task. Its parts have the same one with a part of the progress; see `at`."""

    pool: SessionPool
    """Sessions of the checkpoint that captions, answers and verifies."""
    verifier: Verifier
    video: VideoInfo
    transcript: SegmentsWithin = no_segments
    """Function that returns what is said and shown in a span, for a checkpoint that takes it, which is not asked whether it saw
    it."""
    grounding_pool: SessionPool | None = None
    """Sessions of a checkpoint that locates and refines; the one of `pool` then only verifies, because most checkpoints that
    were trained for grounding deny nothing. None: one checkpoint does all."""
    progress: Progress = NO_PROGRESS

    @property
    def locating_pool(self) -> SessionPool:
        """Sessions of the checkpoint that locates."""
        return self.grounding_pool or self.pool

    def without_helpers(self, progress: Progress) -> "TaskContext":
        """Return the context for a part that needs neither the transcript nor the other checkpoint."""
        return TaskContext(self.pool, self.verifier, self.video, progress=progress)

    def at(self, progress: Progress) -> "TaskContext":
        """Return the context for a part of the task."""
        return replace(self, progress=progress)
