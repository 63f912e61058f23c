"""Sample videos with known metadata in every supported container and codec, rendered by ffmpeg."""

import subprocess
from pathlib import Path

from longview.video.ffmpeg import ffmpeg_path

VIDEO = "testsrc2=duration=3:rate=25:size=160x120"
AUDIO = "sine=duration=3:sample_rate=44100"
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:keyint=25:bframes=2")
AAC = ("-c:a", "aac")

SAMPLES: dict[str, tuple[str, ...]] = {
    "h264.mp4": (*X264, *AAC),
    "h264.mov": (*X264, *AAC),
    "h264.mkv": (*X264, *AAC),
    "h264.avi": ("-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "libmp3lame"),
    "h264.ts": (*X264, *AAC),
    "h264.flv": (*X264, *AAC),
    "hevc8.mp4": (*X265, "-pix_fmt", "yuv420p", "-tag:v", "hvc1", *AAC),
    "hevc10.mkv": (*X265, "-pix_fmt", "yuv420p10le", *AAC),
    "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "300k", "-c:a", "libvorbis"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-c:a", "libopus"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", *AAC),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-b:v", "800k", "-bf", "2", "-c:a", "mp2"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "4", "-c:a", "libmp3lame"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "5", "-c:a", "libvorbis"),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "0", "-c:a", "pcm_s16le"),
    "flash.flv": ("-c:v", "flv", "-b:v", "400k", "-c:a", "libmp3lame", "-ar", "44100"),
    "loop.gif": ("-an",),
    "variable.mkv": ("-vf", "select='not(mod(n,4))+lt(n,20)'", "-fps_mode", "vfr", *X264, *AAC),
    "wide pixels.mp4": ("-vf", "setsar=4/3", *X264, *AAC),
    "starts late.mkv": (*X264, *AAC, "-output_ts_offset", "10"),
    "chapters.mkv": (*X264, *AAC),
    "subtitles.mp4": (*X264, *AAC, "-c:s", "mov_text"),
    "turned.mp4": (*X264, *AAC),
    "edited.mp4": (*X264, *AAC),
}

CHAPTERS = ";FFMETADATA1\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n"
    for start, end, title in ((0, 1500, "One"), (1500, 3000, "Two"))
)
SUBTITLES = "1\n00:00:00,500 --> 00:00:02,000\nHello\n"


def make(folder: Path, name: str) -> Path:
    """Render the sample of that name: 3 seconds, 25 frames per second, 160x120 pixels as stored."""
    target = folder / name
    inputs, maps = ["-f", "lavfi", "-i", VIDEO, "-f", "lavfi", "-i", AUDIO], ["-map", "0:v"]
    maps += [] if name.endswith(".gif") else ["-map", "1:a"]
    if name.startswith("chapters"):
        (folder / "chapters.txt").write_text(CHAPTERS)
        inputs += ["-i", str(folder / "chapters.txt")]
        maps += ["-map_metadata", "2"]
    if name.startswith("subtitles"):
        (folder / "words.srt").write_text(SUBTITLES)
        inputs += ["-i", str(folder / "words.srt")]
        maps += ["-map", "2:s"]
    source = target.with_name(f"source {name}") if name.startswith(("turned", "edited")) else target
    _run(*inputs, *maps, "-metadata:s:a:0", "language=kor", *SAMPLES[name], str(source))
    if name.startswith("turned"):
        _run("-display_rotation", "90", "-i", str(source), "-c", "copy", str(target))
    if name.startswith("edited"):
        _run("-ss", "1.3", "-i", str(source), "-c", "copy", str(target))
    return target


def _run(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-y", "-v", "error", *arguments], check=True, timeout=60, capture_output=True)
