"""Images of a video for users: thumbnails and contact sheets.

They come from the decoder, which selects the frame that is on screen at a time and reports undecodable spans.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from longview.core.atomic import atomic_write
from longview.core.time_format import format_time
from longview.core.timeline import Span
from longview.video.decoding.backends.base import TOLERANCE_S
from longview.video.decoding.decoder import Decoder
from longview.video.errors import UnreadableVideo
from longview.video.probing.probe import VideoInfo, require_frames

SHEET_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""Image format of a contact sheet, by the suffix of its file name."""
MAX_SPRITE_PICTURES, SPRITE_COLUMNS, SPRITE_WIDTH_PX = 100, 10, 160
"""Maximum number of pictures of a sprite, those in a row, and the width of each, in pixels."""
MIN_SPRITE_PERIOD_S = 1.0
"""Minimum time between two of them, in seconds."""
MAX_HEIGHT_FACTOR = 4
"""Maximum height of a thumbnail, in widths: a file of 20 KB can declare a video of 2x4000 pixels."""


def thumbnail(decoder: Decoder, video: VideoInfo, time_s: float, target: Path, *, width: int = 320) -> Path:
    """Write the frame that is on screen at a time as a JPEG file. Returns `target`.

    Raises:
        NoFrames: the file has only sound. UnreadableVideo: no frame can be decoded.
    """
    require_frames(video)
    requested_s = max(0.0, min(time_s, video.duration_s))
    try:
        image = _frame_at(decoder, video, requested_s, width)
    except UnreadableVideo:
        # The time may be far after the last frame of a file that declares a longer duration.
        image = _frame_at(decoder, video, 0.0, width)
    _write_image(image, target, "JPEG", quality=85)
    return target


@dataclass(frozen=True)
class Sprite:
    """Small pictures of a video in one image, from left to right and from top to bottom."""

    times_s: tuple[float, ...]
    """The time of each picture, in seconds, in order."""
    columns: int
    width: int
    """Width of a picture, in pixels."""
    height: int


def write_sprite(decoder: Decoder, video: VideoInfo, target: Path) -> Sprite:
    """Write small pictures over the whole video into one JPEG file. They are key frames, which are decoded quickly.

    Raises:
        NoFrames: the file has only sound. UnreadableVideo: no frame can be decoded.
    """
    require_frames(video)
    count = max(1, min(MAX_SPRITE_PICTURES, round(video.duration_s / MIN_SPRITE_PERIOD_S)))
    wanted_s = [(number + 0.5) * video.duration_s / count for number in range(count)]
    times_s = sorted(set(decoder.key_times(video, wanted_s))) or [0.0]
    width, height = _image_size(video, SPRITE_WIDTH_PX)
    pictures = [
        (time_s, frame)
        for chunk in decoder.frames_played_at(video, times_s, height, width)
        for time_s, frame in zip(chunk.times_s, chunk.frames, strict=True)
    ]
    if not pictures:
        raise UnreadableVideo(f"No picture of {video.path.name} can be decoded.")
    columns = min(SPRITE_COLUMNS, len(pictures))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height))
    for number, (_, frame) in enumerate(pictures):
        sheet.paste(Image.fromarray(frame), (number % columns * width, number // columns * height))
    _write_image(sheet, target, "JPEG", quality=70)
    return Sprite(tuple(float(time_s) for time_s, _ in pictures), columns, width, height)


def _write_image(image: Image.Image, target: Path, image_format: str, **options: int) -> None:
    """Write an image file. It is encoded in memory, because Pillow's encoders ignore a write that a full disk cuts short."""
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    with atomic_write(target) as temporary_path:
        temporary_path.write_bytes(buffer.getbuffer())


def _frame_at(decoder: Decoder, video: VideoInfo, time_s: float, width: int) -> Image.Image:
    width, height = _image_size(video, width)
    chunks = list(decoder.frames_played_at(video, [time_s], height, width))
    return Image.fromarray(chunks[-1].frames[-1])


def _image_size(video: VideoInfo, width: int) -> tuple[int, int]:
    """Return width and height of an image with the displayed aspect ratio, because few programs honour non-square pixels.

    It has at most that width and `MAX_HEIGHT_FACTOR` times that height, and at least two pixels on either side.
    """
    scale = min(width / video.width, MAX_HEIGHT_FACTOR * width / video.height)
    image_width, image_height = (max(2, round(side * scale / 2) * 2) for side in (video.width, video.height))
    return image_width, image_height


def contact_sheet(
    decoder: Decoder, video: VideoInfo, target: Path, *, columns: int = 4, rows: int = 4, width: int = 320
) -> tuple[list[float], list[float]]:
    """Write one image with `columns` x `rows` evenly spaced thumbnails, each labelled with its time.

    Returns the times in seconds, and those times whose frames cannot be decoded; their tiles are black.

    Raises:
        NoFrames: the file has only sound. UnreadableVideo: no frame can be decoded.
    """
    require_frames(video)
    count = columns * rows
    # Each time is in the middle of its part, because the first frame of a video is often black.
    times_s = [video.duration_s * (index + 0.5) / count for index in range(count)]
    image_width, image_height = _image_size(video, width)
    # The time must be legible on a frame of a few lines.
    height = max(image_height, width // 8)
    sheet = Image.new("RGB", (columns * width, rows * height))
    thumbnails: list[tuple[float, Image.Image]] = []
    undecodable: list[Span] = []
    for chunk in decoder.frames_played_at(video, times_s, image_height, image_width):
        thumbnails += zip(chunk.times_s.tolist(), map(Image.fromarray, chunk.frames), strict=True)
        undecodable += chunk.undecodable
    missing_s = [time_s for time_s in times_s if any(span.contains(time_s) or span.start_s == time_s for span in undecodable)]
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(10, width // 16))
    for index, time_s in enumerate(times_s):
        left, top = index % columns * width, index // columns * height
        # The frame on screen at that time: the last frame that starts before it, or the first frame.
        on_screen = [image for frame_s, image in thumbnails if frame_s <= time_s + TOLERANCE_S] or [thumbnails[0][1]]
        if time_s not in missing_s:
            sheet.paste(on_screen[-1], (left + (width - image_width) // 2, top + (height - image_height) // 2))
        label = format_time(time_s) + (" undecodable" if time_s in missing_s else "")
        corner = (left + width // 40, top + width // 40)
        draw.text(corner, label, fill="white", font=font, stroke_width=max(1, width // 160), stroke_fill="black")
    _write_image(sheet, target, SHEET_FORMATS[target.suffix.lower()])
    return times_s, missing_s
