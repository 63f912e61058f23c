"""Which checkpoint is used: `auto`, `demo`, a Hugging Face id or a folder -> `Checkpoint`, without loading any weights."""

import hashlib
import json
import logging
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from longview.model.errors import CheckpointNotFound, InvalidCheckpoint
from longview.video.sampler import TrainedRange

log = logging.getLogger(__name__)

DEMO = Path(__file__).parents[1] / "demo"
"""The bundled checkpoint, a complete Hugging Face folder."""

OOD_DETECTOR_FILE = "ood_detector.safetensors"
"""Beside a checkpoint that knows only one world: how to tell that world from others; see `longview.model.engine.ood`."""

QWEN3_VL = TrainedRange(
    max_frames=2048,
    max_patches=1024,
    max_visual_tokens=224 * 1024,
    min_tokens_per_patch=16,
    max_tokens_per_patch=768,
    min_frame_period_s=0.125,
    max_frame_period_s=4.0,
    max_timestamp_s=7200.0,
)
"""The Qwen3-VL family: trained and evaluated at 2 frames a second, at most 2,048 frames and 224K visual tokens, checked
to about two hours (Qwen3-VL technical report); at most 768 tokens a frame (qwen-vl-utils `VIDEO_MAX_TOKEN_NUM`)."""

YARN_FACTORS = ((2.0, 2.0), (4.0, 3.0))
"""(times the checkpoint's own context, YaRN factor that reaches it). The factor is the smaller one, because a patch advances
positions by its longer side only (Qwen3-VL README, "Processing Ultra-Long Texts": factor 2 or 3 for 1M tokens)."""

AUTO_PATTERN = re.compile(r"Qwen/Qwen3-VL-\d+B(-A\d+B)?-Instruct")
AUTO_KV_TOKENS = 64 * 1024
"""`auto` takes the largest checkpoint whose weights leave room for a KV cache of that many tokens."""
FINGERPRINT_SAMPLES = 64
FINGERPRINT_BLOCK_BYTES = 1 << 16
DOWNLOADED_FILES = ["*.json", "*.jinja", "*.txt", "*.safetensors"]
"""Only safetensors weights are ever fetched: other formats can run code while they load."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine and what it can do."""

    name: str
    """`demo`, a Hugging Face id, or a folder's path."""
    folder: Path
    fingerprint: str
    """Changes with the configuration, the tokenizer, the template, the trained range, the rule of familiarity and the weights."""
    trained_range: TrainedRange
    notice: str | None
    """What every user of this checkpoint must be told."""
    question_templates: tuple[str, ...]
    """The only questions it can answer, with `{time}` and `{thing}` as blanks; none: any question."""
    no_event_replies: tuple[str, ...]
    """What it says to a form about a moment at which nothing happens."""
    kv_bytes_per_token: int
    """Bytes of KV cache a token at two bytes a number."""
    weight_bytes: int
    max_context_tokens: int
    """Tokens that it is read with: those it was made for, or more by YaRN."""
    yarn_factor: float = 1.0
    """By how much its rotary positions are stretched (Peng et al. 2023)."""

    @property
    def identity(self) -> str:
        """Name and fingerprint, as provenance states them."""
        return f"{self.name}@{self.fingerprint}"


def find_checkpoint(name: str, *, context_tokens: int | None = None) -> Checkpoint:
    """The checkpoint of that name; a Hugging Face id that is not in the local cache is downloaded.

    `auto`: on a CUDA device the largest cached Qwen3-VL Instruct that fits, else the bundled demo checkpoint.
    `context_tokens`: where that is more than a checkpoint of the Qwen3-VL family was made for, it is stretched by YaRN.

    Raises:
        CheckpointNotFound: neither here nor to be had.
        BadCheckpoint: not a complete safetensors checkpoint of a video language model.
    """
    found = _find(_best_cached() or "demo" if name == "auto" else name)
    return _with_yarn(found, context_tokens) if context_tokens and context_tokens > found.max_context_tokens else found


def _with_yarn(checkpoint: Checkpoint, context_tokens: int) -> Checkpoint:
    """The checkpoint for a longer context, as far as its family goes; one that states its own trained range is left as it is."""
    if checkpoint.trained_range != QWEN3_VL:
        return checkpoint
    times = min(context_tokens / checkpoint.max_context_tokens, YARN_FACTORS[-1][0])
    factor = next(factor for reach, factor in YARN_FACTORS if times <= reach)
    trained = replace(
        QWEN3_VL,
        max_frames=int(QWEN3_VL.max_frames * times),
        max_patches=int(QWEN3_VL.max_patches * times),
        max_visual_tokens=int((QWEN3_VL.max_visual_tokens or 0) * times),
        max_timestamp_s=QWEN3_VL.max_timestamp_s * times,
    )
    return replace(
        checkpoint,
        trained_range=trained,
        max_context_tokens=int(checkpoint.max_context_tokens * times),
        yarn_factor=factor,
        fingerprint=f"{checkpoint.fingerprint}-yarn{factor:g}",
    )


def _find(name: str) -> Checkpoint:
    if name == "demo":
        return _describe("demo", DEMO)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _describe(str(folder.resolve()), folder.resolve())
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith((".", "/", "~")):
        raise CheckpointNotFound(
            f"There is no checkpoint {name}: give auto, demo, a Hugging Face id (Qwen/Qwen3-VL-8B-Instruct) or a folder."
        )
    return _describe(name, _fetch(name))


def _fetch(repo_id: str, *, cached_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=DOWNLOADED_FILES, local_files_only=True))
    except Exception as error:  # the hub raises many kinds; any means "not cached"
        log.info("%s is not cached: %s", repo_id, error)
        if cached_only:
            raise CheckpointNotFound(f"{repo_id} is not completely on this machine.") from error
    try:
        return Path(snapshot_download(repo_id, allow_patterns=DOWNLOADED_FILES))
    except Exception as error:  # connection, authentication, unknown name, disk: one answer for the user
        log.info("cannot download %s: %s", repo_id, error)
        raise CheckpointNotFound(
            f"{repo_id} is not on this machine and could not be downloaded: check the name and the connection, or give a folder."
        ) from error


def _describe(name: str, folder: Path) -> Checkpoint:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidCheckpoint(f"{folder} is not a checkpoint: it has no readable config.json.") from error
    weights = sorted(path for path in folder.glob("*.safetensors") if path.name != OOD_DETECTOR_FILE)
    if not weights:
        raise InvalidCheckpoint(
            f"{folder} holds no safetensors weights; other formats are not loaded, because they can run code."
        )
    if "vision_config" not in config:
        raise InvalidCheckpoint(f"{folder} is not a video language model: its config.json has no vision_config.")
    stated = _read_trained_range(folder)
    text: dict[str, Any] = config.get("text_config", config)
    heads = int(text.get("num_attention_heads", 1))
    head_size = int(text.get("head_dim") or text.get("hidden_size", 0) // heads)
    return Checkpoint(
        name=name,
        folder=folder,
        fingerprint=_fingerprint(folder, weights),
        trained_range=TrainedRange(**{field.name: stated[field.name] for field in fields(TrainedRange) if field.name in stated})
        if stated
        else QWEN3_VL,
        notice=stated.get("notice"),
        question_templates=tuple(stated.get("question_templates", ())),
        no_event_replies=tuple(stated.get("no_event_replies", ())),
        kv_bytes_per_token=2
        * 2
        * int(text.get("num_hidden_layers", 1))
        * int(text.get("num_key_value_heads", heads))
        * head_size,
        weight_bytes=sum(path.stat().st_size for path in weights),
        max_context_tokens=int(text.get("max_position_embeddings", 32768)),
    )


def _read_trained_range(folder: Path) -> dict[str, Any]:
    path = folder / "trained_range.json"
    if not path.exists():
        return {}
    try:
        stated: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        TrainedRange(**{field.name: stated[field.name] for field in fields(TrainedRange) if field.name in stated})
    except (ValueError, TypeError) as error:
        raise InvalidCheckpoint(f"{path} does not state a whole trained range: {error}.") from error
    return stated


def _fingerprint(folder: Path, weights: list[Path]) -> str:
    """Twelve hexadecimal digits over all small files and samples spread through every weight file.

    Samples, because reading tens of gigabytes at every start is too slow; training changes every tensor.
    """
    digest = hashlib.blake2b(digest_size=6)
    small = [path for pattern in ("*.json", "*.jinja", "*.txt", OOD_DETECTOR_FILE) for path in folder.glob(pattern)]
    for path in sorted(small):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for part in range(FINGERPRINT_SAMPLES):
                file.seek(max(0, (size - FINGERPRINT_BLOCK_BYTES) * part // (FINGERPRINT_SAMPLES - 1)))
                digest.update(file.read(FINGERPRINT_BLOCK_BYTES))
    return digest.hexdigest()


def _best_cached() -> str | None:
    """The largest cached Qwen3-VL Instruct that fits the CUDA device, if there is one."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cached = sorted(repo.repo_id for repo in scan_cache_dir().repos if AUTO_PATTERN.fullmatch(repo.repo_id))
    except CacheNotFound:
        return None
    if not cached:
        return None
    import torch  # seconds to import, and not needed on most small machines

    if not torch.cuda.is_available():
        return None
    free_bytes, _ = torch.cuda.mem_get_info()
    fitting: list[tuple[int, str]] = []
    for repo_id in cached:
        try:
            checkpoint = _describe(repo_id, _fetch(repo_id, cached_only=True))
        except (InvalidCheckpoint, CheckpointNotFound) as error:
            log.info("passed over %s: %s", repo_id, error)
            continue
        if checkpoint.weight_bytes + AUTO_KV_TOKENS * checkpoint.kv_bytes_per_token < free_bytes:
            fitting.append((checkpoint.weight_bytes, repo_id))
    return max(fitting)[1] if fitting else None
