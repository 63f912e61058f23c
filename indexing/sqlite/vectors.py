"""Passage vectors in FAISS: a cache beside the database, which can always be rebuilt from it.

The index is exact (inner product with all vectors): with 512 dimensions a search over 100,000 passages takes tens of
milliseconds, and quantised indexes were measured elsewhere to lose results.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import faiss
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from longview.core.atomic import FULL_DISK_ERRORS, atomic_write
from longview.core.progress import NO_PROGRESS, Progress
from longview.indexing.embedding.embedder import Embedder
from longview.indexing.library_files import INDEX_FILE
from longview.indexing.sqlite.database.failures import READ_ONLY_ERRORS
from longview.indexing.sqlite.library import Library

log = logging.getLogger(__name__)

BATCH = 256


class VectorIndex:
    """The vectors of a library's passages, updated before every search."""

    def __init__(self, library: Library, embedder: Embedder) -> None:
        self._library, self._embedder = library, embedder
        self._path = library.folder / INDEX_FILE
        self._lock = threading.Lock()
        self._texts: dict[int, str] = {}
        self._index = self._load()
        self._revision = -1

    def search(
        self, query: str, *, limit: int, among: Sequence[int] | None = None, progress: Progress = NO_PROGRESS
    ) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the passages most similar to a query, best first. `among`: the only ids that count.

        Raises:
            Cancelled: the operation was cancelled, perhaps while new passages were embedded; see `update`.
        """
        with progress.holding(self._lock):
            self._update(progress)
            parameters = None
            if among is not None:
                parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.asarray(among, dtype=np.int64)))
            scores, ids = self._index.search(self._embedder.embed([query]), limit, params=parameters)
        return [(int(passage_id), float(score)) for passage_id, score in zip(ids[0], scores[0], strict=True) if passage_id >= 0]

    def similarities(self, texts: Sequence[str], query: str) -> NDArray[np.float32]:
        """Return the cosine of each text and a query, float32 (texts,). The texts need not be in the library."""
        vectors = self.embed([query, *texts])
        return vectors[1:] @ vectors[0]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of texts, float32 (texts, dimensions). The texts need not be in the library."""
        return self._embedder.embed(texts) if texts else np.zeros((0, self._embedder.dimensions), np.float32)

    def of_passages(self, passage_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the unit vectors of passages of the library, float32 (passages, dimensions).

        Raises:
            LookupError: a passage was deleted meanwhile.
        """
        with self._lock:
            self._update(NO_PROGRESS)
            try:
                vectors = [self._index.reconstruct(int(number)) for number in passage_ids]
            except RuntimeError as error:
                raise LookupError("a passage was deleted meanwhile") from error
        return np.stack(vectors) if vectors else np.zeros((0, self._embedder.dimensions), np.float32)

    def update(self, progress: Progress = NO_PROGRESS) -> None:
        """Embed new passages and remove deleted ones.

        Raises:
            Cancelled: the operation was cancelled. The vectors so far stay in memory, and the next call embeds the rest.
        """
        with progress.holding(self._lock):
            self._update(progress)

    def _update(self, progress: Progress) -> None:
        revision = self._library.tracks.revision()
        if revision == self._revision:
            return
        current_ids = self._library.tracks.passage_ids()
        present_ids = frozenset(faiss.vector_to_array(self._index.id_map).tolist())
        deleted_ids, new_ids = present_ids - current_ids, sorted(current_ids - present_ids)
        if deleted_ids:
            self._remove(self._index, sorted(deleted_ids))
        for start in range(0, len(new_ids), BATCH):
            # A passage that is deleted between the two queries is not added.
            passages = self._library.tracks.passages_by_id(new_ids[start : start + BATCH])
            if passages:
                vectors = self._embedder.embed([passage.text for passage in passages.values()])
                self._index.add_with_ids(vectors, np.asarray(list(passages), dtype=np.int64))
                self._texts |= {passage_id: _digest(passage.text) for passage_id, passage in passages.items()}
            progress.update((start + BATCH) / len(new_ids))
        self._revision = revision
        if deleted_ids or new_ids:
            self._save()

    def _empty(self) -> "faiss.IndexIDMap2":
        return faiss.IndexIDMap2(faiss.IndexFlatIP(self._embedder.dimensions))

    def _load(self) -> "faiss.IndexIDMap2":
        """Load the index from disk; return an empty one if it is missing or damaged, or if another embedder wrote it."""
        try:
            with self._lock_to_read():
                self._delete_partial()
                label = json.loads(self._path.with_suffix(".json").read_text(encoding="utf-8"))
                blob = self._path.read_bytes()
            index = faiss.deserialize_index(np.frombuffer(blob, dtype=np.uint8))
            ids = faiss.vector_to_array(index.id_map).tolist()
            if label == _label(self._embedder.name, blob, label["texts"]) and len(ids) == len(label["texts"]):
                self._texts = dict(zip(ids, label["texts"], strict=True))
                self._remove(index, self._outdated_ids())
                return index
            log.warning("%s does not match its label; the vectors will be rebuilt", self._path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read (%s); the vectors will be rebuilt", self._path, error)
        self._texts = {}
        return self._empty()

    def _lock_to_read(self) -> AbstractContextManager[object]:
        """Return the lock of the two files. Where no lock file can be written, no process writes them either."""
        try:
            # `acquire` returns an object that releases the lock at the end of its block.
            return FileLock(self._path.with_suffix(".lock")).acquire()
        except OSError as error:
            if error.errno in (*FULL_DISK_ERRORS, *READ_ONLY_ERRORS):
                return nullcontext()
            raise

    def _delete_partial(self) -> None:
        """Delete what a process has left that was killed while it wrote. The lock is held, so no process is writing now."""
        for path in self._path.parent.glob(".partial-*"):
            if path.suffix in (self._path.suffix, ".json"):
                with suppress(OSError):
                    path.unlink()

    def _outdated_ids(self) -> list[int]:
        """Return the ids of passages whose text is not the embedded one: the index belongs to another library, or to a restored
        one."""
        passages = self._library.tracks.passages_by_id(list(self._texts))
        return [number for number, passage in passages.items() if _digest(passage.text) != self._texts[number]]

    def _remove(self, index: "faiss.IndexIDMap2", passage_ids: Sequence[int]) -> None:
        if passage_ids:
            index.remove_ids(np.asarray(passage_ids, dtype=np.int64))
        for number in passage_ids:
            self._texts.pop(number, None)

    def _save(self) -> None:
        blob: NDArray[np.uint8] = faiss.serialize_index(self._index)
        ids = faiss.vector_to_array(self._index.id_map).tolist()
        label = json.dumps(_label(self._embedder.name, blob.tobytes(), [self._texts[number] for number in ids]))
        try:
            # One process at a time writes the two files, because they belong together.
            with FileLock(self._path.with_suffix(".lock")):
                self._delete_partial()
                for path, content in ((self._path, blob.tobytes()), (self._path.with_suffix(".json"), label.encode())):
                    with atomic_write(path) as partial:
                        partial.write_bytes(content)
        except OSError as error:
            # The search works from memory, and the next start builds the cache again.
            log.warning("%s cannot be written: %s", self._path, error)


def _label(embedder: str, blob: bytes, texts: list[str]) -> dict[str, object]:
    return {"embedder": embedder, "checksum": hashlib.blake2b(blob, digest_size=16).hexdigest(), "texts": texts}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
