"""Selection of the temporal patches that show something new, for devices on which every token is slow.

Both sides of a cut are kept, and of the moments at which a picture begins or ceases to move. Within a moving shot a patch every
four seconds is kept, so that shorter events can be missed, and of a still picture one every eight seconds. Each patch has its own
timestamp in the prompt, so leaving some out moves no time.
"""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from longview.core.timeline import Span
from longview.video.decoding.decoder import TimedFrames
from longview.video.sampling_plan import FRAMES_PER_PATCH
from longview.video.shots import ShotDetector

MAX_STILL_GAP_S = 8.0
"""Time between two patches of an unchanged picture, in seconds. The checkpoint has to see that time passes."""
MAX_SHOT_GAP_S = 4.0
"""Time between two patches of a moving shot, in seconds, where patches are further apart than `MIN_SPARSE_PERIOD_S`."""
MIN_SPARSE_PERIOD_S = 1.9
"""Minimum time between two patches, in seconds, from which some of a moving shot are left out. A denser grid was chosen for its
resolution in time: the clips of refinement, or a rate that the user asks for."""
GAP_SLACK = 0.25
"""Part of the time between two patches by which a gap may be longer, because frames are displayed at times beside the grid."""
BLOCK_PX = 8
"""Side of the blocks that are compared, in pixels of the frames that the checkpoint gets. The noise of a codec averages out."""
CHANGE = 6.0
"""Mean absolute difference from which a block has changed, in levels of 255. A still slide of 1280x720 differed by up to 2 (x264,
CRF 23) and 4 (MPEG-4); see `longview.model.screen_text.changes`."""

Means = NDArray[np.float32]
"""Mean of each colour in each block, (rows, columns, 3)."""


def kept_patches_period_s(period_s: float) -> float:
    """Return the time between the patches that are kept of a moving shot, in seconds. `period_s`: that between all patches."""
    if period_s < MIN_SPARSE_PERIOD_S:
        return period_s
    return period_s * max(1, int(MAX_SHOT_GAP_S / period_s + GAP_SLACK))


def select_patches(chunks: Iterable[TimedFrames]) -> Iterator[TimedFrames]:
    """Yield the chunks without the temporal patches that show little new.

    The first and the last patch of the video are kept. An odd last frame is yielded as it is.
    """
    selection = _Selection()
    rest = TimedFrames(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0))
    for chunk in chunks:
        joined_chunk = _join([part for part in (rest, chunk) if len(part)], ())
        frames, times_s = joined_chunk.frames, joined_chunk.times_s
        whole = len(times_s) - len(times_s) % FRAMES_PER_PATCH
        rest = TimedFrames(frames[whole:], times_s[whole:])
        patches: list[TimedFrames] = []
        for first in range(0, whole, FRAMES_PER_PATCH):
            pair = slice(first, first + FRAMES_PER_PATCH)
            patches += selection.add(TimedFrames(frames[pair], times_s[pair]))
        yield _join(patches, chunk.undecodable)
    yield _join([part for part in (selection.left_out, rest) if part is not None and len(part)], ())


class _Selection:
    """The patches of a video so far, one after another."""

    def __init__(self) -> None:
        self.left_out: TimedFrames | None = None
        """The last patch, if it was left out."""
        self._shots = ShotDetector()
        self._kept_means: Means | None = None
        self._last: Means | None = None
        self._kept_s = self._last_s = 0.0
        self._moves = False

    def add(self, patch: TimedFrames) -> list[TimedFrames]:
        """Return the patches that are kept now: none, this one, or the one before and this one."""
        blocks = [_block_means(frame) for frame in patch.frames]
        # The detector has to see each frame.
        cuts = [self._shots.starts_shot(frame) for frame in patch.frames]
        start_s = float(patch.times_s[0])
        period_s = start_s - self._last_s
        has_changed = self._last is not None and _change([self._last, *blocks])
        # What changes from one patch to the next, but not within them, does not move: each such change is kept.
        is_boundary = any(cuts) or has_changed != self._moves
        is_kept = self._kept_means is None or is_boundary or self._is_due(blocks, start_s, period_s, moves=has_changed)
        patches = [self.left_out] if self.left_out is not None and is_boundary else []
        self._last, self._last_s, self._moves = blocks[-1], start_s, _change(blocks)
        self.left_out = None if is_kept else patch
        if not is_kept:
            return []
        self._kept_means, self._kept_s = blocks[-1], start_s
        return [*patches, patch]

    def _is_due(self, blocks: Sequence[Means], start_s: float, period_s: float, *, moves: bool) -> bool:
        """Whether the gap would be too long without a patch, or whether a picture has changed slowly since the last kept one."""
        gap_s = start_s + period_s * (1 - GAP_SLACK) - self._kept_s
        if moves:
            return period_s < MIN_SPARSE_PERIOD_S or gap_s > MAX_SHOT_GAP_S
        return gap_s > MAX_STILL_GAP_S or (self._kept_means is not None and _change([self._kept_means, *blocks]))


def _join(parts: Sequence[TimedFrames], undecodable: tuple[Span, ...]) -> TimedFrames:
    if not parts:
        return TimedFrames(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0), undecodable)
    return TimedFrames(
        np.concatenate([part.frames for part in parts]), np.concatenate([part.times_s for part in parts]), undecodable
    )


def _block_means(frame: NDArray[np.uint8]) -> Means:
    """Return the mean of each colour in each block of a frame, RGB uint8 (H, W, 3)."""
    height, width = frame.shape[:2]
    size = (width // BLOCK_PX, height // BLOCK_PX)
    return np.asarray(cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _change(pictures: Sequence[Means]) -> bool:
    """Whether a block of the first picture has another colour in a later one."""
    first = pictures[0]
    return any(first.shape != one.shape or bool((np.abs(first - one) >= CHANGE).any()) for one in pictures[1:])
