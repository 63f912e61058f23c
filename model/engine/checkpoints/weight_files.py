"""Checks of weight files before they are loaded: those of the demo checkpoint by hash, others by the sizes in their headers."""

import functools
import hashlib
import json
from pathlib import Path

from longview.model.engine.checkpoints.checkpoints import DEMO, OOD_DETECTOR_FILE, OOD_DETECTOR_FOLDER, Checkpoint
from longview.model.errors import InvalidCheckpoint

DEMO_FILES = {
    "model.safetensors": "642691d663084e96883ea59a3c94b886ea16d3d07ac4388d1a0737ae7e6cd12a",
    f"{OOD_DETECTOR_FOLDER}/{OOD_DETECTOR_FILE}": "4e36c525d526cc71ec19fa91464c72889b062afd5377a8f9f4b2fdd46cb6eaca",
}
"""SHA-256 of the weights of the demo checkpoint. With a changed exponent it loads, and then sees nothing in a video."""
MAX_HEADER_BYTES = 100 << 20
"""Maximum size of the header of a safetensors file, in bytes: that of the library `safetensors`."""


def check_weights(checkpoint: Checkpoint) -> None:
    """Check the weight files of a checkpoint: each is read by the header only, those of the demo checkpoint as a whole.

    Raises:
        InvalidCheckpoint: a file is missing, cut off, or is not the one of this version.
    """
    if checkpoint.folder == DEMO:
        check_demo(DEMO)
        return
    for path in sorted(checkpoint.folder.glob("*.safetensors")):
        _check_header(path, _advice(checkpoint))


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


_REINSTALL = "install Longview again (in a checkout: git checkout -- model/demo)"


def _check_header(path: Path, advice: str) -> None:
    """Check that the tensors that the header of a safetensors file lists fill the rest of the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if header_bytes > min(MAX_HEADER_BYTES, size):
                raise ValueError("the length of its header is impossible")
            header = json.loads(file.read(header_bytes))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except OSError as error:
        raise InvalidCheckpoint(f"{path} cannot be read ({error.strerror}); {advice}.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidCheckpoint(f"{path} is damaged: its header cannot be read ({error}); {advice}.") from error
    expected = 8 + header_bytes + end
    if size != expected:
        raise InvalidCheckpoint(f"{path} is damaged: it has {size} bytes, and its header lists {expected}; {advice}.")


def _advice(checkpoint: Checkpoint) -> str:
    if Path(checkpoint.name).is_absolute():
        return "copy it again"
    return f"download it again with `longview models remove {checkpoint.name}` and `longview models pull {checkpoint.name}`"
