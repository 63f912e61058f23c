"""ffprobe as an independent oracle for the files of `tests.support.media_samples`, run live or from stored results.

python -m tests.support.ffprobe_oracle      updates tests/golden/probe.json
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.media_samples import SAMPLES, make

GOLDEN = Path(__file__).parents[1] / "golden" / "probe.json"


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return the JSON that ffprobe prints about a file."""
    command = ["ffprobe", "-v", "error", "-of", "json", *arguments, f"file:{path}"]
    output = subprocess.run(command, check=True, timeout=120, capture_output=True).stdout
    document: dict[str, Any] = json.loads(output)
    return document


def facts(path: Path) -> dict[str, Any]:
    """Return the metadata that ffprobe reports, in the terms of `VideoInfo`: displayed size, times in seconds."""
    document = ffprobe(path, "-show_format", "-show_streams", "-show_chapters")
    streams = document["streams"]
    video = next(s for s in streams if s["codec_type"] == "video" and not s["disposition"]["attached_pic"])
    rotation = next((side["rotation"] for side in video.get("side_data_list", []) if "rotation" in side), 0)
    aspect_width, aspect_height = map(int, video.get("sample_aspect_ratio", "1:1").split(":"))
    width, height = video["width"], video["height"]
    if aspect_width >= aspect_height:
        width = round(width * aspect_width / aspect_height)
    else:
        height = round(height * aspect_height / aspect_width)
    frames = ffprobe(path, "-select_streams", str(video["index"]), "-show_entries", "frame=best_effort_timestamp_time")["frames"]
    times_s = [float(frame["best_effort_timestamp_time"]) for frame in frames if "best_effort_timestamp_time" in frame]
    start_s = float(document["format"]["start_time"])
    return {
        "codec": video["codec_name"],
        "container": document["format"]["format_name"],
        "pixel_format": video["pix_fmt"],
        "width": height if abs(rotation) == 90 else width,
        "height": width if abs(rotation) == 90 else height,
        "rotation_deg": -rotation % 360,
        "start_offset_s": start_s,
        "last_frame_s": round(times_s[-1] - start_s, 3),
        "frames": len(times_s),
        "audio_streams": [
            [
                *(stream["index"], stream["codec_name"], stream.get("tags", {}).get("language")),
                *(bool(stream["disposition"]["default"]), stream["channels"], int(stream["sample_rate"])),
            ]
            for stream in streams
            if stream["codec_type"] == "audio"
        ],
        "subtitle_codecs": [s["codec_name"] for s in streams if s["codec_type"] == "subtitle"],
        "chapters": [
            [round(float(c["start_time"]), 3), round(float(c["end_time"]), 3), c["tags"]["title"]] for c in document["chapters"]
        ],
    }


def main() -> None:
    """Store the results of the installed ffprobe."""
    if shutil.which("ffprobe") is None:
        raise SystemExit("ffprobe is not installed; install FFmpeg.")
    with tempfile.TemporaryDirectory() as folder:
        results = {name: facts(make(Path(folder), name)) for name in SAMPLES}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
