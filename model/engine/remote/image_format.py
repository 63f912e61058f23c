"""The image format in which frames are sent to a server."""

import io

import numpy as np
from PIL import Image

JPEG_QUALITY = 90
BITS_PER_PIXEL = 1.5
"""Typical size of a frame of real footage as JPEG of this quality, in bits per pixel."""


def encode(frame: np.ndarray) -> bytes:
    """Return a frame (height, width, 3) as a JPEG file. All servers read JPEG; llama.cpp reads no WebP."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
