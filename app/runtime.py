"""What takes seconds to load, loaded once and only when something needs it: checkpoint, sessions and caption vectors."""

import functools
import threading
from typing import TYPE_CHECKING

from longview.app.errors import BadRequest
from longview.app.settings import Settings
from longview.indexing.library import Library
from longview.model.engine.checkpoints import Checkpoint, find_checkpoint
from longview.video.decoder import Decoder

if TYPE_CHECKING:
    from longview.indexing.vectors import VectorIndex
    from longview.model.engine.base import Engine
    from longview.model.engine.remote import Server
    from longview.model.engine.sessions import SessionPool


class Runtime:
    """Of one application. Safe for several threads: what two need at once is loaded once."""

    def __init__(self, settings: Settings, library: Library, decoder: Decoder) -> None:
        self._settings, self._library, self._decoder = settings, library, decoder
        # From Python 3.12 on a cached property has no lock of its own.
        self._lock = threading.RLock()
        self._pool: SessionPool | None = None
        self._vectors: VectorIndex | None = None

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The chosen checkpoint; found, not loaded.

        Raises:
            CheckpointNotFound, BadCheckpoint: see `longview.model.engine.checkpoints.find_checkpoint`.
        """
        if self._server is not None:
            return self._server.checkpoint
        with self._lock:
            return find_checkpoint(self._settings.model, context_tokens=self._settings.context_tokens)

    @functools.cached_property
    def _server(self) -> "Server | None":
        """Where the model is served, if not here."""
        if self._settings.server is None:
            return None
        if self._settings.model in ("auto", "demo"):
            raise BadRequest("Say which model the server has: --model Qwen/Qwen3-VL-8B-Instruct, for instance.")
        from longview.model.engine.remote import Server

        return Server(self._settings.server, self._settings.model, self._settings.server_key)

    @property
    def pool(self) -> "SessionPool":
        """The sessions of the chosen checkpoint, with its weights."""
        with self._lock:
            if self._pool is None:
                from longview.model.engine.sessions import SessionPool

                engine = self._engine()
                self._pool = SessionPool(
                    engine,
                    self._decoder,
                    memory_bytes=self._settings.session_memory_bytes,
                    host_bytes=self._settings.session_host_bytes if engine.device == "cuda" else 0,
                    context_tokens=self._settings.context_tokens,
                )
            return self._pool

    def _engine(self) -> "Engine":
        if self._server is not None:
            from longview.model.engine.remote import RemoteEngine

            return RemoteEngine(self._server)
        from longview.model.engine.local import LocalEngine

        return LocalEngine(self.checkpoint, device=self._settings.device, cpu_threads=self._settings.cpu_threads)

    @property
    def vectors(self) -> "VectorIndex":
        """The index of caption vectors, with the encoder behind it."""
        with self._lock:
            if self._vectors is None:
                from longview.indexing.embedder import SentenceEncoder
                from longview.indexing.vectors import VectorIndex

                self._vectors = VectorIndex(self._library, SentenceEncoder())
            return self._vectors
