"""Time and memory to make the waveform of a generated file, beside ffmpeg, which only decodes the same sound.

Run from the checkout: `python -m benchmarks.bench_waveform [--hours 1] [--rounds 3]`. Both are measured in turn in the same run.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from longview.video.decoding.audio import select_audio_stream
from longview.video.ffmpeg import ffmpeg_path
from longview.video.probing.probe import probe
from longview.video.waveform import waveform

SOUND = "anoisesrc=r=48000:c=pink:a=0.5:d={seconds}"
PICTURES = "testsrc2=s=320x180:r=10:d={seconds}"
CODECS = {
    "aac.mp4": ("aac", "128k"),
    "mp3.mkv": ("libmp3lame", "128k"),
    "ac3.mkv": ("ac3", "384k"),
    "pcm.mov": ("pcm_s16le", "1536k"),
}
"""Codec and bit rate of the sound by the kind of file."""


def generate(folder: Path, name: str, hours: float) -> Path:
    """Write a video with stereo sound of a codec, or of six channels for AC-3."""
    path, seconds = folder / name, hours * 3600
    codec, bit_rate = CODECS[name]
    inputs = [argument for source in (PICTURES, SOUND) for argument in ("-f", "lavfi", "-i", source.format(seconds=seconds))]
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "100", "-ac", "6" if codec == "ac3" else "2"]
    subprocess.run([ffmpeg_path(), "-v", "error", *inputs, *options, "-c:a", codec, "-b:a", bit_rate, str(path)], check=True)
    return path


def decode(path: Path) -> float:
    """Return the time in which ffmpeg decodes the sound of a file, in seconds."""
    start = time.monotonic()
    subprocess.run([ffmpeg_path(), "-v", "error", "-nostdin", "-i", str(path), "-vn", "-f", "null", "-"], check=True)
    return time.monotonic() - start


def main() -> None:
    """Print a row for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="length of the files")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())} at the start\n")
    print(
        "| file | hours | ffmpeg s | waveform s | ratio | peak memory of this process MB |\n| --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in CODECS:
            path = generate(Path(folder), name, arguments.hours)
            video = probe(path)
            stream = select_audio_stream(video, None)
            ffmpeg_s, waveform_s = [], []
            for _ in range(arguments.rounds):
                ffmpeg_s.append(decode(path))
                start = time.monotonic()
                waveform(video, stream.index)
                waveform_s.append(time.monotonic() - start)
            ratio = statistics.median(waveform_s) / statistics.median(ffmpeg_s)
            memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            times = f"{statistics.median(ffmpeg_s):.2f} | {statistics.median(waveform_s):.2f}"
            print(f"| {name} | {arguments.hours:g} | {times} | {ratio:.2f} | {memory_mb:.0f} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
