"""Sources of settings and their weight, and errors about invalid values and old names."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from longview.app import settings as settings_module
from longview.app.errors import BadRequest
from longview.app.settings import OLD_NAMES, RENAMED, Settings, job_settings, load_settings, rename_notices


@pytest.fixture(autouse=True)
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of these tests, which replaces the user's file and environment."""
    for name in (*Settings.model_fields, *OLD_NAMES, *RENAMED):
        monkeypatch.delenv(f"LONGVIEW_{name.upper()}", raising=False)
    path = tmp_path / "longview.toml"
    monkeypatch.setitem(Settings.model_config, "toml_file", path)
    monkeypatch.setattr(settings_module, "CONFIG_FILE", path)
    return path


def test_flags_outweigh_environment_file_and_defaults(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().port == 7860
    config_file.write_text('port = 1001\nbackend = "decord"\n')
    assert load_settings().port == 1001
    monkeypatch.setenv("LONGVIEW_PORT", "1002")
    assert load_settings().port == 1002
    assert load_settings(port=1003).port == 1003
    assert load_settings(port=None).port == 1002
    assert load_settings().backend == "decord"


def test_empty_environment_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_settings()
    monkeypatch.setenv("LONGVIEW_LIBRARY", "")
    monkeypatch.setenv("LONGVIEW_PORT", "")
    assert load_settings() == expected
    assert expected.library.is_absolute()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "many"),
        ("backend", "opencv"),
        ("cpu_threads", "0"),
        ("context_tokens", "-1"),
        ("max_upload_bytes", "0"),
    ],
)
def test_invalid_value_is_reported_in_one_sentence(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LONGVIEW_{name.upper()}", value)
    with pytest.raises(BadRequest, match=f"The setting {name} has an invalid value") as raised:
        load_settings()
    assert "\n" not in str(raised.value)


def test_malformed_settings_file_is_reported(config_file: Path) -> None:
    config_file.write_text("port = = 7")
    with pytest.raises(BadRequest, match="longview.toml"):
        load_settings()


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_old_environment_variable_is_an_error(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LONGVIEW_{old.upper()}", "1")
    with pytest.raises(BadRequest, match=f"LONGVIEW_{old.upper()} is now called LONGVIEW_{new.upper()}; rename it"):
        load_settings()


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_old_name_in_the_settings_file_is_an_error(old: str, new: str, config_file: Path) -> None:
    config_file.write_text(f"{old} = 1\n")
    with pytest.raises(BadRequest, match=f"The setting {old} in .*longview.toml is now called {new}; rename it"):
        load_settings()


def test_old_names_are_those_of_the_first_version() -> None:
    assert OLD_NAMES == {"home": "library", "reader": "backend", "fast": "key_frames_only", "threads": "cpu_threads"}
    assert set(OLD_NAMES.values()) <= Settings.model_fields.keys()


def test_renamed_setting_works_under_both_names(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text("words = false\n")
    assert not load_settings().transcript and rename_notices({}) == [f"words in {config_file} is now transcript."]
    assert load_settings(transcript=True).transcript and rename_notices({"transcript": True}) == []
    monkeypatch.setenv("LONGVIEW_WORDS", "true")
    assert load_settings().transcript and rename_notices({}) == ["LONGVIEW_WORDS is now LONGVIEW_TRANSCRIPT."]
    monkeypatch.setenv("LONGVIEW_TRANSCRIPT", "false")
    assert not load_settings().transcript and rename_notices({}) == []
    monkeypatch.delenv("LONGVIEW_TRANSCRIPT")
    # A job of an earlier version waits under the earlier name.
    assert job_settings(load_settings(transcript=False)) == {"words": False}


def test_old_variable_beside_the_new_one_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGVIEW_HOME", str(tmp_path / "old"))
    assert load_settings(library=tmp_path / "flag").library == tmp_path / "flag"
    monkeypatch.setenv("LONGVIEW_LIBRARY", str(tmp_path / "new"))
    assert load_settings().library == tmp_path / "new"


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1
