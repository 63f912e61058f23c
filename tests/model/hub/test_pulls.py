"""Pulls from a hub on the loopback interface: what is transferred, checked, recorded and used, and what a failure leaves."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants

from longview.core.atomic import PARTIAL_PREFIX
from longview.core.progress import Cancelled, Progress
from longview.model.engine.checkpoints.checkpoints import DEMO, cached_checkpoints, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import (
    CacheFull,
    CacheNotWritable,
    DamagedDownload,
    HubUnreachable,
    InvalidCheckpoint,
    InvalidSpeechModel,
    SpeechModelNotFound,
)
from longview.model.hub.cache import cached_repositories, read_record, repository_folder
from longview.model.hub.pulls import PullResult, plan_pull, pull
from longview.model.speech.weights import find_speech_model
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.support.hub_server import Hub, Reply, describe, git_hash, running_hub
from tests.support.power_cuts import disk_calls
from tests.support.pull_samples import FILES, NAME, NEW_COMMIT, WEIGHTS, WEIGHTS_DIGEST, blobs, pull_now, transfers


def test_pulled_checkpoint_answers_as_the_one_on_the_hub(hub: Hub, decoder: Decoder, shapes_video: VideoInfo) -> None:
    paths = [path for path in DEMO.rglob("*") if path.suffix in (".json", ".jinja", ".safetensors", ".md")]
    hub.add("me/shapes", {str(path.relative_to(DEMO)): path.read_bytes() for path in paths})
    pulled = pull_now("me/shapes")
    # The card is not loaded, so it is not transferred.
    assert "README.md" not in transfers(hub) and pulled.transferred_bytes == pulled.plan.size_bytes == pulled.plan.missing_bytes
    assert [checkpoint.name for checkpoint in cached_checkpoints()] == ["me/shapes"]
    checkpoint = find_checkpoint("me/shapes")
    assert checkpoint.folder == pulled.folder and checkpoint.fingerprint == find_checkpoint("demo").fingerprint
    pool = SessionPool(LocalEngine(checkpoint, device="cpu", cpu_threads=1), decoder, memory_bytes=1 << 30)
    plan = pool.planner.plan(shapes_video, "qa")
    session = pool.session(shapes_video, plan, plan.windows[0])
    assert "".join(session.generate("How many events are in the video?", max_new_tokens=50)) == "3."


def test_pull_is_recorded_and_the_next_one_transfers_nothing(hub: Hub) -> None:
    repository = hub.add(NAME, dict(FILES))
    pull_now()
    record = read_record(NAME)
    assert record is not None and (record.revision, record.commit) == ("main", repository.commit)
    assert {file.path: (file.size, file.digest) for file in record.files} == {
        "config.json": (len(FILES["config.json"]), git_hash(FILES["config.json"])),
        "tokenizer.json": (len(FILES["tokenizer.json"]), git_hash(FILES["tokenizer.json"])),
        "model.safetensors": (len(WEIGHTS), WEIGHTS_DIGEST),
    }
    hub.requests.clear()
    again = pull_now()
    assert again.transferred_bytes == 0 and transfers(hub) == [] and again.plan.newer_commit is None


def test_what_a_killed_pull_leaves_does_not_hide_the_model_for_ever(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    pull_now()
    # The process was killed before it had written the commit that `main` means.
    left = repository_folder(NAME) / "refs" / f"{PARTIAL_PREFIX}0123456789abcdef"
    left.touch()
    pull_now()
    assert not left.exists() and cached_repositories() == (NAME,)


def test_record_of_a_pull_does_not_outlive_its_files(hub: Hub) -> None:
    """After a power cut, a file that is recorded as checked must not be empty."""
    hub.add(NAME, dict(FILES))
    with disk_calls() as calls:
        pull_now()
    assert WEIGHTS_DIGEST in calls.renamed and calls.losses == []


def test_new_commit_is_taken_on_request_only_and_only_what_has_changed(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    old = pull_now()
    hub.add(NAME, FILES | {"tokenizer.json": b'{"a": 2}'}, commit=NEW_COMMIT)
    pinned_pull = pull_now()
    assert pinned_pull.plan.newer_commit == NEW_COMMIT and pinned_pull.folder == old.folder and pinned_pull.transferred_bytes == 0
    # Another program may have moved the branch in the cache.
    (repository_folder(NAME) / "refs" / "main").write_text(NEW_COMMIT)
    assert find_checkpoint(NAME).folder == old.folder
    hub.requests.clear()
    update = pull_now(update=True)
    assert update.folder.name == NEW_COMMIT and "model.safetensors" not in transfers(hub)
    assert update.transferred_bytes == len(FILES["tokenizer.json"])
    assert find_checkpoint(NAME).folder == update.folder


def test_named_revision_is_used_although_main_is_newer(hub: Hub) -> None:
    hub.add(NAME, dict(FILES), commit=NEW_COMMIT, tags={"v1": "1234" * 10})
    pulled = pull_now(revision="v1")
    assert pulled.folder.name == "1234" * 10 == find_checkpoint(NAME).folder.name
    assert pull_now().plan.newer_commit == NEW_COMMIT


def test_transfer_that_breaks_off_resumes_at_once(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    hub.cuts["model.safetensors"] = [60_000]
    pull_now()
    # The client drops the last piece of a connection that broke off.
    assert len(WEIGHTS) <= hub.sent_bytes["model.safetensors"] <= len(WEIGHTS) + constants.DOWNLOAD_CHUNK_SIZE
    assert find_checkpoint(NAME).weight_bytes == len(WEIGHTS)


def test_cancelled_pull_resumes_where_it_stopped(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    progress = Progress()
    plan = plan_pull(NAME)
    with pytest.raises(Cancelled):
        pull(plan, progress, on_bytes=lambda _: progress.cancel() if progress.report.fraction > 0.5 else None)
    kept_bytes = (repository_folder(NAME) / "blobs" / f"{WEIGHTS_DIGEST}.incomplete").stat().st_size
    assert len(WEIGHTS) * 0.4 < kept_bytes < len(WEIGHTS) * 0.7
    with pytest.raises(InvalidCheckpoint, match=f"{NAME} is not complete; `longview models pull {NAME}` resumes"):
        find_checkpoint(NAME)
    assert cached_checkpoints() == ()
    hub.requests.clear()
    pulled = pull_now()
    assert pulled.transferred_bytes == pulled.plan.missing_bytes == len(WEIGHTS) - kept_bytes
    ranges = [headers.get("Range") for method, path, headers in hub.requests if "model.safetensors" in path and method == "GET"]
    assert ranges == [f"bytes={kept_bytes}-"]
    assert find_checkpoint(NAME).weight_bytes == len(WEIGHTS) and not [name for name in blobs() if "incomplete" in name]


@pytest.mark.parametrize("content", [WEIGHTS[::-1], WEIGHTS + b"more"], ids=["other content", "more than stated"])
@pytest.mark.parametrize("path", ["model.safetensors", "tokenizer.json"])
def test_file_with_other_content_is_deleted_and_named(hub: Hub, path: str, content: bytes) -> None:
    hub.add(NAME, dict(FILES))
    hub.wrong_content[path] = FILES[path][::-1] if content == WEIGHTS[::-1] else FILES[path] + b"more"
    with pytest.raises(DamagedDownload, match=path):
        pull_now()
    with pytest.raises(InvalidCheckpoint, match="is not complete"):
        find_checkpoint(NAME)
    stated = describe(path, FILES[path])
    digest = stated["lfs"]["sha256"] if "lfs" in stated else stated["blobId"]
    assert not [name for name in blobs() if digest in name]
    assert cached_checkpoints() == () and read_record(NAME) is None
    hub.wrong_content.clear()
    pull_now()
    assert find_checkpoint(NAME).weight_bytes == len(WEIGHTS)


def test_file_that_changed_in_the_cache_is_transferred_again(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    folder = pull_now().folder
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"changed")
    hub.requests.clear()
    pulled = pull_now()
    assert pulled.replaced_files == ("model.safetensors",) and transfers(hub) == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_failure_between_two_files_keeps_the_first(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    hub.failures[f"/{NAME}/resolve/{hub.repositories[NAME].commit}/model.safetensors"] = Reply(500)
    with pytest.raises(HubUnreachable, match=r"\(500\)"):
        pull_now()
    with pytest.raises(InvalidCheckpoint, match=f"{NAME} is not complete; `longview models pull {NAME}` resumes"):
        find_checkpoint(NAME)
    hub.failures.clear()
    assert pull_now().transferred_bytes == len(WEIGHTS)


def test_hub_without_a_connection_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        # It accepts connections and never answers.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
        with pytest.raises(HubUnreachable, match=r"http://127[^ ]* did not answer in time; try again") as raised:
            plan_pull(NAME)
        assert "secret" not in str(raised.value)
    with pytest.raises(HubUnreachable, match=r"no connection to http://127.*check the network"):
        plan_pull(NAME)


def test_no_request_is_made_where_the_hub_is_switched_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, dict(FILES))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE is set, so nothing is downloaded; unset it"):
        plan_pull(NAME)
    assert hub.requests == []


def test_more_than_the_disk_has_free_is_refused_in_gigabytes(hub: Hub) -> None:
    repository = hub.add(NAME, dict(FILES))
    hub.siblings = [*map(describe, repository.files, repository.files.values())]
    hub.siblings[-1]["lfs"]["size"] = 4_000_000_000_000
    with pytest.raises(CacheFull, match=r"4000\.0 GB are missing.*[\d.]+ GB free; free space, or set HF_HOME"):
        pull_now()
    assert transfers(hub) == ["config.json"] and not repository_folder(NAME).exists()


def test_full_disk_does_not_stay_full(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    partial = repository_folder(NAME) / "blobs" / f"{WEIGHTS_DIGEST}.incomplete"
    partial.parent.mkdir(parents=True)
    # Each write to this device fails as on a full disk.
    partial.symlink_to("/dev/full")
    with pytest.raises(CacheFull, match=r"The disk is full.*HF_HOME.*Finished files are kept; one that did not fit was deleted"):
        pull_now()
    assert partial.name not in blobs() and git_hash(FILES["tokenizer.json"]) in blobs()
    assert pull_now().transferred_bytes == len(WEIGHTS)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder that cannot be written, also for root, to whom permissions do not apply."""
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=False).returncode:
            pytest.skip("a read-only folder cannot be mounted here")
        yield
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)


def test_read_only_cache_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, dict(FILES))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "read-only" / "hub"))
    with read_only(tmp_path / "read-only"):
        with pytest.raises(CacheNotWritable, match="read-only.*cannot be written; set HF_HOME"):
            pull_now()
        # The cache may become read-only after the check.
        with pytest.raises(CacheNotWritable, match=r"read-only.*cannot be written \("):
            pull(plan_pull(NAME))


def test_token_goes_to_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    # As `--verbose` does.
    caplog.set_level("INFO")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add(NAME, dict(FILES))
    with running_hub() as cdn:
        cdn.add(NAME, dict(FILES))
        hub.cdn, hub.cdn_query = cdn.url.replace("127.0.0.1", "localhost"), "?signed=signature"
        pull_now()
        assert [path for _, path, _ in cdn.requests] == [f"/{NAME}/resolve/{hub.repositories[NAME].commit}/model.safetensors"]
        assert not [headers for _, _, headers in cdn.requests if "Authorization" in headers]
    tokens = {headers.get("Authorization") for _, path, headers in hub.requests if NAME in path}
    assert tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in caplog.text and "signature" not in caplog.text
    assert "hf_secret" not in (repository_folder(NAME) / "longview.json").read_text()


def test_speech_model_is_pulled_by_its_size(hub: Hub) -> None:
    repo_id = "Systran/faster-whisper-small"
    files = {"config.json": b'{"suppress_ids": []}', "model.bin": WEIGHTS, "vocabulary.txt": b"a", "tokenizer.json": b"{}"}
    hub.add(repo_id, files | {"README.md": b"card"})
    with pytest.raises(SpeechModelNotFound, match="longview models pull small"):
        find_speech_model("small")
    pulled = pull_now(repo_id)
    assert pulled.plan.listing.kind == "speech" and "README.md" not in transfers(hub)
    model = find_speech_model("small")
    assert model.folder == pulled.folder and model.size_bytes == len(WEIGHTS)
    # It is no checkpoint.
    assert cached_checkpoints() == ()
    (pulled.folder / "model.bin").unlink()
    with pytest.raises(InvalidSpeechModel, match="'small' is not complete; `longview models pull small` resumes"):
        find_speech_model("small")


def test_second_pull_waits_for_the_first(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    hub.stall = threading.Event()
    plan, pulled = plan_pull(NAME), list[PullResult]()
    first = threading.Thread(target=lambda: pulled.append(pull(plan)))
    first.start()
    while not hub.sent_bytes["model.safetensors"]:
        first.join(0.01)
    progress = Progress()
    second = threading.Thread(target=lambda: pulled.append(pull(plan, progress)))
    second.start()
    while progress.report.stage != f"Waiting for another pull of {NAME}":
        second.join(0.01)
    hub.stall.set()
    first.join(30)
    second.join(30)
    assert [result.transferred_bytes for result in pulled] == [sum(map(len, FILES.values())), 0]


def test_file_with_an_etag_of_a_mirror_is_checked_by_its_hash_and_transferred_once(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    hub.etags["model.safetensors"] = "mirror-7"
    hub.wrong_content["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(DamagedDownload, match=r"model\.safetensors"):
        pull_now()
    hub.wrong_content.clear()
    hub.requests.clear()
    assert pull_now().transferred_bytes == len(WEIGHTS)
    assert transfers(hub) == ["config.json", "model.safetensors"]
    assert pull_now().transferred_bytes == 0


def test_two_files_with_one_etag_keep_their_contents(hub: Hub) -> None:
    hub.add(NAME, FILES | {"merges.json": b'{"b": 2}'})
    hub.etags |= {"tokenizer.json": "same", "merges.json": "same"}
    folder = pull_now().folder
    assert [(folder / name).read_bytes() for name in ("tokenizer.json", "merges.json")] == [b'{"a": 1}', b'{"b": 2}']
    assert pull_now().transferred_bytes == 0


def test_file_that_changes_during_a_pull_is_not_recorded(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    tokenizer = repository_folder(NAME) / "blobs" / git_hash(FILES["tokenizer.json"])
    with pytest.raises(DamagedDownload, match=r"tokenizer\.json"):
        pull(plan_pull(NAME), on_bytes=lambda _: tokenizer.write_bytes(b"other") if tokenizer.exists() else None)
    assert read_record(NAME) is None
    pull_now()
    assert (find_checkpoint(NAME).folder / "tokenizer.json").read_bytes() == FILES["tokenizer.json"]


def test_bug_is_not_reported_as_a_failure_of_the_hub(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    numbers = dict[int, int]()
    with pytest.raises(KeyError):
        pull(plan_pull(NAME), on_bytes=lambda count: numbers[count])


def test_server_with_less_of_a_file_than_is_here_is_named(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    plan = plan_pull(NAME)
    partial = repository_folder(NAME) / "blobs" / f"{WEIGHTS_DIGEST}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(WEIGHTS[:9])
    hub.failures[f"/{NAME}/resolve/{hub.repositories[NAME].commit}/model.safetensors"] = Reply(416)
    with pytest.raises(DamagedDownload, match=r"model\.safetensors .* was deleted; pull it again"):
        pull(plan)
    assert not partial.exists()


def test_server_without_ranges_sends_the_file_again(hub: Hub) -> None:
    hub.add(NAME, dict(FILES))
    plan = plan_pull(NAME)
    partial = repository_folder(NAME) / "blobs" / f"{WEIGHTS_DIGEST}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(WEIGHTS[:9])
    hub.failures[f"/{NAME}/resolve/{hub.repositories[NAME].commit}/model.safetensors"] = Reply(200, body=WEIGHTS)
    result = pull(plan)
    assert (result.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert result.transferred_bytes == sum(map(len, FILES.values()))


def test_cache_has_relative_links_where_the_disk_can_have_links(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, dict(FILES))
    # Other programs read the cache, and it may be moved as a whole.
    pointer = pull_now().folder / "model.safetensors"
    assert pointer.readlink() == Path("..", "..", "blobs", WEIGHTS_DIGEST)
    hub.add("me/other", dict(FILES))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    pointer = pull_now("me/other").folder / "model.safetensors"
    assert not pointer.is_symlink() and pointer.read_bytes() == WEIGHTS and blobs("me/other") == set()
    # What is moved away from the blobs is not transferred again.
    assert pull_now("me/other").transferred_bytes == 0


def test_file_above_the_limit_of_http_is_checked_by_its_hash(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, dict(FILES))
    # Above the limit, the client transfers a file by another protocol where the hub offers it, as this one does not.
    monkeypatch.setattr("longview.model.hub.pulls.MAX_HTTP_BYTES", len(WEIGHTS) - 1)
    hub.wrong_content["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(DamagedDownload, match=r"model\.safetensors"):
        pull_now()
    assert WEIGHTS_DIGEST not in blobs() and cached_checkpoints() == ()
    hub.wrong_content.clear()
    assert pull_now().transferred_bytes == len(WEIGHTS)
    assert find_checkpoint(NAME).weight_bytes == len(WEIGHTS)
