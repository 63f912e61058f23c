"""Batches of decoded frames as whole temporal patches, which need no PyTorch."""

from collections.abc import Iterable, Iterator

import numpy as np

from longview.core.timeline import Span, merge_spans
from longview.video.decoding.decoder import TimedFrames
from longview.video.sampling_plan import FRAMES_PER_PATCH, PATCH_SIDE_PX

MS_PER_SECOND = 1000
"""Milliseconds per second. The processor gets frame times as frame indices of a 1,000 fps video, exact for any frame rate."""
CHUNK_TOKENS = {"cuda": 8192, "xpu": 8192, "mps": 2048, "cpu": 1024}
"""Visual tokens per chunk, by device type: enough to keep the device busy, and few enough for its memory."""


def patch_timestamp_s(first_ms: int, last_ms: int) -> float:
    """Return the timestamp in the prompt of a patch whose frames are at these times: their mean in seconds, to one decimal.

    The operations and their order are those of transformers (`Qwen3VLProcessor._calculate_timestamps`). In another order, some
    means just between two tenths are rounded to the other one.
    """
    return float(f"{(first_ms / MS_PER_SECOND + last_ms / MS_PER_SECOND) / 2:.1f}")


class FrameBatcher:
    """A batcher of decoded frames. It counts them and collects the undecodable spans."""

    def __init__(self) -> None:
        self.frames = 0
        self.undecodable: tuple[Span, ...] = ()

    def chunks(self, chunks: Iterable[TimedFrames], device: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield chunks of whole temporal patches: pixels (2n, H, W, 3) and times (2n,).

        `CHUNK_TOKENS` limits the size of a chunk. An odd last frame is repeated.
        """
        pixels: list[np.ndarray] = []
        times_s: list[np.ndarray] = []
        frame_count = 0
        for chunk in chunks:
            self.undecodable = merge_spans([*self.undecodable, *chunk.undecodable])
            self.frames += len(chunk)
            if not len(chunk):
                continue
            pixels.append(chunk.frames)
            times_s.append(chunk.times_s)
            frame_count += len(chunk)
            tokens_per_patch = chunk.frames.shape[1] * chunk.frames.shape[2] // PATCH_SIDE_PX**2
            size = max(1, CHUNK_TOKENS[device] // tokens_per_patch) * FRAMES_PER_PATCH
            while frame_count >= size:
                all_pixels, all_times_s = np.concatenate(pixels), np.concatenate(times_s)
                yield all_pixels[:size], all_times_s[:size]
                pixels, times_s, frame_count = [all_pixels[size:]], [all_times_s[size:]], frame_count - size
        if frame_count:
            all_pixels, all_times_s = np.concatenate(pixels), np.concatenate(times_s)
            if frame_count % FRAMES_PER_PATCH:
                all_pixels, all_times_s = np.concatenate([all_pixels, all_pixels[-1:]]), np.append(all_times_s, all_times_s[-1])
            yield all_pixels, all_times_s
