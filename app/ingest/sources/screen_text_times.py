"""How long the text on screen of a video takes to read, from what a look at it has shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longview.app.ingest.media_look import PictureLook
from longview.video.probing.probe import VideoInfo

LOADING_S = 0.8
"""Time until the text models are loaded on the machine of reference, in seconds."""
DETECTION_S = 0.2
"""Time to find the lines in a frame of `DETECTED_PX` there, in seconds. (Two cores; 0.15 to 0.3 beside other programs.)"""
DETECTED_PX = 640 * 360
"""Size of a frame in which lines are sought, in pixels; larger ones are reduced to it."""
MIN_SLOWNESS, MAX_SLOWNESS = 0.2, 5.0
"""Limits of the ratio of the time of a detection on this machine to `DETECTION_S`: a single measurement can be far off."""
CUT_FRAMES, MAX_FILM_LINES = 1.5, 5
"""Frames that are read of moving pictures, as a multiple of their seconds, and maximum number of lines in them: the first frames
of shots are read, too, and a page of text has no shots. (1.48 and 1.52 for two films, 1.0 for a terminal.)"""
MIN_AREA = 0.15
"""Share of the time of a frame that the smallest region takes."""
LINE_S = 0.07
"""Time to recognise a line there, in seconds."""
COMPARISON_S_PER_SECOND = 0.015
"""Time to compare the frames of a second there, in seconds."""
DECODING_S_PER_PIXEL = 2.2e-9
"""Time to decode a pixel of the video there, in seconds: 0.05 s for a second of 1280x720 with 25 frames."""
MIN_DECODING_S_PER_SECOND = 0.01
OVERLAP = 0.5
"""Share of the shorter of decoding and reading that takes place while the machine does the longer one."""
NEW_LINE_SHARE, MAX_NEW_LINES = 0.5, 2.5
"""Share of a frame's lines that are new after a change, and their maximum number on average: a page that scrolls keeps most."""
LOOK_WEIGHT = 10.0
"""Weight of the time of a detection that a look has measured, next to earlier runs, in seconds on the machine of reference.

Runs on other kinds of pictures tell less: lines of slides take longer than those of a terminal.
"""
MAX_MISSED_RATE = 0.2
"""Maximum rate of changes that a look at the places of a video misses, per second: each place is seen for two seconds and more.

The minimum is one change between two places that differ. The geometric mean of both is expected: 0.1 per second where places are
20 s apart (slides of 12 s: 0.07; lines that are typed: 0.24), and 0.03 where they are 240 s apart (slides of a minute: 0.017).
"""
BLOCK_S = 60.0
"""Time after which a frame is read as a whole, in seconds."""
TYPICAL_PICTURES = PictureLook(changes=0.4, area=0.8, lines=5.0)
"""Pictures of which none could be examined."""


@dataclass(frozen=True)
class ReadingCounts:
    """What is read in a part of a video."""

    seconds: float
    """Length of the part, in seconds."""
    frames: float
    """Frames in which lines are sought, as whole frames."""
    lines: float
    """Lines that are recognised."""

    @classmethod
    def expected(cls, look: PictureLook, seconds: float) -> "ReadingCounts":
        """Return what a look leads to expect."""
        missed = look.differences * math.sqrt(MAX_MISSED_RATE / look.interval_s) if look.interval_s else 0.0
        seen_s, missed_s = seconds * look.changes, seconds * min(1.0 - look.changes, missed)
        shot_frames = CUT_FRAMES if look.lines <= MAX_FILM_LINES else 1.0
        blocks = 1.0 + seconds // BLOCK_S
        new_lines = min(MAX_NEW_LINES, NEW_LINE_SHARE * look.lines)
        frames = (shot_frames * seen_s + missed_s) * max(MIN_AREA, look.area) + blocks
        return cls(seconds, frames, (seen_s + missed_s) * new_lines + blocks * look.lines)


def measured_slowness(video: VideoInfo, look: PictureLook) -> float | None:
    """Return how much longer a detection takes on this machine than on that of reference, by the look; None if it is unknown."""
    if look.detection_s is None:
        return None
    return min(MAX_SLOWNESS, max(MIN_SLOWNESS, look.detection_s / (DETECTION_S * _scale(video))))


def _scale(video: VideoInfo) -> float:
    """Return the pixels in which lines are sought, as a multiple of `DETECTED_PX`."""
    return min(1.0, video.width * video.height / DETECTED_PX)


def reference_s(video: VideoInfo, counts: ReadingCounts) -> float:
    """Return the time of a run on the machine of reference, in seconds."""
    reading_s = counts.frames * DETECTION_S * _scale(video) + counts.lines * LINE_S
    pixels = video.width * video.height * max(1.0, video.fps_nominal)
    decoding_s = counts.seconds * max(MIN_DECODING_S_PER_SECOND, DECODING_S_PER_PIXEL * pixels)
    comparison_s = counts.seconds * COMPARISON_S_PER_SECOND
    return comparison_s + max(reading_s, decoding_s) + (1.0 - OVERLAP) * min(reading_s, decoding_s)


def speed_name(checkpoint: str, plan: Mapping[str, Any]) -> str:
    """Return the name under which the speed of the models of a run is learnt."""
    language = plan.get("tesseract")
    return f"screen_text | {checkpoint}" + (f" | {language}" if language else "")
