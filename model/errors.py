"""Errors of the package `model`. Each message says what is wrong and what to do."""


class ModelError(Exception):
    """The base class of all errors of `model`. `code` is stable and meant for programs, and `http_status` that of a web reply."""

    code = "model_error"
    http_status = 503


class CheckpointNotFound(ModelError):
    """The checkpoint is not in the local cache and could not be downloaded."""

    code = "checkpoint_not_found"


class InvalidCheckpoint(ModelError):
    """The folder is not a complete safetensors checkpoint of a video language model."""

    code = "invalid_checkpoint"


class RepositoryNotFound(ModelError):
    """The hub has no such repository or revision, or the name cannot be one."""

    code = "repository_not_found"


class AccessRefused(ModelError):
    """The hub gives the repository only to users whom it knows, or who accepted its conditions."""

    code = "access_refused"


class HubUnreachable(ModelError):
    """The hub cannot be asked: no connection, a time-out, an overload, or `HF_HUB_OFFLINE`."""

    code = "hub_unreachable"


class DamagedDownload(ModelError):
    """A file arrived with other content than the hub states, and was deleted."""

    code = "damaged_download"


class CacheFull(ModelError):
    """The disk of the Hugging Face cache has no space for a download."""

    code = "no_space"


class CacheNotWritable(ModelError):
    """The Hugging Face cache cannot be written."""

    code = "cache_not_writable"


class InvalidProfile(ModelError):
    """A profile, a file that belongs to Longview itself, cannot be read or is incomplete."""

    code = "invalid_profile"


class InvalidQuestion(ModelError):
    """The question is empty or too long, or refers to a time outside the video."""

    code = "invalid_question"
    http_status = 400


class LocalEngineUnavailable(ModelError):
    """A package that a model on this machine needs is not installed, or cannot be imported."""

    code = "local_engine_unavailable"


class DeviceNotFound(ModelError):
    """The requested device is not available."""

    code = "device_not_found"


class UnreadableReplies(ModelError):
    """No reply of a checkpoint has a form that can be read."""

    code = "unreadable_replies"


class DeviceBusy(ModelError):
    """Another checkpoint has the device: it did not become free in time, or the host has no memory for its weights."""

    code = "device_busy"


class OutOfMemory(ModelError):
    """The device does not have enough memory for the plan."""

    code = "out_of_memory"


class ContextOverflow(ModelError):
    """The question and the reply do not fit into the context after the video."""

    code = "context_overflow"


class OutOfDistribution(ModelError):
    """The footage is unlike the checkpoint's training data, so its replies would be invented."""

    code = "out_of_distribution"


class ServerUnreachable(ModelError):
    """No model server answers at the given address."""

    code = "server_unreachable"


class ServerFailed(ModelError):
    """The model server rejected a request or closed the connection during a reply."""

    code = "server_failed"


class PromptTooLong(ModelError):
    """A served model takes less than was planned. Later plans are smaller, so the same request may be made once more."""

    code = "prompt_too_long"

    def __init__(self, reason: str) -> None:
        """`reason`: what was too long, and what is planned now."""
        super().__init__(f"{reason} Ask again.")
        self.reason = reason


class TrainingRefused(ModelError):
    """A training run cannot start or resume with the given arguments."""

    code = "training_refused"


class TrainingFailed(ModelError):
    """A training run diverged."""

    code = "training_failed"


class SpeechModelNotFound(ModelError):
    """There is no such speech model here, or the packages that run it are not installed."""

    code = "speech_model_not_found"


class SpeechFailed(ModelError):
    """The speech model failed on a chunk, for instance for lack of memory."""

    code = "speech_failed"


class InvalidSpeechModel(ModelError):
    """The files of a speech model are incomplete or damaged, or not those that were checked."""

    code = "invalid_speech_model"


class TextModelNotFound(ModelError):
    """The package of the text models is not installed."""

    code = "text_model_not_found"


class InvalidTextModel(ModelError):
    """The files of the text models are missing or damaged, or not those that were checked."""

    code = "invalid_text_model"


class ScreenTextFailed(ModelError):
    """A text model or the program tesseract failed on a frame."""

    code = "screen_text_failed"
