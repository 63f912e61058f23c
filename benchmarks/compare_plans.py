"""Sampling plans of Longview for Qwen3-VL beside those of qwen-vl-utils: the table in docs/video.md.

    python -m benchmarks.compare_plans [--width W] [--height H] [--fps F] [--context N]

No video is decoded. Without qwen-vl-utils (`pip install --no-deps qwen-vl-utils requests`) its columns are left out.
"""

import argparse
import math
from pathlib import Path

from longview.core.time_format import format_time
from longview.model.engine.base import REPLY_RESERVE_TOKENS
from longview.model.engine.checkpoints.profiles import find_profile
from longview.video.probing.probe import VideoInfo
from longview.video.sampler import plan_sampling
from longview.video.sampling_plan import Budget

DURATIONS_S = (10, 60, 600, 3600, 7200, 43200)


def timestamp_tokens(time_s: float) -> int:
    """Count the tokens of a timestamp as Qwen's tokenizer does: one per character, three around them, vision start and end."""
    return len(f"{time_s:.1f}") + 5


def longview_cells(video: VideoInfo, context_tokens: int) -> str:
    """Return the cells of a row for Longview."""
    plan = plan_sampling(
        video, Budget(context_tokens, REPLY_RESERVE_TOKENS, find_profile("qwen3_vl").trained_range, timestamp_tokens)
    )
    frames = len(plan.windows[0].times_s)
    windows = f" in each of {len(plan.windows)} windows" if len(plan.windows) > 1 else ""
    return f"{frames} of {plan.width}x{plan.height}{windows} | {max(plan.window_tokens):,} | {plan.patch_period_s:.2f}"


def qwen_cells(video: VideoInfo, total_tokens: int | None, max_frames: int | None) -> str:
    """Return the cells for `qwen_vl_utils.fetch_video(..., image_patch_size=16)`, by the same calls."""
    from qwen_vl_utils import vision_process as qwen

    side = 16 * qwen.SPATIAL_MERGE_SIZE
    total = round(video.duration_s * video.fps_nominal)
    limits = {"max_frames": min(max_frames, total)} if max_frames else {}
    frames = qwen.smart_nframes(limits, total, video.fps_nominal)
    min_pixels = qwen.VIDEO_MIN_TOKEN_NUM * side * side
    total_pixels = total_tokens * side * side if total_tokens else qwen.MODEL_SEQ_LEN * side * side * 0.9
    share = total_pixels / frames * qwen.FRAME_FACTOR
    max_pixels = max(min(qwen.VIDEO_MAX_TOKEN_NUM * side * side, share), int(min_pixels * 1.05))
    height, width = qwen.smart_resize(video.height, video.width, factor=side, min_pixels=min_pixels, max_pixels=max_pixels)
    patches = math.ceil(frames / 2)
    tokens = patches * (height // side) * (width // side)
    # Its own budget does not count timestamps, vision start and vision end.
    tokens += sum(timestamp_tokens((index + 0.5) * video.duration_s / patches) for index in range(patches))
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
        has_qwen = False
    else:
        has_qwen = True
    columns = ["Longview: frames", "tokens", "patch period s"]
    if has_qwen:
        columns += ["qwen-vl-utils by default", "tokens", "patch period s"]
        columns += ["qwen-vl-utils at 224K", "tokens", "patch period s"]
    print("| length | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for duration_s in DURATIONS_S:
        video = VideoInfo(
            Path("video.mp4"), "", float(duration_s), options.width, options.height, 0, options.fps, False, 0.0, 0, "h264", "mp4",
            "yuv420p", 1,
        )  # fmt: skip
        cells = [format_time(duration_s)[:-2], longview_cells(video, options.context)]
        if has_qwen:
            cells += [qwen_cells(video, None, None), qwen_cells(video, 224 * 1024, 2048)]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
