"""The digests of a whole upload, which are computed while its parts arrive, so that the file need not be read again."""

import hashlib

from longview.app.serving.upload_files import MISSING, UploadFiles
from longview.core.progress import Progress
from longview.video.probing.content_hash import new_digest

MAX_READ_PARTS = 4
"""Maximum number of earlier arrivals that are read when the part before them arrives: more would delay its response."""


class WholeDigests:
    """SHA-256 and content hash of the first parts of an upload. The lock of the upload is held."""

    def __init__(self) -> None:
        self._next_number = 0
        self._sha256, self._content = hashlib.sha256(), new_digest()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was added, hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def content_hash(self) -> str:
        """The content hash of what was added; see `longview.video.probing.content_hash`."""
        return self._content.hexdigest()

    def add(self, upload: UploadFiles, number: int, data: bytes | bytearray) -> None:
        """Add a part that has just arrived if it is the next one, and a few that came too early, from the disk.

        Raises:
            UploadDamaged: one of those was damaged. OSError: it cannot be read.
        """
        if number != self._next_number:
            return
        self._update(data)
        for early_number in range(self._next_number, min(self._next_number + MAX_READ_PARTS, upload.part_count)):
            if upload.digest_of(early_number) == MISSING:
                return
            self._update(upload.read_part(early_number))

    def read_on(self, upload: UploadFiles, progress: Progress) -> None:
        """Add all parts that are not added yet, from the disk.

        Raises:
            UploadDamaged: one of them was damaged. OSError: one cannot be read. Cancelled: the operation was cancelled.
        """
        for number in range(self._next_number, upload.part_count):
            progress.raise_if_cancelled()
            self._update(upload.read_part(number))

    def _update(self, data: bytes | bytearray) -> None:
        self._sha256.update(data)
        self._content.update(data)
        self._next_number += 1
