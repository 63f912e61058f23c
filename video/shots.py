"""Shot detection: PySceneDetect's content detector on frames from `longview.video.decoding.decoder`."""

import logging
from collections.abc import Sequence

import numpy as np

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.video.decoding.decoder import Decoder
from longview.video.errors import VideoError
from longview.video.probing.probe import VideoInfo

log = logging.getLogger(__name__)

FPS = 5.0
"""Sampling rate, in frames per second: the start of a shot is accurate to a fifth of a second."""
HEIGHT, WIDTH = 96, 160
"""Frame size in pixels; the detector itself downscales larger frames."""


def shot_starts(
    decoder: Decoder, video: VideoInfo, regions: Sequence[Span], progress: Progress = NO_PROGRESS
) -> tuple[float, ...]:
    """Return the start times of the shots that begin inside the regions, in order; an undecodable region has none."""
    starts_s: list[float] = []
    for region, part in zip(regions, progress.steps(len(regions)), strict=True):
        times_s = [region.start_s + index / FPS for index in range(int(region.duration_s * FPS) + 1)]
        try:
            chunks = list(decoder.frames_played_at(video, times_s, HEIGHT, WIDTH, progress=part))
        except VideoError as error:
            log.info("%s: cannot detect shots from %.1f to %.1f s: %s", video.path.name, region.start_s, region.end_s, error)
            continue
        frames = [frame for chunk in chunks for frame in chunk.frames]
        frame_times_s = [float(time_s) for chunk in chunks for time_s in chunk.times_s]
        starts_s += [frame_times_s[index] for index in shot_start_frames(frames) if region.contains(frame_times_s[index])]
    return tuple(starts_s)


def shot_start_frames(frames: Sequence[np.ndarray]) -> list[int]:
    """Return the indices of the frames, RGB uint8 (H, W, 3), with which a new shot begins."""
    detector = ShotDetector()
    return [index for index, frame in enumerate(frames) if detector.starts_shot(frame)]


class ShotDetector:
    """Finds the first frames of shots among the frames that it is given one after another."""

    def __init__(self) -> None:
        from scenedetect.detectors import ContentDetector  # imports OpenCV, which takes half a second

        self._detector = ContentDetector(min_scene_len=1)
        self._count = 0

    def starts_shot(self, frame: np.ndarray) -> bool:
        """Whether a new shot begins with the next frame, RGB uint8 of shape (H, W, 3)."""
        import cv2
        from scenedetect import FrameTimecode

        small = frame if frame.shape[1] <= WIDTH else cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        cuts = self._detector.process_frame(FrameTimecode(self._count, fps=FPS), np.ascontiguousarray(small[..., ::-1]))
        self._count += 1
        return any(cut.frame_num == self._count - 1 for cut in cuts)
