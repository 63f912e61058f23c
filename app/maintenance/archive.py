"""The archive of a back-up: its manifest, its members, and their checks."""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from pydantic import BaseModel, Field, ValidationError

from longview.app.errors import BackupUnusable, BadRequest
from longview.app.files.file_names import DEVICES
from longview.app.files.media import COPY_BLOCK_BYTES
from longview.core.progress import Progress
from longview.indexing.sqlite.database.database import DATABASE

MANIFEST = "backup.json"
FORMAT = 1
"""Version of the form of a back-up."""
MAX_MANIFEST_BYTES = 64 << 20
ORIGINALS = "originals"
UPLOAD_PATTERN = re.compile(r"[0-9a-f]{12}-.+")
MEMBER_PATTERN = re.compile(r"(?:uploads|originals/[0-9a-f]{12})/([^/]+)")
"""Names of the members of a back-up beside database and manifest; the group is a file name."""


class Member(BaseModel):
    """A file in a back-up."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a back-up has, as `backup.json` says it."""

    format: int = Field(ge=1)
    schema_version: int = Field(ge=1)
    program_version: str
    created_at: str
    """ISO 8601, UTC."""
    video_count: int
    segment_count: int
    members: dict[str, Member]
    """All other files, by their names."""
    originals: dict[str, str]
    """The names of those that are the files of videos, by the ids of the videos."""


class Digest(Protocol):
    """A hash that is being computed."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


def is_portable(name: str) -> bool:
    """Whether a text is the name of a file in its folder on every system, and not a path."""
    is_name = name not in ("", ".", "..") and PurePosixPath(name).name == PureWindowsPath(name).name == name
    # Windows drops spaces and dots at the end, and takes some names for devices.
    is_name = is_name and name.strip(" ") == name.rstrip(".") == name and name.partition(".")[0].upper() not in DEVICES
    return is_name and name.isprintable() and len(name.encode(errors="replace")) <= 255


def transfer(
    read: Callable[[int], bytes],
    write: Callable[[bytes], object],
    digests: tuple[Digest, ...],
    report_bytes: Callable[[int], None],
) -> int:
    """Pass all blocks of a file on to `write` and to the hashes; return their size in bytes."""
    size_bytes = 0
    while block := read(COPY_BLOCK_BYTES):
        write(block)
        for digest in digests:
            digest.update(block)
        size_bytes += len(block)
        report_bytes(len(block))
    return size_bytes


@contextmanager
def open_backup(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """Open a back-up, and check what it says of itself; nothing in it is trusted.

    Raises:
        BadRequest: the file cannot be read. BackupUnusable: it is not a back-up, or damaged, or of a newer version.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error
    with file, _damage(path), zipfile.ZipFile(file) as archive:
        yield archive, _manifest(archive, path)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    # `zipfile` raises the last one for an unknown method of compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BackupUnusable(f"{path} is damaged, or is not a back-up of Longview ({error}); nothing was changed.") from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    infos = {info.filename: info for info in archive.infolist()}
    refusal = BackupUnusable(f"{path} is not a back-up of Longview, or its list of files is damaged; nothing was changed.")
    if MANIFEST not in infos or infos[MANIFEST].file_size > MAX_MANIFEST_BYTES or len(infos) != len(archive.infolist()):
        raise refusal
    for name, info in infos.items():
        if not _is_allowed(info):
            raise BackupUnusable(f"{path} has a file that does not belong into a back-up ({name!r}); nothing was changed.")
    try:
        manifest = Manifest.model_validate_json(archive.read(MANIFEST))
    except ValidationError as error:
        raise refusal from error
    if manifest.format > FORMAT:
        raise BackupUnusable(
            f"{path} was written by a newer Longview ({manifest.program_version}), in form {manifest.format}, and this one knows "
            f"forms up to {FORMAT}; update Longview."
        )
    sizes = {name: info.file_size for name, info in infos.items() if name != MANIFEST}
    if sizes != {name: member.size_bytes for name, member in manifest.members.items()} or DATABASE not in sizes:
        raise refusal
    # Members that share bytes would unpack to more than there is.
    if sum(info.compress_size for info in infos.values()) > path.stat().st_size:
        raise refusal
    if not set(manifest.originals.values()) <= sizes.keys() or len(set(manifest.originals.values())) != len(manifest.originals):
        raise refusal
    return manifest


def _is_allowed(info: zipfile.ZipInfo) -> bool:
    """Whether a member has a name that a back-up may have, is a regular file, and is stored as a back-up does."""
    kind = info.external_attr >> 16 & 0o170000
    if kind not in (0, 0o100000) or info.flag_bits & 1:
        return False
    if info.filename in (DATABASE, MANIFEST):
        return info.compress_type in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    match = MEMBER_PATTERN.fullmatch(info.filename)
    return match is not None and is_portable(match[1]) and info.compress_type == zipfile.ZIP_STORED


def read_members(archive: zipfile.ZipFile, manifest: Manifest, progress: Progress) -> None:
    """Read all members of a back-up, and compare them with their hashes.

    Raises:
        BackupUnusable: one is damaged. Cancelled: the operation was cancelled.
    """
    total = max(1, sum(member.size_bytes for member in manifest.members.values()))
    done_bytes = 0

    def report_bytes(count: int) -> None:
        nonlocal done_bytes
        done_bytes += count
        progress.update(done_bytes / total)

    for name in manifest.members:
        read_member(archive, manifest, name, lambda _block: None, report_bytes)


def read_member(
    archive: zipfile.ZipFile,
    manifest: Manifest,
    name: str,
    write: Callable[[bytes], object],
    report_bytes: Callable[[int], None],
) -> str:
    """Pass a member of a back-up on to `write`; return its content hash as that of a video.

    Raises:
        BackupUnusable: it differs from its size or hash.
    """
    sha256, content = hashlib.sha256(), hashlib.blake2b(digest_size=20)
    with archive.open(name) as member:
        size_bytes = transfer(member.read, write, (sha256, content), report_bytes)
    if (size_bytes, sha256.hexdigest()) != (manifest.members[name].size_bytes, manifest.members[name].sha256):
        raise BackupUnusable(f"{name} in the back-up is damaged; nothing was changed.")
    return content.hexdigest()
