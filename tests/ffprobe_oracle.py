"""ffprobe as an independent witness: what it says of files that `tests.media_samples` makes, live or as it was written down.

python -m tests.oracle      writes tests/golden/probe.json anew
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.media_samples import KINDS, make

GOLDEN = Path(__file__).parent / "golden" / "probe.json"


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """ffprobe's JSON about a file."""
    command = ["ffprobe", "-v", "error", "-of", "json", *arguments, f"file:{path}"]
    said = subprocess.run(command, check=True, timeout=120, capture_output=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def facts(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file, in our terms: sizes as displayed, times in seconds."""
    said = ffprobe(path, "-show_format", "-show_streams", "-show_chapters")
    streams = said["streams"]
    video = next(s for s in streams if s["codec_type"] == "video" and not s["disposition"]["attached_pic"])
    turn = next((side["rotation"] for side in video.get("side_data_list", []) if "rotation" in side), 0)
    wide, high = map(int, video.get("sample_aspect_ratio", "1:1").split(":"))
    width, height = video["width"], video["height"]
    width, height = (round(width * wide / high), height) if wide >= high else (width, round(height * high / wide))
    frames = ffprobe(path, "-select_streams", str(video["index"]), "-show_entries", "frame=best_effort_timestamp_time")["frames"]
    times_s = [float(frame["best_effort_timestamp_time"]) for frame in frames if "best_effort_timestamp_time" in frame]
    start_s = float(said["format"]["start_time"])
    return {
        "codec": video["codec_name"],
        "container": said["format"]["format_name"],
        "pixel_format": video["pix_fmt"],
        "width": height if abs(turn) == 90 else width,
        "height": width if abs(turn) == 90 else height,
        "rotation_deg": -turn % 360,
        "start_offset_s": start_s,
        "last_frame_s": round(times_s[-1] - start_s, 3),
        "frames": len(times_s),
        "audio_codecs": [s["codec_name"] for s in streams if s["codec_type"] == "audio"],
        "subtitle_codecs": [s["codec_name"] for s in streams if s["codec_type"] == "subtitle"],
        "chapters": [
            [round(float(c["start_time"]), 3), round(float(c["end_time"]), 3), c["tags"]["title"]] for c in said["chapters"]
        ],
    }


def main() -> None:
    """Write down what the installed ffprobe says."""
    if shutil.which("ffprobe") is None:
        raise SystemExit("ffprobe is not installed.")
    with tempfile.TemporaryDirectory() as folder:
        found = {name: facts(make(Path(folder), name)) for name in KINDS}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
