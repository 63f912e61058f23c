"""Known files: the content hashes of files, so that an unchanged one need not be read again."""

from pathlib import Path

from longview.indexing.sqlite.database.database import Database


class KnownFiles:
    """The known files of one library. Safe to use from several threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hash_of(self, path: Path, size_bytes: int, modified_ns: int) -> str | None:
        """Return the content hash of a file that was hashed before and has not changed; else None."""
        with self._database.connection() as db:
            row = db.execute(
                "SELECT content_hash FROM known_files "
                "WHERE path = :path AND size_bytes = :size_bytes AND modified_ns = :modified_ns",
                {"path": str(path), "size_bytes": size_bytes, "modified_ns": modified_ns},
            ).fetchone()
            return row[0] if row else None

    def remember(self, path: Path, size_bytes: int, modified_ns: int, content_hash: str) -> None:
        """Store a file's content hash, so that it need not be read again."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO known_files (path, size_bytes, modified_ns, content_hash) "
                "VALUES (:path, :size_bytes, :modified_ns, :content_hash)",
                {"path": str(path), "size_bytes": size_bytes, "modified_ns": modified_ns, "content_hash": content_hash},
            )
