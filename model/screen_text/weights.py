"""The text models that come inside of the package `rapidocr`: PP-OCRv6 small and a classifier of upside-down lines.

The package would download a model that it does not find, or that has another hash. Here the files are checked first, and named by
their paths, so that nothing is downloaded.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from longview.model.errors import InvalidTextModel, TextModelNotFound

NAME = "PP-OCRv6-small"
DETECTOR_FILE = "PP-OCRv6_det_small.onnx"
RECOGNIZER_FILE = "PP-OCRv6_rec_small.onnx"
CLASSIFIER_FILE = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
FILES = {
    DETECTOR_FILE: "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    RECOGNIZER_FILE: "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    CLASSIFIER_FILE: "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
}
"""SHA-256 of each file, those of rapidocr 3.10.0."""
FINGERPRINT_DIGITS = 12
INSTALL_HINT = "install it again with: pip install --force-reinstall 'rapidocr==3.10.0'"


@dataclass(frozen=True)
class TextModel:
    """The bundled text models, without their weights in memory."""

    folder: Path
    package_version: str

    @cached_property
    def identity(self) -> str:
        """Name and fingerprint of the weights, and the version of the package that runs them."""
        fingerprint = hashlib.sha256("".join(FILES.values()).encode()).hexdigest()[:FINGERPRINT_DIGITS]
        return f"{NAME}@{fingerprint}, rapidocr {self.package_version}"

    @property
    def size_bytes(self) -> int:
        """Size of the files, in bytes."""
        return sum((self.folder / name).stat().st_size for name in FILES)

    def check(self) -> None:
        """Check the content of all files.

        Raises:
            InvalidTextModel: see `checked_path`.
        """
        for name in FILES:
            self.checked_path(name)

    def checked_path(self, name: str) -> Path:
        """Return the path of a file after a check of its content.

        Raises:
            InvalidTextModel: it is missing, or is not the one that was checked for this version.
        """
        path = self.folder / name
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidTextModel(f"{path} of the text model cannot be read ({error.strerror}); {INSTALL_HINT}.") from error
        if digest != FILES[name]:
            raise InvalidTextModel(
                f"{path} is not the file that this version of Longview was checked with, so it was not loaded; {INSTALL_HINT}."
            )
        return path


def find_text_model() -> TextModel:
    """Return the bundled text models.

    Raises:
        TextModelNotFound: the package `rapidocr` is not installed.
    """
    try:
        package = distribution("rapidocr")
    except PackageNotFoundError as error:
        raise TextModelNotFound(
            "Text on screen cannot be read without the package rapidocr; install it with: pip install rapidocr==3.10.0"
        ) from error
    return TextModel(Path(str(package.locate_file("rapidocr/models"))), package.version)
