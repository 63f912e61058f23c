"""Lazy loading of what takes seconds to load: checkpoint, sessions, the models of speech and text, and passage vectors."""

import functools
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.errors import BadRequest
from longview.app.models.default_hints import explaining_default
from longview.app.models.speech_device import expected_speech_bytes, expected_speech_device, load_recognizer
from longview.app.runtime.checks import Checks, decide_checks
from longview.app.runtime.engine_loader import EngineLoader
from longview.app.runtime.machine_speeds import MachineSpeeds
from longview.app.settings import Settings, is_default, read_server_key
from longview.core.lazy import LazyPart
from longview.indexing.sqlite.library import Library
from longview.model.engine.generation.thoughts import ThinkingBudget

if TYPE_CHECKING:
    from longview.app.files.watched_file import WatchedFile
    from longview.indexing.sqlite.vectors import VectorIndex
    from longview.model.engine.base import Engine
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.model.engine.local import LocalEngine
    from longview.model.engine.remote.server import Server
    from longview.model.engine.sessions import SessionPool
    from longview.model.engine.weight_swapping import DeviceScheduler
    from longview.model.screen_text.recognizer import TextRecognizer
    from longview.model.screen_text.weights import TextModel
    from longview.model.speech.devices import SpeechDevice
    from longview.model.speech.recognizer import SpeechRecognizer
    from longview.model.speech.weights import SpeechModel
    from longview.model.tasks.verifier import Verifier
    from longview.video.decoding.decoder import Decoder

SWAPPED_SESSION_SHARE = 0.25
"""Share of the host's free memory for the sessions of each of two checkpoints whose weights are swapped on a device."""


class Runtime:
    """The loaded parts of one application. Safe for several threads: an object that two threads need at once is loaded once."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self.settings, self._library = settings, library
        self.speeds = MachineSpeeds(settings.cache, threads=settings.cpu_threads)
        # From Python 3.12 on a cached property has no lock of its own.
        self._lock = threading.RLock()
        self._pools_lock = threading.RLock()
        """Held while a checkpoint is loaded, which may wait for another one. Search and speech do not wait for it."""
        self._engine_loader = EngineLoader(settings)
        self._pool: SessionPool | None = None
        self._grounding_pool: SessionPool | None = None
        self._vectors: VectorIndex | None = None
        self._recognizer: SpeechRecognizer | None = None
        self._text_recognizer: TextRecognizer | None = None

    @LazyPart
    def decoder(self) -> "Decoder":
        """The decoder of videos, whose processes are started when they are needed."""
        from longview.video.decoding.decoder import Decoder

        settings = self.settings
        return Decoder(
            settings.limits,
            backend=settings.backend,
            key_frames_only=settings.key_frames_only,
            processes=settings.decode_processes,
        )

    @property
    def checkpoint(self) -> "Checkpoint":
        """The chosen checkpoint, without its weights. What a server says of its model is known once it was contacted.

        Raises:
            CheckpointNotFound, InvalidCheckpoint: see `longview.model.engine.checkpoints.checkpoints.find_checkpoint`.
        """
        if self._server is not None:
            return self._pool.engine.checkpoint if self._pool else self._server.checkpoint
        return self._local_checkpoint

    @functools.cached_property
    def _local_checkpoint(self) -> "Checkpoint":
        from longview.model.engine.checkpoints.checkpoints import find_checkpoint, with_profile

        settings = self.settings
        with self._lock, explaining_default("model", settings.model):
            checkpoint = find_checkpoint(settings.model, context_tokens=settings.context_tokens, device=settings.device)
            return checkpoint if settings.profile is None else with_profile(checkpoint, settings.profile)

    @property
    def grounding_checkpoint(self) -> "Checkpoint | None":
        """The checkpoint that locates, without its weights; None: `checkpoint` does.

        Raises:
            BadRequest: it was not trained to locate. CheckpointNotFound, InvalidCheckpoint: as for `checkpoint`.
        """
        if self._grounding_pool is not None:
            return self._grounding_pool.engine.checkpoint
        return self._grounding_server.checkpoint if self._grounding_server else self._local_grounding_checkpoint

    @functools.cached_property
    def _local_grounding_checkpoint(self) -> "Checkpoint | None":
        from longview.model.engine.checkpoints.checkpoints import find_checkpoint

        settings = self.settings
        if settings.grounding_model is None:
            return None
        with self._lock, explaining_default("grounding_model", settings.grounding_model):
            return find_checkpoint(settings.grounding_model, device=settings.device)

    @functools.cached_property
    def _grounding_server(self) -> "Server | None":
        settings = self.settings
        if settings.grounding_server is None:
            return None
        if settings.grounding_model is None:
            raise BadRequest("--grounding-server needs the name of its model; add it with --grounding-model.")
        return self._server_of(settings.grounding_server, settings.grounding_model, None)

    @functools.cached_property
    def _server(self) -> "Server | None":
        """The server of the model; None if the model runs in this process."""
        settings = self.settings
        if settings.server is None:
            return None
        if settings.model == "auto":
            raise BadRequest("--server needs the name of its model; add it, for example --model Qwen/Qwen3-VL-8B-Instruct.")
        return self._server_of(settings.server, settings.model, settings.profile)

    def _server_of(self, url: str, model: str, profile: str | None) -> "Server":
        from longview.model.engine.remote.server import Server

        settings = self.settings
        return Server(
            url,
            model,
            read_server_key(settings),
            context_tokens=settings.context_tokens,
            max_silence_s=settings.server_silence_s,
            max_video_tokens=settings.server_video_tokens,
            profile=profile,
        )

    @property
    def model_option(self) -> str:
        """The option that chooses the present checkpoint in a suggested command; empty if it is the default."""
        settings = self.settings
        if settings.model == "auto" or is_default("model", settings.model):
            return ""
        server = f" --server {shlex.quote(settings.server)}" if settings.server else ""
        return f" --model {shlex.quote(settings.model)}{server}"

    @property
    def is_loaded(self) -> bool:
        """Whether the checkpoint is loaded."""
        return self._pool is not None

    @property
    def pool(self) -> "SessionPool":
        """The sessions of the chosen checkpoint; the first access loads its weights."""
        with self._pools_lock:
            if self._pool is None:
                self._pool = self._open_pool(self.checkpoint, self._server, context_tokens=self.settings.context_tokens)
            return self._pool

    @property
    def grounding_pool(self) -> "SessionPool | None":
        """The sessions of the checkpoint that locates; the first access loads its weights. None: that of `pool` does.

        Raises:
            BadRequest: it was not trained to locate.
        """
        with self._pools_lock:
            if self._grounding_pool is None and (checkpoint := self.grounding_checkpoint) is not None:
                if checkpoint.profile.capabilities.spans == "none":
                    raise BadRequest(f"{checkpoint.name} was not trained to locate; choose another --grounding-model.")
                self._grounding_pool = self._open_pool(checkpoint, self._grounding_server)
            return self._grounding_pool

    def _open_pool(
        self, checkpoint: "Checkpoint", server: "Server | None", *, context_tokens: int | None = None
    ) -> "SessionPool":
        import psutil

        from longview.model.engine.sessions import SessionPool

        settings = self.settings
        if server is not None:
            engine = self._contact_engine(server)
            return SessionPool(
                engine,
                self.decoder,
                memory_bytes=settings.session_memory_bytes,
                context_tokens=context_tokens,
                takes_transcript=checkpoint.profile.takes_words,
            )
        scheduler = self._scheduler
        local_engine = self._engine_loader.load(checkpoint, scheduler)
        if local_engine.device == "cuda" and self._recognizer is None:
            local_engine.keep_free(expected_speech_bytes(self.settings))
        memory_bytes, host_bytes = settings.session_memory_bytes, settings.session_host_bytes
        if scheduler is not None:
            # Without room on the host, each swap of the weights would end all sessions.
            host_bytes = host_bytes or int(SWAPPED_SESSION_SHARE * psutil.virtual_memory().available)
        elif memory_bytes is None and self._are_both_local:
            memory_bytes = self._shared_bytes(local_engine)
            context_tokens = min(context_tokens or local_engine.context_tokens, local_engine.session_tokens(memory_bytes))
        pool = SessionPool(
            local_engine,
            self.decoder,
            memory_bytes=memory_bytes,
            host_bytes=host_bytes if local_engine.device in ("cuda", "xpu") else 0,
            context_tokens=context_tokens,
            takes_transcript=checkpoint.profile.takes_words,
        )
        local_engine.before_leaving = pool.vacate
        return pool

    def _shared_bytes(self, engine: "LocalEngine") -> int:
        """Return the memory for the sessions of one of two local checkpoints: half of what is free beside the weights of both."""
        is_first = self._pool is None and self._grounding_pool is None
        other = self.grounding_checkpoint if engine.checkpoint is self.checkpoint else self.checkpoint
        assert other is not None
        from longview.model.engine.local_access import expected_weight_bytes

        return engine.kv_cache_bytes_beside(expected_weight_bytes(other, engine.device) if is_first else 0) // 2

    @property
    def swaps_weights(self) -> bool:
        """Whether two local checkpoints have the device one after the other."""
        return self._scheduler is not None

    @functools.cached_property
    def _scheduler(self) -> "DeviceScheduler | None":
        """The scheduler of the two local checkpoints on a device that cannot hold both; None: it can, or there is only one."""
        grounding = self.grounding_checkpoint
        if grounding is None or not self._are_both_local:
            return None
        from longview.model.engine import local_access
        from longview.model.engine.weight_swapping import DeviceScheduler, can_swap_weights, fit_together

        device_type = local_access.choose_device_type(self.settings.device)
        checkpoints = (self.checkpoint, grounding)
        fits = fit_together(
            [local_access.expected_weight_bytes(checkpoint, device_type) for checkpoint in checkpoints],
            [checkpoint.kv_bytes_per_token for checkpoint in checkpoints],
            local_access.device_memory_bytes(device_type)[1],
        )
        return DeviceScheduler() if not fits and can_swap_weights(device_type, local_access.device_count(device_type)) else None

    @property
    def _are_both_local(self) -> bool:
        settings = self.settings
        return settings.grounding_model is not None and settings.server is None and settings.grounding_server is None

    @contextmanager
    def watching(self, path: Path, content_hash: str = "") -> "Iterator[WatchedFile]":
        """Watch a file while sessions are made of it. If it has changed in the end, for any reason, they are discarded."""
        from longview.app.files.watched_file import WatchedFile

        file = WatchedFile(path, content_hash)
        try:
            yield file
        finally:
            if file.has_changed:
                self.discard_sessions(file.content_hash)

    def _contact_engine(self, server: "Server") -> "Engine":
        try:
            from longview.model.engine.remote.engine import RemoteEngine
        except ImportError as error:
            raise BadRequest(f"--server needs the package {error.name}; install it with: pip install {error.name}") from error
        return RemoteEngine(server, thinking_budget=ThinkingBudget(self.settings.thinking, self.settings.thinking_tokens))

    @functools.cached_property
    def verifier(self) -> "Verifier":
        """The verifier that suits the chosen checkpoint. It does not load the weights."""
        from longview.model.verifiers import verifier_for

        return verifier_for(self.checkpoint)

    @functools.cached_property
    def checks(self) -> Checks:
        """The checks that are enabled for the chosen checkpoint."""
        return decide_checks(self.settings, self.verifier)

    @functools.cached_property
    def speech_model(self) -> "SpeechModel":
        """The chosen speech model, without its weights.

        Raises:
            SpeechModelNotFound, InvalidSpeechModel: see `longview.model.speech.weights.find_speech_model`.
        """
        from longview.model.speech.weights import find_speech_model

        return find_speech_model(self.settings.speech_model)

    @property
    def has_speech_recognizer(self) -> bool:
        """Whether the speech model is loaded."""
        return self._recognizer is not None

    @property
    def has_text_recognizer(self) -> bool:
        """Whether the models of text on screen are loaded."""
        return self._text_recognizer is not None

    @property
    def has_vectors(self) -> bool:
        """Whether the sentence encoder is loaded."""
        return self._vectors is not None

    @property
    def speech_device(self) -> "SpeechDevice":
        """The device of the speech model; before it is loaded, the expected one."""
        return self._recognizer.device if self._recognizer else expected_speech_device(self.settings)

    @property
    def speech_recognizer(self) -> "SpeechRecognizer":
        """The recogniser of the chosen speech model; the first access loads its weights."""
        with self._lock:
            if self._recognizer is None:
                self._recognizer = load_recognizer(self.speech_model, self.settings)
            return self._recognizer

    @functools.cached_property
    def text_model(self) -> "TextModel":
        """The bundled text models, without their weights.

        Raises:
            TextModelNotFound: see `longview.model.screen_text.weights.find_text_model`.
        """
        from longview.model.screen_text.weights import find_text_model

        return find_text_model()

    @functools.cached_property
    def tesseract_languages(self) -> frozenset[str]:
        """The languages that the program tesseract of this machine reads, in its own codes."""
        from longview.model.screen_text.tesseract import installed_languages

        return installed_languages()

    @property
    def text_recognizer(self) -> "TextRecognizer":
        """The recogniser of text on screen; the first access loads its weights."""
        with self._lock:
            if self._text_recognizer is None:
                from longview.model.screen_text.recognizer import TextRecognizer

                self._text_recognizer = TextRecognizer(self.text_model, threads=self.settings.cpu_threads or 0)
            return self._text_recognizer

    def check_encoder(self) -> None:
        """Check the weights of the sentence encoder, unless they are loaded.

        Raises:
            InvalidEncoder: see `longview.indexing.embedding.embedder.check_encoder`.
        """
        if self._vectors is None:
            from longview.indexing.embedding.embedder import check_encoder, encoder_folder

            check_encoder(encoder_folder())

    @property
    def vectors(self) -> "VectorIndex":
        """The index of passage vectors; the first access loads the sentence encoder."""
        with self._lock:
            if self._vectors is None:
                from longview.indexing.embedding.embedder import SentenceEncoder
                from longview.indexing.sqlite.vectors import VectorIndex

                self._vectors = VectorIndex(self._library, SentenceEncoder())
            return self._vectors

    def discard_sessions(self, content_hash: str | None = None) -> None:
        """End all sessions, because a served model takes less than they send, or those of a video whose file was changed."""
        for pool in (self._pool, self._grounding_pool):
            if pool is not None:
                pool.discard(content_hash)
