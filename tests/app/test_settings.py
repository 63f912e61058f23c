"""Where a setting comes from, and what is said about one that makes no sense."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from longview.app.errors import BadRequest
from longview.app.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of these tests; the user's own one and his environment are out of the way."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LONGVIEW_{name.upper()}", raising=False)
    monkeypatch.setitem(Settings.model_config, "toml_file", tmp_path / "longview.toml")
    return tmp_path / "longview.toml"


def test_flags_outweigh_the_environment_which_outweighs_the_file_which_outweighs_defaults(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().port == 7860
    config_file.write_text('port = 1001\nreader = "decord"\n')
    assert load_settings().port == 1001
    monkeypatch.setenv("LONGVIEW_PORT", "1002")
    assert load_settings().port == 1002
    assert load_settings(port=1003).port == 1003
    assert load_settings(port=None).port == 1002
    assert load_settings().backend == "decord"


def test_an_empty_environment_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("reader", "opencv"),
        ("threads", "0"),
        ("context_tokens", "-1"),
        ("max_upload_bytes", "0"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_in_one_sentence(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LONGVIEW_{name.upper()}", value)
    with pytest.raises(BadRequest, match=f"The setting {name} is wrong") as raised:
        load_settings()
    assert "\n" not in str(raised.value)


def test_a_settings_file_that_cannot_be_read_is_told(config_file: Path) -> None:
    config_file.write_text("port = = 7")
    with pytest.raises(BadRequest, match="longview.toml"):
        load_settings()


def test_settings_do_not_change_under_a_running_program() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1
