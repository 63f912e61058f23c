"""What takes seconds to load, loaded once and only when something needs it: checkpoint, sessions and caption vectors."""

import functools
import threading
from typing import TYPE_CHECKING

from app.errors import BadRequest
from app.settings import Settings
from indexing.library import Library
from model.checkpoints import Checkpoint, find_checkpoint
from video.decoder import Decoder

if TYPE_CHECKING:
    from indexing.vectors import VectorIndex
    from model.engine import Engine
    from model.remote import Server
    from model.sessions import SessionPool


class Loaded:
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
            CheckpointNotFound, BadCheckpoint: see `model.checkpoints.find_checkpoint`.
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
        from model.remote import Server

        return Server(self._settings.server, self._settings.model, self._settings.server_key)

    @property
    def pool(self) -> "SessionPool":
        """The sessions of the chosen checkpoint, with its weights."""
        with self._lock:
            if self._pool is None:
                from model.sessions import SessionPool

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
            from model.remote import RemoteEngine

            return RemoteEngine(self._server)
        from model.qwen import QwenEngine

        return QwenEngine(self.checkpoint, device=self._settings.device, threads=self._settings.threads)

    @property
    def vectors(self) -> "VectorIndex":
        """The index of caption vectors, with the encoder behind it."""
        with self._lock:
            if self._vectors is None:
                from indexing.embedder import SentenceEncoder
                from indexing.vectors import VectorIndex

                self._vectors = VectorIndex(self._library, SentenceEncoder())
            return self._vectors
