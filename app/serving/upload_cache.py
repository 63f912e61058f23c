"""The upload cache: files that pages send to a server, until they are in the library; each server has a folder of its own."""

import logging
import re
import tempfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from longview.app.errors import BadRequest, NoSpace
from longview.app.jobs.monitor import MIN_FREE_BYTES, free_bytes
from longview.core.processes import is_on_this_machine, is_running, this_process
from longview.indexing.library_files import delete_inside, is_inside
from longview.video.errors import TooLarge

log = logging.getLogger(__name__)

CACHE = "cache"
"""Folder of the upload caches inside of a library."""
SERVER = "server-"
"""Beginning of the name of a server's folder; the rest is the name of its process."""
EARLIER_CACHE = re.compile(r"tmp[0-9a-z_]{8}|[0-9a-f]{64}")
"""Names that uploads had in the cache before servers had folders of their own: temporary files, and folders named by a hash."""

OTHER_MACHINE_KEPT_S = 24 * 3600.0
"""Minimum time since the last change of the folder of a server on another machine, or in another container, in seconds."""


class UploadCache:
    """The upload cache of one server. Uploads are begun and ended in one thread; `discard` is safe for several."""

    def __init__(self, library: Path, *, max_upload_bytes: int) -> None:
        self._library, self.folder = library, own_folder(library)
        self.max_upload_bytes = max_upload_bytes
        self._expected_bytes: dict[Path, int] = {}
        """Number of bytes that each running upload is still going to write."""

    def begin(self, size_bytes: int | None) -> Path:
        """Return a new folder for the files of one upload. `size_bytes`: size of the upload if it is known.

        Raises:
            TooLarge: it is larger than allowed. NoSpace: the disk has no space for it, beside the other uploads.
            BadRequest: the library cannot be written, or the cache is a link to a folder outside of it.
        """
        self._require_size(size_bytes or 0)
        self._require_space((size_bytes or 0) + sum(self._expected_bytes.values()))
        if not is_inside(self._library, self.folder / SERVER):
            raise BadRequest(
                f"Uploads cannot be stored in {self.folder}, because a link leads from there to another folder: replace the link "
                "with a folder, or enter the path of the file on this machine."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            upload = Path(tempfile.mkdtemp(dir=self.folder))
        except OSError as error:
            raise BadRequest(f"Uploads cannot be stored in {self.folder}: {error.strerror}.") from error
        self._expected_bytes[upload] = size_bytes or 0
        return upload

    def require_space(self, upload: Path, *, written_bytes: int, new_bytes: int) -> None:
        """Check that a running upload may continue. `written_bytes`: what has arrived of it, `new_bytes`: what has arrived now.

        Raises:
            TooLarge: it is larger than allowed. NoSpace: the disk is full.
        """
        self._require_size(written_bytes)
        self._require_space(new_bytes)
        self._expected_bytes[upload] = max(0, self._expected_bytes[upload] - new_bytes)

    def end(self, upload: Path, *, is_kept: bool) -> None:
        """End an upload; its folder is deleted unless its files are kept, until `discard`."""
        self._expected_bytes.pop(upload, None)
        if not is_kept:
            _delete(self._library, upload)

    def discard(self, file: Path) -> None:
        """Delete a file of the cache, and its folders if nothing else is in them."""
        delete_inside(self._library, file)
        for parent in file.parents:
            if self.folder not in parent.parents or not is_inside(self._library, parent):
                return
            try:
                parent.rmdir()
            except OSError:
                return

    def delete(self) -> None:
        """Delete the whole cache of this server."""
        _delete(self._library, self.folder)

    def _require_size(self, size_bytes: int) -> None:
        if size_bytes > self.max_upload_bytes:
            raise TooLarge(
                f"The upload has more than {self.max_upload_bytes} bytes, which the setting max_upload_bytes allows; "
                "upload fewer files at once, or enter the path of the file on this machine."
            )

    def _require_space(self, size_bytes: int) -> None:
        free = free_bytes(self._library)
        if free - size_bytes < MIN_FREE_BYTES:
            raise NoSpace(
                f"The disk is full: the upload needs {size_bytes:,} bytes, and the disk of the library has {free:,}, "
                f"{MIN_FREE_BYTES:,} of which stay free; delete other files."
            )


def own_folder(library: Path) -> Path:
    """Return the upload cache of this process in a library; nothing is created."""
    return library / CACHE / (SERVER + urlsafe_b64encode(this_process().encode()).decode().rstrip("="))


def delete_left_uploads(library: Path) -> None:
    """Delete what servers that no longer run have left in the upload cache of a library. Other files there stay."""
    cache = library / CACHE
    try:
        items = list(cache.iterdir()) if is_inside(library, cache / SERVER) else []
    except OSError:
        return
    for item in items:
        if EARLIER_CACHE.fullmatch(item.name) or (item.name.startswith(SERVER) and not _is_used(item)):
            log.info("The upload cache %s of an earlier server is deleted.", item.name)
            _delete(library, item)


def _delete(library: Path, path: Path) -> None:
    """Delete a file or folder of the cache as far as possible; the rest is deleted when the next server starts."""
    with suppress(OSError):
        delete_inside(library, path)


def _is_used(folder: Path) -> bool:
    """Whether the server that a folder is named by still runs."""
    text = folder.name.removeprefix(SERVER)
    try:
        process = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        if is_on_this_machine(process):
            return is_running(process)
        # Of another machine, only what it writes is known.
        changes_s = (path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
        return max(changes_s) > time.time() - OTHER_MACHINE_KEPT_S
    except (ValueError, OSError):
        return False
