"""What Longview's sampler chooses for Qwen3-VL, beside qwen-vl-utils' choice: the table in docs/video.md.

    python -m benchmarks.compare_plans [--width W] [--height H] [--fps F] [--context N]

Pure arithmetic, no video is decoded. Without qwen-vl-utils (`pip install --no-deps qwen-vl-utils requests`) its columns
are left out.
"""

import argparse
import math
from pathlib import Path

from longview.model.engine.base import REPLY_RESERVE_TOKENS
from longview.model.engine.checkpoints import QWEN3_VL
from longview.video.probe import VideoInfo
from longview.video.sampler import Budget, plan_sampling
from longview.video.time_text import format_time

DURATIONS_S = (10, 60, 600, 3600, 7200, 43200)


def marker_tokens(time_s: float) -> int:
    """By Qwen's tokenizer: one token a character of the number, three around it, and vision start and end."""
    return len(f"{time_s:.1f}") + 5


def ours(video: VideoInfo, context: int) -> str:
    """One row's columns for Longview."""
    chosen = plan_sampling(video, Budget(context, REPLY_RESERVE_TOKENS, QWEN3_VL, marker_tokens))
    frames = len(chosen.windows[0].times_s)
    windows = f" in each of {len(chosen.windows)} windows" if len(chosen.windows) > 1 else ""
    return f"{frames} of {chosen.width}x{chosen.height}{windows} | {max(chosen.window_tokens):,} | {chosen.patch_period_s:.2f}"


def theirs(video: VideoInfo, total_tokens: int | None, max_frames: int | None) -> str:
    """The same for `qwen_vl_utils.fetch_video(..., image_patch_size=16)`, whose sizes are chosen as here."""
    from qwen_vl_utils import vision_process as peer

    side = 16 * peer.SPATIAL_MERGE_SIZE
    total = round(video.duration_s * video.fps_nominal)
    wish = {"max_frames": min(max_frames, total)} if max_frames else {}
    frames = peer.smart_nframes(wish, total, video.fps_nominal)
    min_pixels = peer.VIDEO_MIN_TOKEN_NUM * side * side
    total_pixels = total_tokens * side * side if total_tokens else peer.MODEL_SEQ_LEN * side * side * 0.9
    share = total_pixels / frames * peer.FRAME_FACTOR
    max_pixels = max(min(peer.VIDEO_MAX_TOKEN_NUM * side * side, share), int(min_pixels * 1.05))
    height, width = peer.smart_resize(video.height, video.width, factor=side, min_pixels=min_pixels, max_pixels=max_pixels)
    patches = math.ceil(frames / 2)
    tokens = patches * (height // side) * (width // side)
    # A marker of the patch's time, and vision start and end, which its own budget does not count.
    tokens += sum(marker_tokens((index + 0.5) * video.duration_s / patches) for index in range(patches))
    return f"{frames} of {width}x{height} | {tokens:,} | {2 * video.duration_s / frames:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--context", type=int, default=262_144)
    options = parser.parse_args()
    try:
        import qwen_vl_utils  # noqa: F401
    except ImportError:
        peers = False
    else:
        peers = True
    columns = ["Longview: frames", "tokens", "grain s"]
    if peers:
        columns += ["qwen-vl-utils as it comes", "tokens", "grain s", "qwen-vl-utils at 224K", "tokens", "grain s"]
    print("| length | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for duration_s in DURATIONS_S:
        video = VideoInfo(
            Path("video.mp4"), "", float(duration_s), options.width, options.height, 0, options.fps, False, 0.0, 0, "h264", "mp4",
            "yuv420p", 1,
        )  # fmt: skip
        cells = [format_time(duration_s)[:-2], ours(video, options.context)]
        if peers:
            cells += [theirs(video, None, None), theirs(video, 224 * 1024, 2048)]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
