"""Removal of temporal patches that show what the patch before them shows, for devices on which every token is slow.

Slides, talks and surveillance show the same picture for seconds. Each patch has its own timestamp in the prompt, so leaving some
out moves no time. Something is shown at least every `MAX_GAP_S`, so that the checkpoint sees that time passes.
"""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.video.decoder import TimedFrames
from longview.video.sampler import FRAMES_PER_PATCH
from longview.video.timeline import Span

MAX_GAP_S = 8.0
"""Maximum time between two patches of an unchanged picture, in seconds."""
BLOCK_PX = 8
"""Side of the blocks that are compared, in pixels of the frames that the checkpoint gets. The noise of a codec averages out."""
CHANGE = 6.0
"""Mean absolute difference from which a block has changed, in levels of 255. A still slide of 1280x720 differed by up to 2 (x264,
CRF 23) and 4 (MPEG-4); see `longview.model.screen_text.changes`."""

Means = NDArray[np.float32]
"""Mean of each colour in each block, (rows, columns, 3)."""


def drop_static_patches(chunks: Iterable[TimedFrames]) -> Iterator[TimedFrames]:
    """Yield the chunks without patches in the middle of an unchanged picture.

    The first and the last patch of a picture are kept, so that the times at which it changes are known as without this. An odd
    last frame is yielded as it is.
    """
    kept: Means | None = None
    kept_s = 0.0
    last_static: TimedFrames | None = None
    rest = TimedFrames(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0))
    for chunk in chunks:
        joined = _join([part for part in (rest, chunk) if len(part)], ())
        frames, times_s = joined.frames, joined.times_s
        whole = len(times_s) - len(times_s) % FRAMES_PER_PATCH
        rest = TimedFrames(frames[whole:], times_s[whole:])
        patches: list[TimedFrames] = []
        for first in range(0, whole, FRAMES_PER_PATCH):
            pair = slice(first, first + FRAMES_PER_PATCH)
            patch = TimedFrames(frames[pair], times_s[pair])
            blocks = [_blocks(frame) for frame in patch.frames]
            is_static = kept is not None and not any(_differ(kept, one) for one in blocks)
            if is_static and patch.times_s[-1] - kept_s < MAX_GAP_S:
                last_static = patch
                continue
            if last_static is not None and not is_static:
                patches.append(last_static)
            patches.append(patch)
            kept, kept_s, last_static = blocks[-1], float(patch.times_s[-1]), None
        yield _join(patches, chunk.undecodable)
    yield _join([part for part in (last_static, rest) if part is not None and len(part)], ())


def _join(parts: Sequence[TimedFrames], undecodable: tuple[Span, ...]) -> TimedFrames:
    if not parts:
        return TimedFrames(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), undecodable)
    return TimedFrames(
        np.concatenate([part.frames for part in parts]), np.concatenate([part.times_s for part in parts]), undecodable
    )


def _blocks(frame: NDArray[np.uint8]) -> Means:
    """Return the mean of each colour in each block of a frame, RGB uint8 (H, W, 3)."""
    height, width = frame.shape[:2]
    size = (width // BLOCK_PX, height // BLOCK_PX)
    return np.asarray(cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _differ(before: Means, after: Means) -> bool:
    return before.shape != after.shape or bool((np.abs(before - after) >= CHANGE).any())
