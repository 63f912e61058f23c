"""The models of one run whose settings are not those of its process."""

import gc
from typing import TYPE_CHECKING

from longview.app.runtime.runtime import Runtime
from longview.app.settings import Settings
from longview.indexing.sqlite.library import Library

if TYPE_CHECKING:
    from longview.indexing.sqlite.vectors import VectorIndex
    from longview.model.engine.checkpoints.checkpoints import Checkpoint
    from longview.model.engine.sessions import SessionPool
    from longview.model.screen_text.recognizer import TextRecognizer
    from longview.model.speech.devices import SpeechDevice
    from longview.model.speech.recognizer import SpeechRecognizer
    from longview.video.decoding.decoder import Decoder


class RunRuntime(Runtime):
    """A runtime for one run that has another speech model, precision or language than its process.

    What does not depend on these settings is that of the process, so that a checkpoint is in memory twice only if it has two
    precisions.
    """

    def __init__(self, settings: Settings, library: Library, base: Runtime) -> None:
        """`base`: the runtime of the process."""
        super().__init__(settings, library)
        self._base = base
        self._has_own_engine = settings.precision != base.settings.precision
        self._has_own_speech = settings.speech_model != base.settings.speech_model

    def close(self) -> None:
        """Free the models of this run."""
        self._pool = self._grounding_pool = self._recognizer = None
        # They have cycles, and few objects, so that gigabytes would wait for the garbage collector.
        gc.collect()

    @property
    def decoder(self) -> "Decoder":
        """See `Runtime.decoder`."""
        return self._base.decoder

    @property
    def checkpoint(self) -> "Checkpoint":
        """See `Runtime.checkpoint`."""
        return self._base.checkpoint

    @property
    def grounding_checkpoint(self) -> "Checkpoint | None":
        """See `Runtime.grounding_checkpoint`."""
        return self._base.grounding_checkpoint

    @property
    def is_loaded(self) -> bool:
        """See `Runtime.is_loaded`."""
        return super().is_loaded if self._has_own_engine else self._base.is_loaded

    @property
    def pool(self) -> "SessionPool":
        """See `Runtime.pool`."""
        return super().pool if self._has_own_engine else self._base.pool

    @property
    def grounding_pool(self) -> "SessionPool | None":
        """See `Runtime.grounding_pool`."""
        return super().grounding_pool if self._has_own_engine else self._base.grounding_pool

    @property
    def has_speech_recognizer(self) -> bool:
        """See `Runtime.has_speech_recognizer`."""
        return super().has_speech_recognizer if self._has_own_speech else self._base.has_speech_recognizer

    @property
    def speech_device(self) -> "SpeechDevice":
        """See `Runtime.speech_device`."""
        return super().speech_device if self._has_own_speech else self._base.speech_device

    @property
    def speech_recognizer(self) -> "SpeechRecognizer":
        """See `Runtime.speech_recognizer`."""
        return super().speech_recognizer if self._has_own_speech else self._base.speech_recognizer

    @property
    def has_text_recognizer(self) -> bool:
        """See `Runtime.has_text_recognizer`."""
        return self._base.has_text_recognizer

    @property
    def text_recognizer(self) -> "TextRecognizer":
        """See `Runtime.text_recognizer`."""
        return self._base.text_recognizer

    @property
    def has_vectors(self) -> bool:
        """See `Runtime.has_vectors`."""
        return self._base.has_vectors

    @property
    def vectors(self) -> "VectorIndex":
        """See `Runtime.vectors`."""
        return self._base.vectors

    def discard_sessions(self, content_hash: str | None = None) -> None:
        """See `Runtime.discard_sessions`."""
        self._base.discard_sessions(content_hash)
        super().discard_sessions(content_hash)
