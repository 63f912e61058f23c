"""How long the captions of a video take, by what this machine did before, and how often a checkpoint declines one."""

from longview.app.ingest.sources.base import SourceJob
from longview.app.runtime.machine_speeds import MachineSpeeds
from longview.model.engine.checkpoints.checkpoints import Checkpoint

LOADING_S = 4.0
"""Time until PyTorch and the demo checkpoint are loaded on the machine of reference, in seconds."""
EXAMINED_S = 130.0
"""Maximum video that is examined before a checkpoint declines it, in seconds: three windows of the demo checkpoint."""
DECLINING_S, DECLINING_S_PER_SECOND = 0.5, 0.025
"""Time to decline a video there, in seconds: the least, and per second that is examined."""
CAPTIONING_S_PER_SECOND = 0.15
"""Time to caption a second of video with the demo checkpoint there, in seconds."""
DECLINED_SHARE_WITH_SOUND, DECLINED_SHARE_WITHOUT = 0.95, 0.6
"""Share of the videos that the demo checkpoint declines, before anything was learnt: it knows moving shapes without sound."""


class CaptionTimes:
    """The times of one checkpoint on this machine."""

    def __init__(self, speeds: MachineSpeeds, checkpoint: Checkpoint) -> None:
        self._speeds, self._identity = speeds, checkpoint.identity
        self.may_decline = checkpoint.ood_detector_file is not None
        """Whether the checkpoint recognises footage that it does not know."""
        self.loading_name = f"loading captions | {checkpoint.identity}"

    def captioning_s(self, video_s: float) -> float | None:
        """Return the time to caption so much video, in seconds; None if nothing is known of it."""
        name = f"captions | {self._identity}"
        if not self.may_decline and not self._speeds.knows(name):
            return None
        return CAPTIONING_S_PER_SECOND * video_s * self._speeds.ratio(name)

    def declining_s(self, video_s: float) -> float:
        """Return the time until a video is declined, in seconds."""
        return _declining_reference_s(video_s) * self._speeds.ratio(f"declined captions | {self._identity}")

    def expected_s(self, job: SourceJob, captioning_s: float | None) -> float | None:
        """Return the mean time for videos like that of a job, in seconds."""
        if not self.may_decline or captioning_s is None:
            return captioning_s
        share = self._speeds.share(self._share_name(job), _declined_share(job))
        return share * self.declining_s(job.span.duration_s) + (1.0 - share) * captioning_s

    def learn_decline(self, job: SourceJob, seconds: float) -> None:
        """Keep what it took to decline a video, in seconds."""
        self._speeds.learn_ratio(f"declined captions | {self._identity}", seconds, _declining_reference_s(job.span.duration_s))
        self._speeds.learn_share(self._share_name(job), happened=True)

    def learn_captions(self, job: SourceJob, seconds: float) -> None:
        """Keep what it took to caption a video, in seconds."""
        self._speeds.learn_ratio(f"captions | {self._identity}", seconds, CAPTIONING_S_PER_SECOND * job.span.duration_s)
        if self.may_decline:
            self._speeds.learn_share(self._share_name(job), happened=False)

    def _share_name(self, job: SourceJob) -> str:
        return f"declined with{'' if job.video.has_audio else 'out'} sound | {self._identity}"


def _declining_reference_s(video_s: float) -> float:
    return DECLINING_S + DECLINING_S_PER_SECOND * min(EXAMINED_S, video_s)


def _declined_share(job: SourceJob) -> float:
    return DECLINED_SHARE_WITH_SOUND if job.video.has_audio else DECLINED_SHARE_WITHOUT
