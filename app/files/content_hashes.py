"""Content hashes of files: the library remembers them by path, size and time of change, so that a file is read once."""

from contextlib import suppress
from pathlib import Path

from longview.app.files.file_names import require_utf8
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.errors import LibraryFull, LibraryReadOnly
from longview.indexing.sqlite.library import Library


class ContentHashes:
    """The content hashes of files, for one library. Each is that of the file as it is now."""

    def __init__(self, library: Library) -> None:
        self._known_files = library.known_files

    def known(self, path: Path) -> str | None:
        """Return the hash of a file that was read before and has not changed since; None for any other.

        Raises:
            OSError: the file is gone. BadRequest: its name is not valid UTF-8.
        """
        require_utf8(path)
        status = path.stat()
        return self._known_files.hash_of(path, status.st_size, status.st_mtime_ns)

    def of(self, path: Path, progress: Progress = NO_PROGRESS) -> str:
        """Return the hash of a file, which is read if it is not known.

        Raises:
            OSError: the file cannot be read. BadRequest: its name is not valid UTF-8. Cancelled: the operation was cancelled.
        """
        from longview.video.probing.content_hash import content_hash

        require_utf8(path)
        status = path.stat()
        known_hash = self._known_files.hash_of(path, status.st_size, status.st_mtime_ns)
        if known_hash is None:
            known_hash = content_hash(path, progress)
            # A library that cannot be written reads the file again the next time.
            with suppress(LibraryFull, LibraryReadOnly):
                self._known_files.remember(path, status.st_size, status.st_mtime_ns, known_hash)
        return known_hash
