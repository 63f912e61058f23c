"""Video files of any size, to upload, and what a library has stored of them."""

import hashlib
import random
from base64 import b64encode
from pathlib import Path

from longview.indexing.library_files import UPLOADS
from longview.video.synthetic import render

BOX_HEADER_BYTES = 8


def padded_video(path: Path, size_bytes: int, *, seed: int = 0) -> Path:
    """Render a video of a second, and append a box of random bytes, which players skip, up to a size."""
    render(path, (), 1.0, width=64, height=48, fps=10.0)
    padding = size_bytes - path.stat().st_size
    assert padding >= BOX_HEADER_BYTES
    with path.open("ab") as file:
        file.write(padding.to_bytes(4, "big") + b"free" + random.Random(seed).randbytes(padding - BOX_HEADER_BYTES))
    return path


def parts_of(content: bytes, part_bytes: int) -> list[bytes]:
    return [content[start : start + part_bytes] for start in range(0, len(content), part_bytes)]


def digest_header(data: bytes) -> dict[str, str]:
    """Return the header with the digest of a part."""
    return {"Content-Digest": f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"}


def stored_uploads(library: Path) -> list[bytes]:
    """Return the contents of the library's own copies of uploads."""
    folder = library / UPLOADS
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []
