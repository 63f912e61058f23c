"""Names of what may be in the Hugging Face cache, read from its folders alone: the client of the hub takes a fifth of a second
to import."""

from pathlib import Path

from huggingface_hub import constants

MODEL_FOLDERS = "models--"
"""Beginning of the names of the folders of models in the cache."""


def possible_models() -> tuple[str, ...]:
    """Return the names of the models that have a folder in the cache, whether or not there is anything in it."""
    folders = Path(constants.HF_HUB_CACHE).expanduser().glob(f"{MODEL_FOLDERS}*")
    return tuple(folder.name.removeprefix(MODEL_FOLDERS).replace("--", "/", 1) for folder in folders)
