"""Decoded pictures carry their own frame number as a barcode: the picture and its time are checked against how the file was made."""

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from video.decoder import ReaderName, TimedFrames, read_frames
from video.errors import NotAVideo, UnreadableVideo, VideoError
from video.ffmpeg import ffmpeg_path
from video.probe import probe

WIDTH, HEIGHT, BLOCK = 160, 96, 32
FPS = 25
FRAMES = 600
"""24 seconds: with `-g 250` the key frames lie at 0, 10 and 20 seconds."""
BITS = 10


def barcode(number: int) -> NDArray[np.uint8]:
    """A gray frame of 3 rows of 5 blocks: a white corner, the number's bits, their parity, and three black blocks."""
    bits = [number >> place & 1 for place in range(BITS)]
    cells = np.array([1, *bits, sum(bits) % 2, 0, 0, 0], np.uint8).reshape(HEIGHT // BLOCK, WIDTH // BLOCK)
    return np.kron(cells, np.ones((BLOCK, BLOCK), np.uint8)) * 215 + 20


def number_read(frame: NDArray[np.uint8]) -> int:
    """The number in a decoded frame; -1 if it is damaged, turned or mirrored."""
    rows, columns = HEIGHT // BLOCK, WIDTH // BLOCK
    high, wide = frame.shape[0] // rows, frame.shape[1] // columns
    cells = frame.mean(axis=2).reshape(rows, high, columns, wide)[:, high // 4 : -(high // 4), :, wide // 4 : -(wide // 4)].mean(axis=(1, 3))
    first, *bits, parity, _, _, _ = (cells > 127).ravel().astype(int).tolist()
    if not first or sum(bits) % 2 != parity or (cells.ravel()[-3:] > 127).any():
        return -1
    return sum(bit << place for place, bit in enumerate(bits))


def encode(target: Path, *options: str, before: Sequence[str] = (), turn: int = 0) -> Path:
    frames = b"".join(np.rot90(barcode(number), turn).tobytes() for number in range(FRAMES))
    width, height = (HEIGHT, WIDTH) if turn % 2 else (WIDTH, HEIGHT)
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", str(FPS), *before, "-i", "pipe:"]
    run_ffmpeg(*source, "-pix_fmt", "yuv420p", *options, str(target), given=frames)
    return target


def run_ffmpeg(*arguments: str, given: bytes = b"") -> None:
    subprocess.run([ffmpeg_path(), "-y", "-hide_banner", "-loglevel", "error", *arguments], input=given, check=True, timeout=60)


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-sc_threshold", "0", "-g", "250", "-bf", "3")
SHORT_GOP = (*X264[:-3], "50", "-bf", "3")


def cfr(folder: Path) -> Path:
    return encode(folder / "cfr.mp4", *X264)

def open_gop(folder: Path) -> Path:
    return encode(folder / "open.mkv", *SHORT_GOP, "-x264-params", "open-gop=1")

def open_gop_mp4(folder: Path) -> Path:
    return encode(folder / "open.mp4", *SHORT_GOP, "-x264-params", "open-gop=1")

def hevc(folder: Path) -> Path:
    return encode(folder / "hevc.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=50:open-gop=1:bframes=3:pools=1")

def hevc_mkv(folder: Path) -> Path:
    return encode(folder / "hevc.mkv", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=50:open-gop=1:bframes=3:pools=1")

def dropped(folder: Path) -> Path:
    return encode(folder / "vfr.mkv", *X264, "-vf", "select='not(eq(mod(n,7),3))*not(between(n,200,260))'", "-fps_mode", "vfr")

def dropped_mp4(folder: Path) -> Path:
    return encode(folder / "vfr.mp4", *X264, "-vf", "select='not(eq(mod(n,7),3))*not(between(n,200,260))'", "-fps_mode", "vfr")

def all_late(folder: Path) -> Path:
    return encode(folder / "late.mkv", *X264, "-output_ts_offset", "10")

def all_late_mp4(folder: Path) -> Path:
    return encode(folder / "late.mp4", *X264, "-output_ts_offset", "10")

def sound_first(ext):
    def f(folder: Path) -> Path:
        return encode(folder / f"sound_first{ext}", *X264, "-c:a", "aac", "-shortest",  before=("-f", "lavfi", "-i", "sine=duration=24") if 0 else ("-itsoffset", "1.075"))
    return f

def sound_first(ext, *opt):
    def f(folder: Path) -> Path:
        cfr_ = encode(folder / "x.mp4", *opt or X264)
        run_ffmpeg("-f", "lavfi", "-i", "sine=duration=24", "-itsoffset", "1.075", "-i", str(cfr_), "-map", "0:a", "-map", "1:v", "-c:v", "copy", str(folder / f"sf{ext}"))
        return folder / f"sf{ext}"
    return f

def turned(deg):
    def f(folder):
        plain = encode(folder / "plain.mp4", *X264, turn=-deg // 90)
        run_ffmpeg("-display_rotation", str(deg), "-i", str(plain), "-c", "copy", str(folder / "t.mp4"))
        return folder / "t.mp4"
    return f

def remux(ext, *opt):
    def f(folder):
        return encode(folder / f"f{ext}", *opt)
    return f

def cut(folder):
    plain = encode(folder / "plain.mp4", *X264)
    run_ffmpeg("-ss", "3.32", "-i", str(plain), "-c", "copy", str(folder / "t.mp4"))
    return folder / "t.mp4"

ALL = range(FRAMES)
KEPT = [n for n in ALL if n % 7 != 3 and not 200 <= n <= 260]
def at25(n): return n / FPS
KINDS = {
 "cfr": (cfr, ALL, at25), "open": (open_gop, ALL, at25), "openmp4": (open_gop_mp4, ALL, at25), "hevc": (hevc, ALL, at25), "hevcmkv": (hevc_mkv, ALL, at25),
 "vfr": (dropped, KEPT, at25), "vfrmp4": (dropped_mp4, KEPT, at25),
 "late": (all_late, ALL, at25), "latemp4": (all_late_mp4, ALL, at25), 
 "sfmp4": (sound_first(".mp4"), ALL, lambda n: n/25+1.075),"sfmkv": (sound_first(".mkv"), ALL, lambda n: n/25+1.075),"sfts": (sound_first(".ts"), ALL, lambda n: n/25+1.075),
 "sfflv": (sound_first(".flv"), ALL, lambda n: n/25+1.075),
 "sfavi": (sound_first(".avi", "-c:v", "mpeg4", "-g","50"), ALL, lambda n: n/25+1.075),
 "rot90": (turned(90), ALL, at25), "rot180": (turned(180), ALL, at25), "rot270": (turned(-90), ALL, at25),
 "ts": (remux(".ts", *X264), ALL, at25), "ps": (remux(".mpg", "-c:v", "mpeg2video", "-g", "50", "-bf", "2", "-q:v", "4"), ALL, at25),
 "avi": (remux(".avi", "-c:v", "mpeg4", "-g", "50", "-q:v", "4"), ALL, at25),
 "avib": (remux(".avi", "-c:v", "mpeg4", "-g", "50", "-bf", "2", "-q:v", "4"), ALL, at25),
 "avih264": (remux(".avi", *X264), ALL, at25),
 "mjpeg": (remux(".avi", "-c:v", "mjpeg", "-q:v", "4"), ALL, at25),
 "vp9": (remux(".webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "100", "-b:v", "300k"), ALL, at25),
 "vp8": (remux(".webm", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "100", "-b:v", "300k"), ALL, at25),
 "av1": (remux(".mp4", "-c:v", "libsvtav1", "-preset", "12", "-g", "100", "-svtav1-params", "lp=1"), ALL, at25),
 "flv": (remux(".flv", *X264), ALL, at25), "ntsc": (remux(".mkv", "-vf", "settb=1/90000,setpts=N*3003", "-r", "30000/1001", *X264), ALL, lambda n: n*1001/30000),
 "ntscmp4": (remux(".mp4", "-vf", "settb=1/90000,setpts=N*3003", "-r", "30000/1001", *X264), ALL, lambda n: n*1001/30000),
 "frag": (remux(".mp4", "-movflags", "frag_keyframe+empty_moov", *SHORT_GOP), ALL, at25),
 "wmv": (remux(".wmv", "-c:v", "wmv2", "-g", "50", "-b:v", "500k"), ALL, at25),
 "ogv": (remux(".ogv", "-c:v", "libtheora", "-g", "50", "-q:v", "6"), ALL, at25),
 "mxf": (remux(".mxf", "-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "4"), ALL, at25),
 "nut": (remux(".nut", *X264), ALL, at25),
 "gif": (remux(".gif", "-pix_fmt", "gray"), ALL, at25),
 "h264raw": (remux(".h264", *X264), ALL, at25),
 "cut": (cut, range(83, 600), lambda n: n/25-3.32),
}
