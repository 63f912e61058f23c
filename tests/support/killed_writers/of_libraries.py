"""Writers of libraries, their videos, caches and back-ups."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from PIL import Image

from longview.app.diagnostics.library_check import check
from longview.app.files.waveforms import waveform_path, write_waveform
from longview.app.ingest.options import IndexOptions
from longview.app.maintenance.archive import open_backup, read_members
from longview.app.maintenance.backup import backup
from longview.app.maintenance.restore import restore
from longview.app.service import Longview
from longview.app.serving.part_uploads import PartUploads
from longview.app.serving.sample import SLIDES_SAMPLE, add_samples
from longview.app.serving.upload_completion import UploadCompletion
from longview.app.serving.upload_files import unfinished_folder
from longview.app.serving.workers import Workers
from longview.core.progress import NO_PROGRESS
from longview.indexing.library_files import INDEX_FILE, SAMPLE_FILES, UPLOADS
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.inventory import vector_count
from longview.indexing.sqlite.database.migrations import MIGRATIONS
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.repair.copies import schema_version
from longview.indexing.sqlite.vectors import VectorIndex
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import probe
from longview.video.thumbnails import thumbnail
from longview.video.transcoding import make_browser_copy
from tests.support.app_samples import demo_settings
from tests.support.backups import add_video
from tests.support.killed_writers.base import (
    OTHER_ID,
    VIDEO_ID,
    Scene,
    captioned,
    copied,
    digest,
    keep_house,
    library_contents,
    writer,
)
from tests.support.library_samples import WordBags, put_captions, sample_entry, sample_events

FIRST_LIBRARY = Path(__file__).parents[2] / "fixtures" / "library_9caf505"
OTHER_DISK = Path("/dev/shm")


def read_uploads(scene: Scene) -> dict[str, object]:
    folder = scene.library / UPLOADS
    return {"uploads": sorted((path.name, digest(path)) for path in folder.glob("[!.]*"))}


def import_clip(scene: Scene, folder: Path) -> None:
    upload = Path(shutil.copy(scene.clip, folder / "longview-upload.mp4"))
    try:
        Longview(demo_settings(scene.library)).parts.media.import_upload(upload, "holiday.mp4")
    finally:
        upload.unlink(missing_ok=True)


@writer("app/files/media.py", prepare=captioned, read=read_uploads, tidy=keep_house)
def upload(scene: Scene) -> None:
    import_clip(scene, scene.folder)


def require_other_disk(scene: Scene) -> None:
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == scene.folder.stat().st_dev:
        pytest.skip("there is no other disk")
    captioned(scene)


@writer("app/files/media.py", prepare=require_other_disk, read=read_uploads, tidy=keep_house)
def upload_from_another_disk(scene: Scene) -> None:
    with TemporaryDirectory(dir=OTHER_DISK) as folder:
        import_clip(scene, Path(folder))


def prepare_parts(scene: Scene) -> None:
    """Send all parts of an upload, which another server completes."""
    captioned(scene)
    content = scene.clip.read_bytes()
    uploads = PartUploads(demo_settings(scene.library))
    upload, _ = uploads.begin("holiday.mp4", len(content), 0)
    uploads.store(upload.upload_id, 0, content, hashlib.sha256(content).digest())


def read_parts(scene: Scene) -> dict[str, object]:
    with copied(scene.library) as library:
        states = [json.loads(path.read_text()) for path in unfinished_folder(library).glob("*/upload.json")]
        jobs = [job.title for job in Library(library).queue.jobs()]
    (state,) = states
    return {"hash": state["sha256"], "jobs": jobs, "end": state["job_id"]} | read_uploads(scene)


@writer("app/files/media.py", "app/serving/upload_files.py", prepare=prepare_parts, read=read_parts, tidy=keep_house)
def upload_in_parts(scene: Scene) -> None:
    app = Longview(demo_settings(scene.library))
    workers = Workers(app, starts=False)
    # What is complete has its id still.
    (upload_id,) = (path.parent.name for path in unfinished_folder(scene.library).glob("*/upload.json"))
    UploadCompletion(app, workers).complete(upload_id, IndexOptions())


def make_thumbnail(scene: Scene, width: int) -> None:
    thumbnail(Decoder(), probe(scene.clip), 0.0, scene.library / "thumbnails" / "a.jpg", width=width)


def prepare_thumbnail(scene: Scene) -> None:
    captioned(scene)
    make_thumbnail(scene, 64)


@writer(
    "video/thumbnails.py",
    prepare=prepare_thumbnail,
    read=lambda scene: {"size": Image.open(scene.library / "thumbnails" / "a.jpg").size},
    tidy=keep_house,
)
def thumbnail_of_another_size(scene: Scene) -> None:
    make_thumbnail(scene, 32)


@writer(
    "app/files/waveforms.py",
    prepare=captioned,
    read=lambda scene: {"peaks": digest(waveform_path(scene.library, VIDEO_ID))},
    tidy=keep_house,
)
def peaks_of_a_waveform(scene: Scene) -> None:
    write_waveform(scene.library, VIDEO_ID, np.arange(200, dtype=np.uint8))


@writer(
    "video/transcoding.py",
    prepare=captioned,
    read=lambda scene: {"copies": [probe(path).codec for path in (scene.library / "proxies").glob("[!.]*")]},
    tidy=keep_house,
)
def browser_copy(scene: Scene) -> None:
    make_browser_copy(probe(scene.clip), scene.library / "proxies" / f"{VIDEO_ID}.mp4")


def prepare_backup(scene: Scene) -> None:
    library = captioned(scene)
    for path in (library.folder / UPLOADS / "u.mp4", scene.folder / "videos" / "v.mp4"):
        add_video(library, path, path.name.encode(), "a green square")


def read_backup(scene: Scene) -> dict[str, object]:
    path = scene.folder / "library.zip"
    if not path.exists():
        return {"videos": 0}
    with open_backup(path) as (archive, manifest):
        read_members(archive, manifest, NO_PROGRESS)
        return {"videos": manifest.video_count}


@writer("app/maintenance/backup.py", prepare=prepare_backup, read=read_backup, tidy=None)
def back_up(scene: Scene) -> None:
    # No back-up is replaced: the user deletes it, or names another file.
    (scene.folder / "library.zip").unlink(missing_ok=True)
    backup(scene.library, scene.folder / "library.zip", with_originals=True)


def prepare_restore(scene: Scene) -> None:
    """Make a back-up with an upload and an original whose file is gone, and delete the library."""
    prepare_backup(scene)
    library = Library(scene.library)
    stored = next(entry for entry in library.videos() if entry.path.parent.name == UPLOADS)
    named = stored.path.with_name(f"{stored.video_id}-u.mp4")
    library.set_path(stored.video_id, stored.path.rename(named))
    back_up.write(scene)
    for folder in (scene.library, scene.folder / "videos"):
        shutil.rmtree(folder)


def prepare_replacement(scene: Scene) -> None:
    prepare_restore(scene)
    put_captions(Library(scene.library), sample_entry(OTHER_ID), sample_events("another library"))


def read_restored(scene: Scene) -> dict[str, object]:
    found = library_contents(scene.library)
    if isinstance(found, list) and len(found) > 1:
        # The upload and the original are there for their videos.
        with copied(scene.library) as copy:
            paths = {entry.path for entry in Library(copy).videos()}
        assert {path.read_text() for path in paths if path.exists()} == {"u.mp4", "v.mp4"}
    return {"library": found}


RESTORE_MODULES = ("app/maintenance/restore.py", "indexing/sqlite/repair/copies.py")


@writer(*RESTORE_MODULES, prepare=prepare_restore, read=read_restored, tidy=keep_house)
def restore_into_a_new_folder(scene: Scene) -> None:
    # Once the database is in its place, the folder is no longer new.
    restore(scene.folder / "library.zip", scene.library, replace=(scene.library / DATABASE).exists())


@writer(*RESTORE_MODULES, prepare=prepare_replacement, read=read_restored, tidy=keep_house)
def restore_in_place_of_a_library(scene: Scene) -> None:
    restore(scene.folder / "library.zip", scene.library, replace=True)


class Queue:
    """The part of a server's workers that adds jobs; none of them is run."""

    def __init__(self, app: Longview) -> None:
        self._app = app

    def add(self, path: Path, options: Any, *, title: str) -> None:
        self._app.parts.runner.add(path, options, title=title)

    def show_preparation(self, preparation: object) -> None:
        pass


def read_samples(scene: Scene) -> dict[str, object]:
    jobs = [(job.title, job.status) for job in Library(scene.library).queue.jobs()]
    return {"file": digest(scene.library / SAMPLE_FILES / SLIDES_SAMPLE.name), "jobs": jobs}


@writer("app/serving/sample.py", prepare=lambda scene: Library(scene.library), read=read_samples, tidy=keep_house)
def samples(scene: Scene) -> None:
    app = Longview(demo_settings(scene.library))
    add_samples(app, Queue(app), [SLIDES_SAMPLE])  # type: ignore[arg-type]


def read_copy_of_older_version(scene: Scene) -> dict[str, object]:
    path = scene.library / f"{DATABASE}.before-version-{len(MIGRATIONS)}"
    with TemporaryDirectory() as folder:
        version = schema_version(Path(shutil.copy(path, Path(folder) / DATABASE)).parent) if path.exists() else None
    return {"library": library_contents(scene.library), "version of the copy": version}


@writer(
    "indexing/sqlite/database/database.py",
    prepare=lambda scene: shutil.copytree(FIRST_LIBRARY, scene.library),
    read=read_copy_of_older_version,
    tidy=keep_house,
)
def upgrade(scene: Scene) -> None:
    Library(scene.library)


def prepare_deleted_database(scene: Scene) -> None:
    """Delete a database and leave its log, which has all of it: the process that wrote it was killed."""
    log = scene.library / f"{DATABASE}-wal"
    Library(scene.library)
    with closing(sqlite3.connect(scene.library / DATABASE)) as db:
        # As long as a connection is open, the log is not written into the database.
        db.execute("VACUUM")
        captioned(scene)
        content = log.read_bytes()
    (scene.library / DATABASE).unlink()
    log.write_bytes(content)


@writer(
    "indexing/sqlite/repair/recovery.py",
    prepare=prepare_deleted_database,
    read=lambda scene: {"library": library_contents(scene.library)},
    tidy=keep_house,
)
def repair(scene: Scene) -> None:
    check(demo_settings(scene.library), repair=True)


def prepare_vectors(scene: Scene) -> None:
    library = captioned(scene)
    VectorIndex(library, WordBags()).update()
    put_captions(library, sample_entry(OTHER_ID), sample_events("a green square"))


def read_vectors(scene: Scene) -> dict[str, object]:
    stored = vector_count(scene.library / INDEX_FILE)
    with copied(scene.library) as copy:
        library = Library(copy)
        index = VectorIndex(library, WordBags())
        for text in ("a red circle", "a green square"):
            ((passage_id, _),) = index.search(text, limit=1)
            assert text in library.tracks.passages_by_id([passage_id])[passage_id].text
    return {"vectors": stored}


@writer("indexing/sqlite/vectors.py", prepare=prepare_vectors, read=read_vectors, tidy=keep_house)
def vectors(scene: Scene) -> None:
    VectorIndex(Library(scene.library), WordBags()).update()
