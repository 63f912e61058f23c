"""Where one shot ends and the next begins, by PySceneDetect's detector on frames that our own decoder gives."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from longview.video.decoder import Decoder
from longview.video.errors import VideoError
from longview.video.probe import VideoInfo
from longview.video.timeline import Span

log = logging.getLogger(__name__)

FPS = 5.0
"""Frames a second that are compared: a cut is known to a fifth of a second, and is the first frame of the new shot."""
HEIGHT, WIDTH = 96, 160
"""Enough for the detector, which scales pictures down itself."""


def shot_starts(decoder: Decoder, video: VideoInfo, regions: Iterable[Span]) -> tuple[float, ...]:
    """Times of the first frames after cuts that lie inside the regions, in order; a region that cannot be decoded has none."""
    found: list[float] = []
    for region in regions:
        times_s = [region.start_s + index / FPS for index in range(int(region.duration_s * FPS) + 1)]
        try:
            chunks = list(decoder.frames_played_at(video, times_s, HEIGHT, WIDTH))
        except VideoError as error:
            log.info("%s: no cuts can be found from %.1f to %.1f s: %s", video.path.name, region.start_s, region.end_s, error)
            continue
        frames = [frame for chunk in chunks for frame in chunk.frames]
        shown_s = [float(time_s) for chunk in chunks for time_s in chunk.times_s]
        found += [shown_s[at] for at in shot_start_frames(frames) if region.contains(shown_s[at])]
    return tuple(found)


def shot_start_frames(frames: Sequence[np.ndarray]) -> list[int]:
    """Indices of the frames, RGB uint8 (H, W, 3), with which a new shot begins."""
    from scenedetect import FrameTimecode  # it brings OpenCV: half a second
    from scenedetect.detectors import ContentDetector

    detector = ContentDetector(min_scene_len=1)
    found = [
        cut.frame_num
        for index, frame in enumerate(frames)
        for cut in detector.process_frame(FrameTimecode(index, fps=FPS), np.ascontiguousarray(frame[..., ::-1]))
    ]
    return sorted(set(found))
