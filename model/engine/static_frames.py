"""Removal of temporal patches that show what the patch before them shows, for devices on which every token is slow.

Slides, talks and surveillance show the same picture for seconds. Each patch has its own timestamp in the prompt, so leaving some
out moves no time. Something is shown at least every `MAX_GAP_S`, so that the checkpoint sees that time passes.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.video.decoder import TimedFrames
from longview.video.sampler import FRAMES_PER_PATCH

MAX_GAP_S = 8.0
"""Maximum time between two patches of an unchanged picture, in seconds."""
BLOCK_PX = 8
"""Side of the blocks that are compared, in pixels of the frames that the checkpoint gets. The noise of a codec averages out."""
CHANGE = 6.0
"""Mean absolute difference from which a block has changed, in levels of 255. A still slide of 1280x720 differed by up to 2 (x264,
CRF 23) and 4 (MPEG-4); see `longview.model.screen_text.changes`."""


def drop_static_patches(chunks: Iterable[TimedFrames]) -> Iterator[TimedFrames]:
    """Yield the chunks without patches that look like the last one that was yielded; an odd last frame is yielded as it is."""
    kept: NDArray[np.float32] | None = None
    kept_s = 0.0
    rest: TimedFrames | None = None
    for chunk in chunks:
        frames, times_s = chunk.frames, chunk.times_s
        if rest is not None and len(rest):
            frames = np.concatenate([rest.frames, frames]) if len(chunk) else rest.frames
            times_s = np.concatenate([rest.times_s, times_s])
        whole = len(times_s) - len(times_s) % FRAMES_PER_PATCH
        rest = TimedFrames(frames[whole:], times_s[whole:])
        indices: list[int] = []
        for first in range(0, whole, FRAMES_PER_PATCH):
            pair = [_blocks(frame) for frame in frames[first : first + FRAMES_PER_PATCH]]
            is_static = (
                kept is not None and times_s[first + 1] - kept_s < MAX_GAP_S and not any(_differ(kept, one) for one in pair)
            )
            if not is_static:
                kept, kept_s = pair[-1], float(times_s[first + 1])
                indices += [first, first + 1]
        yield TimedFrames(frames[indices], times_s[indices], chunk.undecodable)
    if rest is not None and len(rest):
        yield rest


def _blocks(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean grey level of each block of a frame, RGB uint8 (H, W, 3)."""
    height, width = frame.shape[:2]
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.resize(grey, (width // BLOCK_PX, height // BLOCK_PX), interpolation=cv2.INTER_AREA), np.float32)


def _differ(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    return before.shape != after.shape or bool((np.abs(before - after) >= CHANGE).any())
