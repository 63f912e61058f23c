"""The files of waveforms in the cache folder of a library."""

from pathlib import Path
from typing import TYPE_CHECKING

from longview.app.files.file_names import write_errors
from longview.core.atomic import atomic_write
from longview.indexing.library_files import THUMBNAILS, require_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def waveform_path(folder: Path, video_id: str) -> Path:
    """Return where the peaks of a video's sound are, a byte each. `folder`: that of the library."""
    return folder / THUMBNAILS / f"{require_id(video_id)}-waveform.bin"


def write_waveform(folder: Path, video_id: str, peaks: "NDArray[np.uint8]") -> Path:
    """Write peaks of shape (n,); return their file.

    Raises:
        NoSpace: the disk is full. BadRequest: the file cannot be written.
    """
    target = waveform_path(folder, video_id)
    with write_errors(target), atomic_write(target) as temporary_path:
        temporary_path.write_bytes(peaks.tobytes())
    return target
