"""`check` says what is broken in a library and repairs it; `doctor` ends with exit status 1 while something is."""

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from longview.indexing.embedding import embedder
from longview.indexing.embedding.embedder import check_encoder, encoder_folder
from longview.indexing.errors import InvalidEncoder
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.library import Library
from longview.video.probing.content_hash import content_hash
from tests.support.library_samples import put_captions, sample_entry, sample_events
from tests.support.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A library with one video, whose file is there."""
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(range(256)) * 64)
    digest = content_hash(path)
    library = Library(tmp_path / "library")
    entry = sample_entry(digest[:12])
    put_captions(
        library,
        VideoEntry(entry.video_id, digest, path, "a video", 100.0, entry.facts),
        sample_events(*(f"a red circle {number}" for number in range(300))),
    )
    return Shell(library.folder)


def test_a_damaged_library_is_checked_repaired_and_intact(shell: Shell) -> None:
    assert shell.call("check") == {"is_intact": True, "findings": []}
    content = bytearray((shell.library / DATABASE).read_bytes())
    position = content.rindex(b"a red circle 200")
    page = position // 4096 * 4096
    content[page : page + 4096] = bytes(4096)
    (shell.library / DATABASE).write_bytes(content)
    (finding, *_) = shell.call("check", code=1)["findings"]
    assert finding["area"] == "database" and "--repair" in finding["advice"] and finding["repaired"] is None
    assert any("damaged" in problem for problem in shell.call("doctor", code=1)["problems"])
    document = shell.call("check", "--repair")
    assert document["is_intact"] and "Rows that were saved" in document["findings"][0]["repaired"]
    assert list(shell.library.glob(f"{DATABASE}.damaged-*"))
    assert shell.call("check")["is_intact"]


def test_caches_vectors_and_originals_are_checked(shell: Shell) -> None:
    (entry,) = Library(shell.library).videos()
    thumbnails = shell.library / "thumbnails"
    thumbnails.mkdir()
    Image.new("RGB", (64, 64)).save(thumbnails / f"{entry.video_id}-1000.jpg")
    whole = (thumbnails / f"{entry.video_id}-1000.jpg").read_bytes()
    (thumbnails / f"{entry.video_id}-2000.jpg").write_bytes(whole[:300])
    (thumbnails / "ffffffffffff-1000.jpg").write_bytes(whole)
    shell.call("search", "circle")
    vectors = bytearray((shell.library / "vectors.faiss").read_bytes())
    vectors[-8] ^= 1
    (shell.library / "vectors.faiss").write_bytes(vectors)
    areas = [finding["area"] for finding in shell.call("check", code=1)["findings"]]
    assert areas == ["vectors", "caches", "caches"]
    assert shell.call("check", "--repair")["is_intact"]
    assert [path.name for path in thumbnails.iterdir()] == [f"{entry.video_id}-1000.jpg"]
    assert shell.call("check")["is_intact"]
    # The same size and time, and another content: only reading it shows that.
    status = entry.path.stat()
    entry.path.write_bytes(bytes(reversed(entry.path.read_bytes())))
    os.utime(entry.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert shell.call("check")["is_intact"]
    (finding,) = shell.call("check", "--originals", code=1)["findings"]
    assert finding["area"] == "originals" and str(entry.path) in finding["problem"]
    entry.path.unlink()
    assert entry.video_id in shell.call("check", code=1)["findings"][0]["problem"]


def test_a_damaged_sentence_encoder_is_named_before_anything_is_indexed(
    shell: Shell, video: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = bytearray((encoder_folder() / "weights.npz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(InvalidEncoder, match=rf"{tmp_path / 'weights.npz'} .*pip install"):
        check_encoder(tmp_path)
    monkeypatch.setitem(embedder.WEIGHT_FILES, "sp.model", hashlib.sha256(b"other").hexdigest())
    assert shell.call("index", str(video), code=1)["error"]["code"] == "invalid_encoder"
    assert shell.call("search", "circle", code=1)["error"]["code"] == "invalid_encoder"
    assert len(shell.call("list")["videos"]) == 1
    assert "sp.model" in str(shell.call("check", code=1)["findings"])
    # Damaged vectors cannot be rebuilt without it, and stay reported.
    for name in ("vectors.faiss", "vectors.json"):
        (shell.library / name).write_bytes(b"{}")
    findings = shell.call("check", "--repair", code=1)["findings"]
    assert [item["repaired"] for item in findings if item["area"] == "vectors"] == [None]
