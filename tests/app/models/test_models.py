"""The command `models` lists what is in the Hugging Face cache, pulls from a hub, removes, and chooses the default."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from longview.app import settings as settings_module
from longview.app.cli import models as cli_models
from longview.app.cli.group import cli
from longview.app.models import advice as model_advice
from longview.app.settings import Settings
from longview.model.engine.costs.machine import Machine
from longview.model.hub.cache import repository_folder
from longview.model.recommendation import recommend
from tests.support.hub_server import Hub, Reply
from tests.support.shell import environment

CONFIG = {
    "model_type": "qwen3_vl",
    "vision_config": {},
    "text_config": {
        "max_position_embeddings": 131_072,
        "num_hidden_layers": 10,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 128,
    },
}
KV_BYTES = 2 * 2 * 10 * 2 * 128
"""Keys and values of a token in ten layers with two heads of 128 numbers of two bytes."""


COMMIT = "0123456789abcdef0123456789abcdef01234567"
BOARD = Machine("cpu", "a board", (1 << 30,), 1 << 30, 1, 1e9, 1e9)
"""A machine that is too small for all published checkpoints."""
CARD = Machine("cuda", "a card", (24 << 30,), 64 << 30, 16, 165e12, 1e12, multiplies_fp8=True, has_fp8_kernels=True)


def cache_repository(repo_id: str, weight_bytes: int, config: dict[str, Any] = CONFIG) -> None:
    """Put a repository into the cache as the hub's own client does."""
    folder = repository_folder(repo_id)
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(snapshot.name)
    (snapshot / "config.json").write_text(json.dumps(config))
    with (snapshot / "model.safetensors").open("wb") as file:
        # A hole takes no space on the disk.
        file.truncate(weight_bytes)


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of this process; nothing is set in the environment."""
    for setting in ("MODEL", "GROUNDING_MODEL", "SPEECH_MODEL"):
        monkeypatch.delenv(f"LONGVIEW_{setting}", raising=False)
    path = tmp_path / "config" / "longview.toml"
    monkeypatch.setitem(Settings.model_config, "toml_file", path)
    monkeypatch.setattr(settings_module, "CONFIG_FILE", path)
    return path


def call(*words: str, code: int = 0) -> Result:
    """Run a subcommand of `models` in this process."""
    result = CliRunner().invoke(cli, ["models", *words])
    assert result.exit_code == code, result.output
    return result


def document(*words: str, code: int = 0) -> Any:
    return json.loads(call(*words, "--json", code=code).stdout)


def use_machine(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """Recommend checkpoints for a machine, in place of this one."""
    monkeypatch.setattr(model_advice, "find_machine", lambda *_, **__: machine)


@pytest.fixture
def cache(tmp_path: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache with two checkpoints and a model that is none."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    use_machine(monkeypatch, BOARD)
    cache_repository("Qwen/Qwen3-VL-2B-Instruct", 4_000_000_000)
    cache_repository("TencentARC/TimeLens-8B", 1 << 43)
    cache_repository("openai/whisper-tiny", 1000, {"model_type": "whisper"})


@pytest.mark.usefixtures("cache")
def test_checkpoints_are_listed_with_what_they_need_and_what_they_are_for() -> None:
    models = {model["name"]: model for model in document("--model", "Qwen/Qwen3-VL-2B-Instruct")["models"]}
    assert [*models] == ["demo", "Qwen/Qwen3-VL-2B-Instruct", "TencentARC/TimeLens-8B"]
    general, grounding = models["Qwen/Qwen3-VL-2B-Instruct"], models["TencentARC/TimeLens-8B"]
    assert general["tasks"] == ["captions", "answers", "locates all"] and grounding["tasks"] == ["locates one"]
    assert general["memory_bytes"]["65536"] == 4_000_000_000 + 65_536 * KV_BYTES
    assert (models["demo"]["revision"], general["revision"], grounding["revision"]) == (None, COMMIT, COMMIT)
    # It takes no context of 256K.
    assert [*general["memory_bytes"]] == ["16384", "65536"]
    # No machine has eight terabytes of memory.
    assert not any(grounding["fits"].values())
    assert [name for name, model in models.items() if model["chosen"]] == ["Qwen/Qwen3-VL-2B-Instruct"]
    # Weights and cache add up to the memory.
    text = call("--model", "Qwen/Qwen3-VL-2B-Instruct").stdout
    assert "\n    weights 4.0 GB, with a context of 16K 4.2 GB, 64K 4.7 GB" in text and "\n    weights 18 MB, with" in text


@pytest.mark.usefixtures("cache")
def test_checkpoint_that_is_not_here_is_not_downloaded() -> None:
    models = document("--model", "Qwen/Qwen3-VL-4B-Instruct")["models"]
    assert "Qwen/Qwen3-VL-4B-Instruct" not in [model["name"] for model in models]
    assert not any(model["chosen"] for model in models)


LARGE_SPEECH = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
GENERAL, GROUNDING, SPEECH = "Qwen/Qwen3-VL-2B-Instruct", "TencentARC/TimeLens-8B", "Systran/faster-whisper-small"
CHECKPOINT = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": bytes(10_000_000)}
CHUNK_BYTES = 10 * 1024 * 1024
"""Size of the pieces in which the client of the hub writes, outside of this process."""
SPEECH_MODEL = {"config.json": b'{"suppress_ids": []}', "model.bin": bytes(5_000_000), "vocabulary.txt": b"a"}


@pytest.fixture
def models_hub(hub: Hub, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with a model of each kind."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
    hub.add(GENERAL, CHECKPOINT)
    hub.add(GROUNDING, CHECKPOINT)
    hub.add(SPEECH, SPEECH_MODEL)
    return hub


def test_models_of_all_kinds_are_pulled_at_once_and_their_sum_is_stated_first(models_hub: Hub) -> None:
    printed = call("pull", GENERAL, f"{GROUNDING}@main", "small")
    lines = printed.stderr.splitlines()
    assert lines[0] == "3 models: 0.03 GB to download; 0.00 GB are here already."
    # The catalogue has no license of the others.
    assert lines[1] == f"{GROUNDING}: BSD-3-Clause" and f"{GENERAL}:" not in printed.stderr
    assert printed.stdout.startswith(f"Pulled {GENERAL} at 01234567 (0.01 GB); use it with --model")
    assert f"Pulled {SPEECH} at 01234567 (0.01 GB); use it with --speech-model" in printed.stdout
    models_hub.add(GENERAL, CHECKPOINT, commit="89abcdef" * 5)
    again = call("pull", GENERAL)
    assert again.stderr.startswith("1 model: 0.00 GB to download; 0.01 GB are here already.")
    assert again.stdout.splitlines() == [
        f"{GENERAL} is up to date at 01234567 (0.01 GB).",
        f"  The hub has a newer commit, 89abcdef; `longview models pull {GENERAL} --update` takes it.",
    ]
    (model,) = document("pull", GENERAL, "--update")["models"]
    assert model["commit"] == "89abcdef" * 5 and model["transferred_bytes"] == 0 and model["newer_commit"] is None
    assert model["license"] is None and document("pull", GROUNDING)["models"][0]["license"] == "BSD-3-Clause"
    assert Path(model["folder"], "model.safetensors").stat().st_size == 10_000_000
    models = {model["name"]: model for model in document("--model", "demo")["models"]}
    assert models[GENERAL]["revision"] == "89abcdef" * 5 and SPEECH not in models


def test_recommended_models_are_pulled_and_become_the_default(
    models_hub: Hub, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_machine(monkeypatch, CARD)
    model, grounding, speech = recommend(CARD).names
    for name, files in ((model, CHECKPOINT), (grounding, CHECKPOINT), (LARGE_SPEECH, SPEECH_MODEL)):
        models_hub.add(name, files)
    assert f"Recommended: {model} (11.9 GB) for captions and questions, {grounding} (8.9 GB) to locate" in call().stdout
    printed = call("pull", "recommended", GENERAL)
    assert printed.stderr.startswith("4 models: 0.04 GB to download")
    assert [line.split(" ")[1] for line in printed.stdout.splitlines()[:4]] == [GENERAL, model, grounding, LARGE_SPEECH]
    defaults = (f'model = "{model}"', f'grounding_model = "{grounding}"', f'speech_model = "{speech}"')
    assert config_file.read_text().splitlines() == [*defaults]
    listed = document()
    assert [item["name"] for item in listed["models"] if item["chosen"]] == [model]
    assert (listed["recommendation"]["model"], listed["recommendation"]["takes_turns"]) == (model, True)
    assert "finds all of it here and makes them the default." in call().stdout


def test_default_that_is_not_recommended_is_reset(models_hub: Hub, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_models, "_recommended_names", lambda _: (GENERAL,))
    config_file.parent.mkdir()
    config_file.write_text(f'grounding_model = "{GROUNDING}"\nport = 7000\nspeech_model = "small"\n')
    printed = call("pull", "recommended").stdout
    assert f"The default grounding_model was reset, because none is recommended; it was {GROUNDING}." in printed
    assert config_file.read_text() == f'port = 7000\nmodel = "{GENERAL}"\n'
    config_file.write_text('speech_model = "small"\n')
    again = document("pull", "recommended")
    assert (again["default_settings"], again["reset_settings"]) == (["model"], ["speech_model"])


def test_a_machine_without_a_recommendation_pulls_nothing(models_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    use_machine(monkeypatch, BOARD)
    assert "No published checkpoint fits" in document("pull", "recommended", code=1)["error"]["message"]
    assert models_hub.requests == []
    assert "This machine: 1 core, 1 GB of memory, no GPU." in call().stdout


def test_nothing_is_transferred_if_one_of_several_names_is_wrong(models_hub: Hub) -> None:
    error = document("pull", GENERAL, "no/such", code=1)["error"]
    assert error["code"] == "repository_not_found" and "no/such" in error["message"]
    assert not repository_folder(GENERAL).exists()


@pytest.mark.parametrize("name", ["demo", "auto", "whisper-base", "./folder", "."])
def test_what_is_no_repository_is_neither_pulled_nor_removed(models_hub: Hub, name: str) -> None:
    for command in ("pull", "remove"):
        assert document(command, name, code=1)["error"]["code"] == "bad_request"
    assert models_hub.requests == []


@pytest.mark.parametrize(
    ("name", "code"),
    [("no-such-size", "speech_model_not_found"), ("x" * 5000, "speech_model_not_found"), ("~nouser", "bad_request")],
)
def test_name_that_cannot_be_a_path_is_refused_as_any_other(models_hub: Hub, name: str, code: str) -> None:
    for command in ("pull", "remove"):
        assert document(command, name, code=1)["error"]["code"] == code
    assert document("default", name, code=1)["error"]["code"] == "speech_model_not_found"
    assert document("default", name, "--unset", code=1)["error"]["code"] == "bad_request"
    assert document("--model", name, code=1)["error"]["code"] == "checkpoint_not_found"
    assert models_hub.requests == []


def test_failure_is_one_sentence_with_the_page_to_visit(models_hub: Hub) -> None:
    models_hub.failures["/api/models/"] = Reply(403, {"X-Error-Code": "GatedRepo"})
    printed = call("pull", GENERAL, code=1)
    assert printed.stdout == ""
    assert printed.stderr.count("\n") == 1 and f"{models_hub.url}/{GENERAL}" in printed.stderr
    assert document("pull", GENERAL, code=1)["error"]["code"] == "access_refused"


def test_interrupted_pull_resumes_in_the_next_process(tmp_path: Path, models_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    models_hub.add(GENERAL, CHECKPOINT | {"model.safetensors": bytes(32_000_000)})
    models_hub.stall = threading.Event()
    use_machine(monkeypatch, BOARD)
    home = str(Path(constants.HF_HUB_CACHE).parent)
    variables: dict[str, str] = {"HF_ENDPOINT": models_hub.url, "HF_HOME": home, "HF_HUB_OFFLINE": "0"}
    partial = repository_folder(GENERAL) / "blobs" / f"{hashlib.sha256(bytes(32_000_000)).hexdigest()}.incomplete"
    words = ("models", "pull", GENERAL)
    with subprocess.Popen(
        [sys.executable, "-m", "app", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path / "library", **variables),
    ) as process:
        # The hub waits after sixteen megabytes.
        while process.poll() is None and not (partial.exists() and partial.stat().st_size):
            models_hub.stall.wait(0.02)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    models_hub.stall.set()
    assert process.returncode == 130 and printed == ""
    # The progress is between the first line and the last.
    assert errors.splitlines()[-1] == "Stopped. What was transferred is kept: run the same command to resume."
    assert "Traceback" not in errors and "discarded" not in errors
    listing = document("--model", "demo")
    assert listing["incomplete"] == [GENERAL] and [model["name"] for model in listing["models"]] == ["demo"]
    models_hub.requests.clear()
    (model,) = document(*words[1:])["models"]
    assert model["transferred_bytes"] == 32_000_000 - CHUNK_BYTES
    assert [headers["Range"] for _, _, headers in models_hub.requests if "Range" in headers] == [f"bytes={CHUNK_BYTES}-"]


def test_default_is_the_setting_that_suits_the_model(models_hub: Hub, config_file: Path) -> None:
    assert {item["setting"]: (item["value"], item["source"]) for item in document("default")["defaults"]} == {
        "model": ("auto", "default"),
        "grounding_model": (None, "default"),
        "speech_model": ("auto", "default"),
    }
    for name, code in ((GENERAL, "checkpoint_not_found"), ("small", "speech_model_not_found"), ("no /x", "repository_not_found")):
        assert document("default", name, code=1)["error"]["code"] == code
    assert not config_file.exists()
    call("pull", GENERAL, GROUNDING, "small")
    for name, setting in ((GENERAL, "model"), (GROUNDING, "grounding_model"), ("small", "speech_model")):
        assert document("default", name)["changed_settings"] == [setting]
    assert config_file.read_text() == f'model = "{GENERAL}"\ngrounding_model = "{GROUNDING}"\nspeech_model = "small"\n'
    # The other commands use it.
    assert [model["name"] for model in document()["models"] if model["chosen"]] == [GENERAL]
    assert document("default", SPEECH, "--unset")["changed_settings"] == ["speech_model"]
    assert document("default", "auto")["changed_settings"] == ["model"]
    assert config_file.read_text() == f'grounding_model = "{GROUNDING}"\n'
    assert document("default", GENERAL, "--unset", code=1)["error"]["code"] == "bad_request"
    assert document("default", "--unset")["changed_settings"] == ["grounding_model"]


def test_default_may_be_a_folder(models_hub: Hub, config_file: Path) -> None:
    call("pull", GENERAL)
    folder = repository_folder(GENERAL) / "snapshots" / models_hub.repositories[GENERAL].commit
    assert document("default", str(folder))["changed_settings"] == ["model"]
    assert f'model = "{folder}"' in config_file.read_text()
    listed = document("--model", "demo", "--grounding-model", str(folder))["models"]
    assert str(folder) in [model["name"] for model in listed]
    assert document("default", "demo")["defaults"][0] == {"setting": "model", "value": "demo", "source": "file"}


def test_settings_file_is_otherwise_unchanged(config_file: Path, tmp_path: Path) -> None:
    # The file may be a link into a folder of settings, and have a key that nobody else may read.
    target = tmp_path / "dotfiles" / "longview.toml"
    target.parent.mkdir()
    text = '# mine\r\nport = 1001  # the port\r\nserver_key = "secret"\r\n\r\n[other]\r\nkey = 1\r\n'
    target.write_bytes(text.encode())
    target.chmod(0o600)
    config_file.parent.mkdir()
    config_file.symlink_to(target)
    call("default", "demo")
    assert config_file.is_symlink() and target.stat().st_mode & 0o777 == 0o600
    content = target.read_bytes().decode()
    assert content.replace('model = "demo"\r\n', "") == text
    assert content.index('model = "demo"') < content.index("[other]")
    call("default", "--unset")
    assert target.read_bytes().decode() == text


def test_variable_that_overrides_the_default_is_named(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGVIEW_MODEL", "some/model")
    printed = call("default", "demo").stdout
    assert printed.splitlines()[0] == "model            some/model  (LONGVIEW_MODEL is set, which overrides the change)"
    config_file.write_text("model = = 7")
    assert "longview.toml" in call("default", "demo", code=1).stderr


def test_library_is_read_without_its_default_checkpoint(
    models_hub: Hub, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGVIEW_LIBRARY", str(tmp_path / "library"))
    config_file.parent.mkdir()
    config_file.write_text('model = "no/such"\n')
    for words in (["list"], ["search", "ring"], ["models"]):
        assert CliRunner().invoke(cli, words).exit_code == 0, words
    printed = CliRunner().invoke(cli, ["doctor"])
    expected = "`longview models pull no/such` downloads it. It is the default model (longview.toml); `longview models default"
    assert printed.exit_code == 1 and expected in printed.output
    assert models_hub.requests == []


def test_wrong_name_gets_the_nearest_one(models_hub: Hub) -> None:
    assert "Did you mean Qwen/Qwen3.5-0.8B?" in call("pull", "qwen3.5-0.8b", code=1).stderr
    assert "Did you mean recommended?" in call("pull", "Recommended", code=1).stderr


def test_removal_says_what_is_freed_and_resets_the_default(models_hub: Hub, config_file: Path) -> None:
    call("pull", GENERAL, "small")
    call("default", GENERAL)
    call("default", SPEECH)
    assert call("remove", GENERAL).stdout.splitlines() == [
        f"Removed {GENERAL}: 0.01 GB are free again.",
        "It was the default of model, which was reset.",
    ]
    assert not repository_folder(GENERAL).exists()
    assert document("remove", "small")["reset_settings"] == ["speech_model"]
    assert config_file.read_text() == ""
    assert document("remove", GENERAL, code=1)["error"]["code"] == "checkpoint_not_found"
