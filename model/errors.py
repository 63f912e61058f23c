"""What can go wrong with checkpoints, questions and replies, each as a sentence its reader can act on."""


class ModelError(Exception):
    """Base of all errors of `model`. `code` is stable and meant for programs."""

    code = "model_error"


class CheckpointNotFound(ModelError):
    """No checkpoint of that name is on this machine, and it could not be downloaded."""

    code = "checkpoint_not_found"


class InvalidCheckpoint(ModelError):
    """The folder is no complete, safe checkpoint of a video language model."""

    code = "bad_checkpoint"


class InvalidQuestion(ModelError):
    """The question is empty, or asks about a time that the video does not have."""

    code = "bad_question"


class DeviceNotFound(ModelError):
    """The device that was asked for is not on this machine."""

    code = "device_not_found"


class Cancelled(ModelError):
    """Whoever asked wants to know no longer."""

    code = "stopped"


class OutOfMemory(ModelError):
    """The device has not enough memory for the plan."""

    code = "out_of_memory"


class ContextOverflow(ModelError):
    """Question and reply do not fit behind the video."""

    code = "context_full"


class OutOfDistribution(ModelError):
    """The checkpoint was trained on nothing like it, and knows that it was not."""

    code = "unfamiliar"


class ServerUnreachable(ModelError):
    """There is no model server where one was named, or it does not answer."""

    code = "server_unreachable"


class ServerFailed(ModelError):
    """The model server refused a request, or broke off in the middle of a reply."""

    code = "server_failed"


class TrainingRefused(ModelError):
    """A run of training can't begin or go on as it was asked to."""

    code = "training_refused"


class TrainingFailed(ModelError):
    """The numbers of a run of training became useless."""

    code = "training_failed"
