"""Whether a checkpoint knows the footage of a video, which some of its windows tell."""

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.sessions import SessionPool
from longview.video.errors import UnreadableVideo
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import SamplingPlan

EXAMINED_WINDOWS = 3
"""Number of windows that decide whether a checkpoint knows the footage of a longer video."""


def knows_footage(pool: SessionPool, video: VideoInfo, plan: SamplingPlan, *, progress: Progress = NO_PROGRESS) -> bool:
    """Whether the first, the middle or the last window of a long plan is in-distribution for the checkpoint.

    Without it, hours of footage would be decoded to find that none of it can be captioned. A short plan is not examined.

    Raises:
        UnreadableVideo: no frame of these windows can be decoded. Cancelled: the operation was cancelled.
    """
    count = len(plan.windows)
    if count <= EXAMINED_WINDOWS or not pool.engine.checkpoint.ood_detector_file:
        return True
    examined_windows = [plan.windows[0], plan.windows[count // 2], plan.windows[-1]]
    for window, step in zip(examined_windows, progress.steps(len(examined_windows)), strict=True):
        try:
            session = pool.session(video, plan, window, pin=False, progress=step)
        except UnreadableVideo:
            return True
        if not session.is_out_of_distribution:
            return True
    return False
