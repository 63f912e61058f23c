"""The cache of a hub: files of other programs, records, and removal."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from longview.model.engine.checkpoints.checkpoints import cached_checkpoints, find_checkpoint
from longview.model.errors import (
    CacheNotWritable,
    CheckpointNotFound,
    InvalidCheckpoint,
)
from longview.model.hub.cache import remove_repository, repository_folder
from tests.support.hub_server import Hub
from tests.support.pull_samples import FILES, NAME, WEIGHTS, pull_now


@pytest.mark.parametrize("leftover", ["missing shard", "broken link", "partial file"])
def test_checkpoint_of_another_program_that_is_not_complete_is_not_used(hub: Hub, leftover: str) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files = {"config.json": FILES["config.json"], "model.safetensors.index.json": json.dumps(index).encode()}
    hub.add(NAME, files | dict.fromkeys(index["weight_map"].values(), WEIGHTS))
    folder = pull_now().folder
    (folder.parents[1] / "longview.json").unlink()
    assert [checkpoint.name for checkpoint in cached_checkpoints()] == [NAME]
    match leftover:
        case "missing shard":
            (folder / "model-00002-of-00002.safetensors").unlink()
        case "broken link":
            (folder / "tokenizer.json").symlink_to("../../blobs/gone")
        case "partial file":
            (folder.parents[1] / "blobs" / f"{'0' * 64}.1a2b3c4d.incomplete").touch()
    assert cached_checkpoints() == ()
    with pytest.raises(InvalidCheckpoint, match=f"{NAME} is not complete; `longview models pull {NAME}` resumes"):
        find_checkpoint(NAME)
    pull_now()
    assert find_checkpoint(NAME).weight_bytes == 2 * len(WEIGHTS)


def test_unrelated_partial_file_of_another_program_is_a_warning(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.add("me/other", dict(FILES))
    folder = pull_now("me/other").folder
    (folder.parents[1] / "longview.json").unlink()
    # Older versions of the hub's client name it as this one does.
    (folder.parents[1] / "blobs" / f"{'0' * 64}.incomplete").write_bytes(b"GGUF")
    assert [find_checkpoint("me/other").folder, *(item.folder for item in cached_checkpoints())] == [folder, folder]
    assert caplog.text.count("me/other was not finished") == 1
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(InvalidCheckpoint, match="me/other is not complete"):
        find_checkpoint("me/other")


def test_recorded_file_that_is_gone_makes_a_checkpoint_incomplete(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    folder = pull_now().folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidCheckpoint, match="is not complete"):
        find_checkpoint(NAME)
    assert pull_now().transferred_bytes == 0 and find_checkpoint(NAME).folder == folder


def test_checkpoint_that_is_not_here_is_not_downloaded_unasked(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    with pytest.raises(CheckpointNotFound, match=f"`longview models pull {NAME}` downloads it"):
        find_checkpoint(NAME)
    assert hub.requests == []


def test_removal_deletes_one_repository_only(hub: Hub, tmp_path: Path) -> None:
    other = "someone/copy"
    for name in (NAME, other):
        # A copy of a repository has the same commits.
        hub.add(name, dict(FILES))
        pull_now(name)
    outside = tmp_path / "mine.safetensors"
    outside.write_bytes(b"mine")
    (find_checkpoint(NAME).folder / "mine.safetensors").symlink_to(outside)
    (repository_folder(NAME) / "blobs" / f"{'0' * 64}.incomplete").write_bytes(b"\0" * 1000)
    freed_bytes = remove_repository(NAME)
    assert freed_bytes == sum(map(len, FILES.values())) + len(b"mine") + 1000
    assert not repository_folder(NAME).exists() and outside.exists()
    assert [checkpoint.name for checkpoint in cached_checkpoints()] == [other]
    with pytest.raises(CheckpointNotFound, match=f"{NAME} is not in the Hugging Face cache"):
        remove_repository(NAME)


def test_removal_deletes_nothing_outside_of_the_cache(hub: Hub, tmp_path: Path) -> None:
    hub.add(NAME, dict(FILES))
    pull_now()
    cache, mine = Path(constants.HF_HUB_CACHE), tmp_path / "mine"
    (mine / "snapshots").mkdir(parents=True)
    (cache / "models--me--link").symlink_to(mine)
    with pytest.raises(CacheNotWritable, match="models--me--link is a link to a folder outside"):
        remove_repository("me/link")
    assert (mine / "snapshots").exists()
    (cache / "models--me--thesis" / "chapters").mkdir(parents=True)
    with pytest.raises(CheckpointNotFound, match="me/thesis is not in"):
        remove_repository("me/thesis")
    assert (cache / "models--me--thesis" / "chapters").exists()


def test_damaged_repository_can_be_removed(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    (pull_now().folder / "gone.json").symlink_to("../../blobs/gone")
    assert remove_repository(NAME) >= sum(map(len, FILES.values()))
    assert not repository_folder(NAME).exists()


@pytest.mark.parametrize("change", [{"digest": "../../../../mine.txt"}, {"path": "../../mine.txt"}, {"size": -1}])
def test_record_that_another_program_has_changed_is_not_believed(hub: Hub, tmp_path: Path, change: dict[str, Any]) -> None:
    hub.add(NAME, dict(FILES))
    folder = pull_now().folder
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    record = repository_folder(NAME) / "longview.json"
    content = json.loads(record.read_text())
    content["files"][0] |= change
    record.write_text(json.dumps(content))
    (folder / content["files"][0]["path"]).unlink(missing_ok=True)
    assert pull_now().folder == folder and mine.read_text() == "mine"
    assert find_checkpoint(NAME).folder == folder
