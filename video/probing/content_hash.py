"""Hash of a file's content, by which the library knows it under any name."""

import hashlib
from pathlib import Path

from longview.core.progress import NO_PROGRESS, Progress

HASH_BLOCK_BYTES = 1 << 20


def new_digest() -> "hashlib.blake2b":
    """Return the digest of no bytes, for content that does not come from a file."""
    return hashlib.blake2b(digest_size=20)


def content_hash(path: Path, progress: Progress = NO_PROGRESS) -> str:
    """Return the BLAKE2b-160 hash of a file's bytes, hexadecimal.

    Raises:
        Cancelled: the operation was cancelled.
    """
    digest = new_digest()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
            progress.raise_if_cancelled()
    return digest.hexdigest()
