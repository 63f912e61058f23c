"""Checks of weight files before they are loaded: those of the demo checkpoint by hash, others by the sizes in their headers."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longview.model.engine.checkpoints.checkpoints import DEMO, OOD_DETECTOR_FILE, OOD_DETECTOR_FOLDER, Checkpoint
from longview.model.errors import InvalidCheckpoint
from longview.model.model_folders import indexed_files

DEMO_FILES = {
    "model.safetensors": "642691d663084e96883ea59a3c94b886ea16d3d07ac4388d1a0737ae7e6cd12a",
    f"{OOD_DETECTOR_FOLDER}/{OOD_DETECTOR_FILE}": "4e36c525d526cc71ec19fa91464c72889b062afd5377a8f9f4b2fdd46cb6eaca",
}
"""SHA-256 of the weights of the demo checkpoint. With a changed exponent it loads, and then sees nothing in a video."""
FP8_METHODS = frozenset({"fp8", "mxfp8"})
"""Quantisation methods whose kernels come from the package `kernels`; without it the weights are de-quantised."""
SCALE_SUFFIX = "_scale_inv"
"""Suffix of the name of a weight in FP8 with which its scale is named."""
UNUSED_PREFIXES = ("mtp.",)
"""Beginnings of the names of tensors that are not loaded: layers that predict several tokens at once."""
BYTES_OF_FORMATS = {
    "F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes of a number by its format."""
SCALE_SUFFIXES = (SCALE_SUFFIX, ".scale", ".qscale_weight", "activation_scale", "input_scale")
"""Ends of the names of scales."""
SINGLE_FILE = "model.safetensors"
"""The file of a checkpoint without an index, as transformers names it."""
FLOAT_FORMATS = frozenset({"F64", "F32", "F16", "BF16"})
FP8_FORMATS = frozenset({"F8_E4M3", "F8_E5M2"})
SCALE_FORMATS = frozenset({"F8_E8M0", "U8"})
"""Formats of scales that are powers of two."""
MAX_HEADER_BYTES = 100 << 20
"""Maximum size of the header of a safetensors file, in bytes: that of the library `safetensors`."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a weight file, as the header of the file lists it."""

    file: Path
    dtype: str
    """Number format, in the names of safetensors."""
    shape: tuple[int, ...]


def check_weights(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """Check the weight files of a checkpoint: each is read by the header only, those of the demo checkpoint as a whole.

    Return their tensors by name; see `read_tensors`.

    Raises:
        InvalidCheckpoint: a file is missing, cut off, or is not the one of this version.
    """
    if checkpoint.folder == DEMO:
        check_demo(DEMO)
    return read_tensors(checkpoint)


@functools.cache
def check_demo(folder: Path) -> None:
    """Check the weights of the demo checkpoint by hash, once in a process: 18 MB take some 20 ms.

    Raises:
        InvalidCheckpoint: a file is missing or damaged.
    """
    for name, digest in DEMO_FILES.items():
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidCheckpoint(f"{path} of the demo checkpoint cannot be read ({error.strerror}); {_REINSTALL}.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise InvalidCheckpoint(
                f"{path} of the demo checkpoint is damaged, or is not of this version, so it was not loaded; {_REINSTALL}."
            )


def read_tensors(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """Return the tensors that the headers of the weight files of a checkpoint list, by name.

    The files are those of the index, else `model.safetensors`, else all: as for transformers, others may lie beside them.

    Raises:
        InvalidCheckpoint: a file is damaged or cut off, or two have a tensor of the same name.
    """
    tensors: dict[str, StoredTensor] = {}
    folder = checkpoint.folder
    names = indexed_files(folder) or [name for name in (SINGLE_FILE,) if (folder / name).exists()]
    for path in [folder / name for name in names] or sorted(folder.glob("*.safetensors")):
        if path.name == OOD_DETECTOR_FILE:
            continue
        for name, tensor in _read_header(path, _advice(checkpoint)).items():
            if name in tensors:
                raise InvalidCheckpoint(
                    f"{path} has the tensor {name}, which {tensors[name].file.name} has as well; {_advice(checkpoint)}."
                )
            tensors[name] = tensor
    return tensors


def check_formats(
    checkpoint: Checkpoint, tensors: Mapping[str, StoredTensor], method: str | None, block_size: Sequence[int] | None = None
) -> None:
    """Check that the number formats of tensors are those of the configuration, and that each weight in FP8 has its scales.

    `method`: the method by which the weights are quantised, as in config.json; None if they are not. `block_size`: rows and
    columns of the weights that have one scale.

    Raises:
        InvalidCheckpoint: the message names the file and the tensor.
    """
    if method is not None and method not in FP8_METHODS:
        # transformers and the package of the method know their formats.
        return
    for name, tensor in tensors.items():
        place = f"{tensor.file}: the tensor {name}"
        is_scale = name.endswith(SCALE_SUFFIXES)
        if tensor.dtype not in (
            FLOAT_FORMATS if method is None else FLOAT_FORMATS | (SCALE_FORMATS if is_scale else FP8_FORMATS)
        ):
            stated = "config.json states no quantisation" if method is None else f"the weights are quantised as {method}"
            raise InvalidCheckpoint(f"{place} is in {tensor.dtype}, but {stated}; {_advice(checkpoint)}.")
        if tensor.dtype in FP8_FORMATS:
            scales = next((tensors[scale] for scale in _scale_names(name) if scale in tensors), None)
            if scales is None:
                raise InvalidCheckpoint(f"{place} is in FP8 and has no scale; {_advice(checkpoint)}.")
            if block_size and not _is_grid(tensor.shape, scales.shape, block_size):
                shapes = " and ".join(" x ".join(map(str, one.shape)) for one in (tensor, scales))
                raise InvalidCheckpoint(
                    f"{place} and its scales have the shapes {shapes}, which do not fit; {_advice(checkpoint)}."
                )
        if name.endswith(SCALE_SUFFIX):
            weight = tensors.get(name.removesuffix(SCALE_SUFFIX))
            if weight is None:
                raise InvalidCheckpoint(f"{place} is a scale without its weight; {_advice(checkpoint)}.")
            if method is not None and weight.dtype not in FP8_FORMATS:
                raise InvalidCheckpoint(f"{place} is the scale of a weight in {weight.dtype}, not in FP8; {_advice(checkpoint)}.")


def sizes_in_memory(
    tensors: Mapping[str, StoredTensor], itemsize: int, *, method: str | None = None, is_dequantized: bool = False
) -> dict[str, int]:
    """Return the sizes of tensors when they are loaded, in bytes, by name.

    `itemsize`: bytes of a number that is not quantised. `method`, `is_dequantized`: how the weights are quantised in the files,
    and whether they are de-quantised while they are loaded, as those in FP8 can be.
    """
    sizes = {}
    for name, tensor in tensors.items():
        count = math.prod(tensor.shape)
        if name.startswith(UNUSED_PREFIXES) or (is_dequantized and name.endswith(SCALE_SUFFIX)):
            continue
        is_plain = tensor.dtype in FLOAT_FORMATS and not name.endswith(SCALE_SUFFIX)
        # The packages of other methods take what is in the files.
        if (method is None or method in FP8_METHODS) and (is_plain or is_dequantized):
            sizes[name] = count * itemsize
        else:
            sizes[name] = count * BYTES_OF_FORMATS.get(tensor.dtype, 4)
    return sizes


def _scale_names(name: str) -> tuple[str, ...]:
    """Return the names that the scale of a weight may have; see `FineGrainedFP8HfQuantizer.update_weight_conversions`."""
    stem = name.removesuffix(".weight")
    return (f"{name}{SCALE_SUFFIX}", f"{stem}.scale", f"{stem}.qscale_weight")


def _is_grid(weights: Sequence[int], scales: Sequence[int], block_size: Sequence[int]) -> bool:
    """Whether scales have one number for each block of weights, whose rows and columns may be exchanged."""
    if len(weights) < 2 or len(block_size) != 2:
        return True
    return any(
        tuple(scales) == (*weights[:-2], *(math.ceil(size / step) for size, step in zip(weights[-2:], steps, strict=True)))
        for steps in (block_size, tuple(reversed(block_size)))
    )


_REINSTALL = "install Longview again (in a checkout: git checkout -- model/demo)"


def _read_header(path: Path, advice: str) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file, and check that the tensors that it lists fill the rest of the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if header_bytes > min(MAX_HEADER_BYTES, size):
                raise ValueError("the length of its header is impossible")
            header = json.loads(file.read(header_bytes))
        entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
        tensors = {
            name: StoredTensor(path, str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            for name, entry in entries.items()
        }
    except OSError as error:
        raise InvalidCheckpoint(f"{path} cannot be read ({error.strerror}); {advice}.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidCheckpoint(f"{path} is damaged: its header cannot be read ({error}); {advice}.") from error
    expected = 8 + header_bytes + end
    if size != expected:
        raise InvalidCheckpoint(f"{path} is damaged: it has {size} bytes, and its header lists {expected}; {advice}.")
    return tensors


def _advice(checkpoint: Checkpoint) -> str:
    if Path(checkpoint.name).is_absolute():
        return "copy it again"
    return f"download it again with `longview models remove {checkpoint.name}` and `longview models pull {checkpoint.name}`"
