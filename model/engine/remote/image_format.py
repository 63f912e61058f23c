"""The image format in which frames are sent to a server."""

import io

import numpy as np
from PIL import Image

JPEG_QUALITY = 90
"""At this quality all captions of the demo checkpoint stayed as they were; at 85, one of 150 changed. WebP of the same quality
has 0.4 to 0.9 of the bytes and takes 15 times as long (`benchmarks.compare_image_formats`)."""
BITS_PER_PIXEL = 1.5
"""Typical size of a frame of real footage as JPEG of this quality, in bits per pixel."""


def encode(frame: np.ndarray) -> bytes:
    """Return a frame, uint8 (height, width, 3), as a JPEG file. All servers read JPEG; llama.cpp reads no WebP."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
