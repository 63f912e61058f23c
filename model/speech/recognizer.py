"""A Whisper recogniser (faster-whisper): a chunk of speech -> recognised words with times in the chunk.

One call is one encoder window of at most 30 s, decoded with beam search and without timestamps in the text; the words get their
times by cross-attention. With timestamps in the text, the library encodes the end of most chunks twice, and is 1.6 times slower.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.audio import pad_or_trim
from numpy.typing import NDArray

from longview.core.progress import CANCEL_POLL_S, NO_PROGRESS, Progress
from longview.model.errors import DeviceNotFound, InvalidSpeechModel, SpeechFailed
from longview.model.speech.cuda_libraries import load_cuda_libraries
from longview.model.speech.devices import SpeechDevice, cuda_advice, cuda_device_count
from longview.model.speech.weights import SpeechModel
from longview.video.decoding.audio import RATE_HZ

log = logging.getLogger(__name__)

BEAM_SIZE = 5
SWITCH_PROBABILITY = 0.7
"""Probability of another language from which a chunk is recognised in it."""
MIN_SWITCH_PROBABILITY, MIN_SWITCH_RATIO = 0.3, 3.0
"""Probability of another language, and its ratio to that of the language so far, from which a chunk is recognised in both. The
text with the higher log probability is kept."""
SURE_PROBABILITY = 0.5
"""Probability below which a detected language is doubtful."""
MIN_DETECTION_S = 3.0
"""Minimum speech for a change of the language, in seconds."""
MAX_VOCABULARY_TOKENS = 100
"""Maximum length of the vocabulary in the prompt, in tokens. Whisper's prompt takes at most 223 tokens, and the reply suffers
from long prompts."""


@dataclass(frozen=True)
class RecognizedWord:
    """A word with its times in the chunk."""

    text: str
    """Begins with a space where the language separates words by spaces."""
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Recognition:
    """The words of a chunk, and how sure the model is of them."""

    words: tuple[RecognizedWord, ...]
    language: str
    language_probability: float
    mean_logprob: float
    """Mean log probability of a token."""
    no_speech_probability: float
    compression_ratio: float
    """Length of the text by its length after compression; loops have large ratios."""


@dataclass(frozen=True)
class Language:
    """The language of the chunks so far."""

    code: str
    probability: float


class _CachingModel(WhisperModel):
    """A Whisper model that encodes the same features once: the detection of the language and the recognition share them."""

    _encoded: tuple[NDArray[np.float32], Any] | None = None

    def encode(self, features: NDArray[np.float32]) -> Any:
        """Return the encoder output of features, float32 of shape (mels, 3000) or (1, mels, 3000)."""
        window = np.squeeze(features)
        if self._encoded is None or not np.array_equal(self._encoded[0], window):
            self._encoded = window.copy(), super().encode(features)
        return self._encoded[1]


class SpeechRecognizer:
    """A loaded speech model. One chunk is recognised at a time, in a thread of its own."""

    def __init__(self, model: SpeechModel, *, device: SpeechDevice = "cpu", may_fall_back: bool = True, threads: int = 0) -> None:
        """Load a model: int8 on the CPU, float16 on CUDA, where it encodes a second of silence before it is used.

        `may_fall_back`: whether it is loaded on the CPU if CUDA cannot be used.
        `threads`: number of CPU threads; 0: as OpenMP chooses, at most four.

        Raises:
            DeviceNotFound: CUDA cannot be used. InvalidSpeechModel: its files cannot be loaded.
        """
        self.identity, self.device = model.identity, device
        files = model.read_files() if model.folder is None else None

        def load(device: SpeechDevice) -> _CachingModel:
            return _CachingModel(
                str(model.folder or model.name),
                device=device,
                compute_type="float16" if device == "cuda" else "int8",
                cpu_threads=threads,
                # faster-whisper takes out what it has read.
                files=dict(files) if files else None,
                local_files_only=True,
            )

        loaded_model = None
        if device == "cuda":
            try:
                loaded_model = _load_on_cuda(load)
            except DeviceNotFound as error:
                if not may_fall_back:
                    raise DeviceNotFound(f"{error}, or set LONGVIEW_SPEECH_DEVICE=cpu.") from error
                log.warning("%s; until then it runs on the CPU, in 8 bits", error)
                self.device = "cpu"
        try:
            self._model = loaded_model or load("cpu")
        except (RuntimeError, ValueError, OSError) as error:
            raise InvalidSpeechModel(f"The speech model {model.name} cannot be loaded: {error}") from error
        self._pipeline = BatchedInferencePipeline(self._model)
        # A chunk takes seconds and cannot be interrupted: the operation that waits for it can.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="longview-speech")

    @property
    def languages(self) -> Sequence[str]:
        """Codes of the languages that the model knows."""
        codes: list[str] = self._model.supported_languages
        return codes

    def recognize(
        self,
        samples: NDArray[np.float32],
        *,
        language: str | None = None,
        expected: Language | None = None,
        vocabulary: str | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Recognition:
        """Recognise the words of a chunk of at most 30 s, float32 mono of 16 kHz.

        `language`: its language; by default it is detected, and `expected` is the language so far.
        `vocabulary`: names and terms that are likely.

        Raises:
            SpeechFailed: the model failed. Cancelled: the operation was cancelled. The chunk is finished in the background.
        """
        future = self._executor.submit(self._recognize, samples, language, expected, vocabulary)
        while True:
            try:
                return future.result(timeout=CANCEL_POLL_S)
            except RuntimeError as error:
                advice = "; LONGVIEW_SPEECH_DEVICE=cpu runs it on the CPU" if self.device == "cuda" else ""
                raise SpeechFailed(f"The speech model failed: {error}{advice}.") from error
            except FutureTimeoutError:
                if progress.is_cancelled:
                    future.cancel()
                progress.raise_if_cancelled()

    def _recognize(
        self, samples: NDArray[np.float32], language: str | None, expected: Language | None, vocabulary: str | None
    ) -> Recognition:
        segments, info = self._transcribe(samples, language, vocabulary)
        detected = Language(info.language, float(info.language_probability))
        if language or expected is None or detected.code == expected.code:
            return _recognition(segments, detected)
        earlier = Language(expected.code, float(dict(info.all_language_probs or ()).get(expected.code, 0.0)))
        is_short = len(samples) < MIN_DETECTION_S * RATE_HZ
        if not is_short and detected.probability >= SWITCH_PROBABILITY:
            return _recognition(segments, detected)
        in_expected = _recognition(self._transcribe(samples, expected.code, vocabulary)[0], earlier)
        is_unlikely = detected.probability < max(MIN_SWITCH_PROBABILITY, MIN_SWITCH_RATIO * earlier.probability)
        if is_short or is_unlikely:
            return in_expected
        # The features are encoded once, so that a second decoding takes half of the time of a chunk.
        in_detected = _recognition(segments, detected)
        return max(in_expected, in_detected, key=lambda recognition: recognition.mean_logprob)

    def _transcribe(self, samples: NDArray[np.float32], language: str | None, vocabulary: str | None) -> tuple[Any, Any]:
        """Return the lazy segments of one window, and what is known of its language."""
        duration_s = len(samples) / RATE_HZ
        return self._pipeline.transcribe(
            samples,
            language=language,
            beam_size=BEAM_SIZE,
            word_timestamps=True,
            vad_filter=False,
            clip_timestamps=[{"start": 0.0, "end": duration_s}],
            batch_size=1,
            hotwords=self._shorten(vocabulary),
        )

    def _shorten(self, vocabulary: str | None) -> str | None:
        """Return the part of a vocabulary that fits the prompt."""
        if not vocabulary:
            return None
        tokens = self._model.hf_tokenizer.encode(f" {vocabulary}", add_special_tokens=False).ids
        if len(tokens) <= MAX_VOCABULARY_TOKENS:
            return vocabulary
        log.warning("The vocabulary is longer than %d tokens; the rest of it is ignored.", MAX_VOCABULARY_TOKENS)
        text: str = self._model.hf_tokenizer.decode(tokens[:MAX_VOCABULARY_TOKENS])
        return text


def _load_on_cuda(load: Callable[[SpeechDevice], _CachingModel]) -> _CachingModel:
    """Load a model on CUDA, and encode a second of silence: CTranslate2 opens the libraries that it needs only then.

    Raises:
        DeviceNotFound: that fails, or the result is not finite. The message has no full stop, so that it can be continued.
    """
    if not cuda_device_count():
        raise DeviceNotFound("The speech model cannot run on CUDA (there is no device); install a driver of NVIDIA")
    load_cuda_libraries()
    try:
        model = load("cuda")
        features = model.feature_extractor(np.zeros(RATE_HZ, np.float32))
        # The copy waits for the GPU.
        encoded = model.encode(pad_or_trim(features)).to_device(ctranslate2.Device.cpu)
        is_finite = bool(np.isfinite(np.asarray(encoded, np.float32)).all())
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).removesuffix(".")
        raise DeviceNotFound(f"The speech model cannot run on CUDA ({reason}); {cuda_advice(reason)}") from error
    if not is_finite:
        raise DeviceNotFound("The speech model cannot run on CUDA (its numbers are not finite there); update the driver")
    return model


def _recognition(segments: Iterable[Any], language: Language) -> Recognition:
    """Decode the lazy segments of one window."""
    items = list(segments)
    words = tuple(
        RecognizedWord(word.word, float(word.start), float(word.end), float(word.probability))
        for item in items
        for word in item.words or ()
    )
    return Recognition(
        words,
        language.code,
        language.probability,
        mean_logprob=min((float(item.avg_logprob) for item in items), default=-math.inf),
        no_speech_probability=max((float(item.no_speech_prob) for item in items), default=1.0),
        compression_ratio=max((float(item.compression_ratio) for item in items), default=0.0),
    )
