"""Plans on the command line: frames, windows and costs."""

import re
from pathlib import Path

from tests.support.shell import Shell


def test_plan_states_frames_tokens_and_windows(shell: Shell, video: Path) -> None:
    plan = shell.call("plan", str(video))["frames"]
    for name in (
        "frames",
        "temporal_patches",
        "height",
        "width",
        "visual_tokens",
        "timestamp_tokens",
        "total_tokens",
        "patch_period_s",
        "windows",
    ):
        assert name in plan
    assert plan["words_tokens"] == 0
    assert plan["temporal_patches"] * 2 == plan["frames"]
    assert plan["visual_tokens"] == plan["temporal_patches"] * plan["height"] * plan["width"] // 1024
    smaller = shell.call("plan", str(video), "--context-tokens", "3000")["frames"]
    assert smaller["total_tokens"] <= 3000 < plan["total_tokens"]
    assert shell.call("plan", str(video), "--fps", "4")["frames"]["frames"] == 240
    assert shell.call("plan", str(video), "--fps", "40", code=1)["error"]["code"] == "impossible_plan"


def test_plan_states_the_cost_of_each_task_and_its_checks(shell: Shell, video_id: str) -> None:
    document = shell.call("plan", video_id)
    assert [(item["source"], item["action"]) for item in document["sources"]] == [
        ("subtitles", "decline"),
        ("speech", "decline"),
        ("screen_text", "keep"),
        ("captions", "keep"),
    ]
    checked = document["frames"]["costs"]
    free = shell.call("plan", video_id, "--no-verify", "--no-refine")["frames"]["costs"]
    assert checked["index"]["verify"] and checked["index"]["refine"] and not checked["index"]["is_exact"]
    assert checked["index"]["generations"] > free["index"]["generations"]
    assert (free["index"]["sessions"], free["index"]["generations"], free["index"]["is_exact"]) == (1, 1, True)
    assert (free["ask"]["sessions"], free["ask"]["generations"], free["ask"]["is_exact"]) == (1, 1, True)
    assert free["locate"]["verify"] and free["locate"]["refine"]
    printed = shell.run("plan", video_id, "--no-verify", "--no-refine", "--verbose").stdout
    assert re.search(
        r"^captions +1 session, 2,210 prompt tokens, 1 reply, about [\d.]+ s; captions are not verified and not refined$",
        printed,
        re.MULTILINE,
    )


def test_plan_of_a_part_has_at_most_the_requested_frames(shell: Shell, video_id: str) -> None:
    plan = shell.call("plan", video_id, "--start", "0:10", "--end", "30", "--max-frames", "30")["frames"]
    (window,) = plan["windows"]
    assert (window["start_s"], window["end_s"]) == (10.0, 30.0)
    assert plan["frames"] == 30
    assert plan["estimated_seconds"] > 0
    assert plan["estimated_bytes"] > 18_000_000
    message = shell.run("plan", video_id, "--max-frames", "4", code=1).stderr
    assert "4 frames are too few" in message and "takes 12" in message
