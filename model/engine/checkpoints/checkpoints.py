"""Checkpoint lookup: resolve `auto`, `demo`, a Hugging Face id or a folder to a `Checkpoint`, without loading its weights."""

import hashlib
import json
import logging
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from longview.model.engine.checkpoints.profiles import Profile, find_profile, read_named_profile, read_profile
from longview.model.engine.torch_packages import may_have_accelerator, require_torch
from longview.model.errors import CheckpointNotFound, DeviceNotFound, InvalidCheckpoint, LocalEngineUnavailable
from longview.model.hub.folders import possible_models
from longview.model.model_folders import find_folder, indexed_files
from longview.model.revision import revision_of
from longview.video.sampling_plan import TrainedRange

log = logging.getLogger(__name__)

DEMO = Path(__file__).parents[2] / "demo"
"""Folder of the bundled checkpoint, complete as on the Hugging Face Hub."""
DEMO_NOTICE = (
    "Words and slides of any footage are understood. What is seen needs a checkpoint, and `longview models` names one: the demo "
    "checkpoint knows only moving coloured shapes."
)
"""The note on the bundled checkpoint for users: first what works without another one. Its own file has an older one, which its
fingerprint covers."""
TEMPLATE_PROFILE = DEMO / "profile.toml"
"""Profile of every checkpoint that answers only question templates: `longview.model.training` trains on its texts."""

SERVED = "served"
"""Fingerprint of a served model whose weights the server does not identify, and of one that was not contacted yet."""
_OLD_ADDRESS = re.compile(r" at https?://\S+$")
OOD_DETECTOR_FILE = "ood_detector.safetensors"
"""Name of the file with the out-of-distribution detector of a narrowly trained checkpoint; see
`longview.model.engine.execution.ood`."""
OOD_DETECTOR_FOLDER = "detector"
"""Folder of `OOD_DETECTOR_FILE` in the checkpoint. The file is not beside the weights, because vLLM loads every safetensors file
there as weights of the model. Earlier versions wrote it there; their checkpoints are still read."""

YARN_FACTORS = ((2.0, 2.0), (4.0, 3.0))
"""Pairs of maximum context extension and the YaRN factor that reaches it. The factor may be smaller than the extension, because
a patch advances positions by its longer side only (Qwen3-VL README, "Processing Ultra-Long Texts": 2 or 3 for 1M tokens)."""

REPOSITORY = re.compile(r"(?<![\w.-])[\w.-]++/[\w.-]++")
"""A repository of the hub: its owner and its name."""
AUTO_PATTERN = re.compile(r"Qwen/Qwen3(-VL-\d+B(-A\d+B)?-Instruct|\.\d+-[\d.]+B(-A\d+B)?)")
"""Names of the checkpoints among which `auto` chooses: Qwen3-VL Instruct, Qwen3.5 and later."""
AUTO_KV_TOKENS = 64 * 1024
"""Minimum KV cache, in tokens, that must fit beside the weights of the checkpoint that `auto` selects."""
FINGERPRINT_SAMPLES = 64
FINGERPRINT_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Checkpoint:
    """A local checkpoint: its files, its limits and its cost."""

    name: str
    """`demo`, a Hugging Face id, or the path of a folder."""
    folder: Path
    fingerprint: str
    """Hash of the configuration, tokenizer, chat template, trained range, out-of-distribution detector and weights."""
    profile: Profile
    """What it is asked, and how it replies."""
    trained_range: TrainedRange
    """Range of its own, or else that of its profile."""
    kv_bytes_per_token: int
    """KV cache size per token over all full-attention layers, at two bytes per number."""
    weight_bytes: int
    """Size of its files."""
    max_context_tokens: int
    """Maximum context: that of the configuration, or a longer one with YaRN."""
    yarn_factor: float = 1.0
    """YaRN factor of the rotary position embeddings (Peng et al. 2023). 1: no extension."""
    quantization: str | None = None
    """The method by which its weights are quantised, such as `fp8`; None: they are not."""
    notice: str | None = None
    """Warning that every user of this checkpoint must see."""
    question_templates: tuple[str, ...] = ()
    """The only questions that it can answer, with the placeholders `{time}` and `{thing}`. Empty: any question."""
    no_event_replies: tuple[str, ...] = ()
    """Its replies to a question template about a timestamp without an event."""

    @property
    def ood_detector_file(self) -> Path | None:
        """The file with its out-of-distribution detector; None: it accepts all footage. See
        `longview.model.engine.execution.ood`."""
        return _find_ood_detector(self.folder)

    @property
    def revision(self) -> str | None:
        """The commit of the Hugging Face Hub; None if it is unknown: a folder of the user, the demo or a served model."""
        return revision_of(self.folder)

    def bytes_with(self, tokens: int) -> int:
        """Return the memory of the weights beside a KV cache of so many tokens, as the files have them."""
        return self.weight_bytes + tokens * self.kv_bytes_per_token

    @property
    def identity(self) -> str:
        """Name and fingerprint, for provenance."""
        return f"{self.name}@{self.fingerprint}"


def is_same_checkpoint(made_with: str, identity: str) -> bool:
    """Whether two identities are of one checkpoint, as far as that is known.

    A server does not always say which weights it serves, and is not asked while nothing is made. Earlier versions kept its
    address with the name of the model.
    """
    (name, _, fingerprint), (other_name, _, other_fingerprint) = made_with.rpartition("@"), identity.rpartition("@")
    if SERVED in (fingerprint, other_fingerprint):
        return _OLD_ADDRESS.sub("", name) == _OLD_ADDRESS.sub("", other_name)
    return made_with == identity


def find_checkpoint(name: str, *, context_tokens: int | None = None, device: str | None = None) -> Checkpoint:
    """Find a checkpoint by name. Nothing is downloaded.

    `auto`: on an accelerator, the largest cached Qwen3-VL Instruct or Qwen3.5 that fits, else the bundled demo checkpoint.
    `context_tokens`: a checkpoint of the Qwen3-VL family with a shorter context is extended by YaRN. `device`: the type of device
    that `auto` chooses for; by default the accelerator, where there is one.

    Raises:
        CheckpointNotFound: the checkpoint is not on this machine.
        InvalidCheckpoint: the folder is not a complete safetensors checkpoint of a video language model.
    """
    checkpoint = _find(_best_cached(device) or "demo" if name == "auto" else name)
    if context_tokens and context_tokens > checkpoint.max_context_tokens:
        return _with_yarn(checkpoint, context_tokens)
    return checkpoint


def find_cached_checkpoint(repo_id: str) -> Checkpoint:
    """Find a checkpoint of the local Hugging Face cache by its name, without a download.

    Raises:
        CheckpointNotFound: it is not in the cache. InvalidCheckpoint: as `find_checkpoint`.
    """
    return _read_checkpoint(repo_id, _cached_folder(repo_id))


def with_profile(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return a checkpoint with another profile: `demo`, or a file of `model/profiles/` by its name.

    Raises:
        InvalidProfile: there is no such profile.
    """
    profile = read_profile(TEMPLATE_PROFILE) if name == "demo" else read_named_profile(name)
    # A range beside the weights is that of the weights.
    has_own_range = checkpoint.trained_range != checkpoint.profile.trained_range
    trained_range = checkpoint.trained_range if has_own_range else profile.trained_range
    return replace(checkpoint, profile=profile, trained_range=trained_range)


def _with_yarn(checkpoint: Checkpoint, context_tokens: int) -> Checkpoint:
    """Extend the context, up to the limit of the Qwen3-VL family. Checkpoints with their own trained range are not extended."""
    usual_range = checkpoint.profile.trained_range
    if checkpoint.trained_range != usual_range:
        return checkpoint
    extension = min(context_tokens / checkpoint.max_context_tokens, YARN_FACTORS[-1][0])
    factor = next(factor for max_extension, factor in YARN_FACTORS if extension <= max_extension)
    trained_range = replace(
        usual_range,
        max_frames=int(usual_range.max_frames * extension),
        max_patches=int(usual_range.max_patches * extension),
        max_visual_tokens=int(usual_range.max_visual_tokens * extension),
        max_timestamp_s=usual_range.max_timestamp_s * extension,
    )
    return replace(
        checkpoint,
        trained_range=trained_range,
        max_context_tokens=int(checkpoint.max_context_tokens * extension),
        yarn_factor=factor,
        fingerprint=f"{checkpoint.fingerprint}-yarn{factor:g}",
    )


def _find(name: str) -> Checkpoint:
    if name == "demo":
        return _read_checkpoint("demo", DEMO)
    if folder := find_folder(name):
        return _read_checkpoint(str(folder.resolve()), folder.resolve())
    if not REPOSITORY.fullmatch(name) or name.startswith((".", "/", "~")):
        raise CheckpointNotFound(
            f"There is no checkpoint {name}; use auto, demo, a Hugging Face id (Qwen/Qwen3-VL-8B-Instruct) or a folder."
        )
    return _read_checkpoint(name, _cached_folder(name))


def _cached_folder(repo_id: str) -> Path:
    # The client of the hub takes a tenth of a second to import, and is not needed for the bundled checkpoint.
    from longview.model.hub.cache import find_snapshot
    from longview.model.hub.listing import CHECKPOINT_FILES

    snapshot = find_snapshot(repo_id, CHECKPOINT_FILES)
    if snapshot is not None and not snapshot.is_complete:
        raise InvalidCheckpoint(_incomplete_text(repo_id))
    if snapshot is None:
        raise CheckpointNotFound(f"{repo_id} is not on this machine; `longview models pull {repo_id}` downloads it.")
    return snapshot.folder


def _incomplete_text(repo_id: str) -> str:
    return f"{repo_id} is not complete; `longview models pull {repo_id}` resumes where it stopped."


def _read_checkpoint(name: str, folder: Path) -> Checkpoint:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidCheckpoint(f"{folder} is not a checkpoint: it has no readable config.json.") from error
    weights = sorted(path for path in folder.glob("*.safetensors") if path.name != OOD_DETECTOR_FILE)
    if missing := [name for name in indexed_files(folder) if not (folder / name).is_file()]:
        raise InvalidCheckpoint(
            f"{folder} is not complete, because it has no {missing[0]}; copy it again."
            if Path(name).is_absolute()
            else _incomplete_text(name)
        )
    if not weights:
        raise InvalidCheckpoint(
            f"{folder} contains no safetensors weights; other formats are not loaded, because they can run code."
        )
    if "vision_config" not in config:
        raise InvalidCheckpoint(f"{folder} is not a video language model: its config.json has no vision_config.")
    range_config = _read_trained_range(folder)
    question_templates = tuple(range_config.get("question_templates", ()))
    profile = read_profile(TEMPLATE_PROFILE) if question_templates else find_profile(str(config.get("model_type", "")), name)
    text: dict[str, Any] = config.get("text_config", config)
    heads = int(text.get("num_attention_heads", 1))
    head_size = int(text.get("head_dim") or text.get("hidden_size", 0) // heads)
    return Checkpoint(
        name=name,
        folder=folder,
        fingerprint=_fingerprint(folder, weights),
        profile=profile,
        trained_range=_parse_trained_range(range_config) if range_config else profile.trained_range,
        notice=DEMO_NOTICE if folder == DEMO else range_config.get("notice"),
        question_templates=question_templates,
        no_event_replies=tuple(range_config.get("no_event_replies", ())),
        kv_bytes_per_token=2 * 2 * _count_full_layers(text) * int(text.get("num_key_value_heads", heads)) * head_size,
        weight_bytes=sum(path.stat().st_size for path in weights),
        max_context_tokens=int(text.get("max_position_embeddings", 32768)),
        quantization=(config.get("quantization_config") or {}).get("quant_method"),
    )


def _find_ood_detector(folder: Path) -> Path | None:
    paths = (folder / OOD_DETECTOR_FOLDER / OOD_DETECTOR_FILE, folder / OOD_DETECTOR_FILE)
    return next((path for path in paths if path.exists()), None)


def _count_full_layers(text: dict[str, Any]) -> int:
    """Count the layers with a KV cache. Qwen3.5's linear-attention layers have none."""
    if layer_types := text.get("layer_types"):
        return sum(kind == "full_attention" for kind in layer_types)
    return int(text.get("num_hidden_layers", 1)) // int(text.get("full_attention_interval", 1))


def _read_trained_range(folder: Path) -> dict[str, Any]:
    path = folder / "trained_range.json"
    if not path.exists():
        return {}
    try:
        range_config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _parse_trained_range(range_config)
    except (ValueError, TypeError) as error:
        raise InvalidCheckpoint(f"{path} does not contain a complete trained range: {error}.") from error
    return range_config


def _parse_trained_range(range_config: dict[str, Any]) -> TrainedRange:
    return TrainedRange(**{field.name: range_config[field.name] for field in fields(TrainedRange) if field.name in range_config})


def _fingerprint(folder: Path, weights: list[Path]) -> str:
    """Hash all small files and evenly spread samples of every weight file into twelve hexadecimal digits.

    Reading tens of gigabytes at every start is too slow. Samples suffice, because training changes every tensor.
    """
    digest = hashlib.blake2b(digest_size=6)
    small_files = [path for pattern in ("*.json", "*.jinja", "*.txt") for path in folder.glob(pattern)]
    if detector := _find_ood_detector(folder):
        small_files.append(detector)
    # By name, so that the folder of the detector does not change the hash.
    for path in sorted(small_files, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for sample in range(FINGERPRINT_SAMPLES):
                file.seek(max(0, (size - FINGERPRINT_BLOCK_BYTES) * sample // (FINGERPRINT_SAMPLES - 1)))
                digest.update(file.read(FINGERPRINT_BLOCK_BYTES))
    return digest.hexdigest()


def cached_checkpoints() -> tuple[Checkpoint, ...]:
    """Return the complete video language models of the local Hugging Face cache, in order of their names."""
    from longview.model.hub.cache import cached_repositories

    checkpoints = []
    for repo_id in cached_repositories():
        try:
            checkpoints.append(find_cached_checkpoint(repo_id))
        except (InvalidCheckpoint, CheckpointNotFound) as error:
            log.info("skipped %s: %s", repo_id, error)
    return tuple(checkpoints)


def incomplete_checkpoints() -> tuple[str, ...]:
    """Return the names of the video language models of the local Hugging Face cache whose download stopped."""
    from longview.model.hub.cache import cached_repositories, find_snapshot
    from longview.model.hub.listing import CHECKPOINT_FILES

    names = []
    for repo_id in cached_repositories():
        snapshot = find_snapshot(repo_id, CHECKPOINT_FILES)
        if snapshot is not None and not snapshot.is_complete and _has_vision_config(snapshot.folder):
            names.append(repo_id)
    return tuple(names)


def _has_vision_config(folder: Path) -> bool:
    try:
        return "vision_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _best_cached(device: str | None) -> str | None:
    """Find the largest cached checkpoint of `AUTO_PATTERN` that fits the accelerator.

    None: there is none, or no accelerator, or another device was requested.
    """
    if device == "cpu" or not any(map(AUTO_PATTERN.fullmatch, possible_models())):
        return None
    candidates = [checkpoint for checkpoint in cached_checkpoints() if AUTO_PATTERN.fullmatch(checkpoint.name)]
    if not candidates:
        return None
    if not may_have_accelerator():
        return None
    try:
        require_torch()
        from longview.model.engine.devices import choose_device_type, devices_of, memory_bytes

        device_type = choose_device_type(device)
    except (DeviceNotFound, LocalEngineUnavailable):
        # The library can be read without the device. Loading the checkpoint says that it is missing.
        return None
    if device_type == "cpu":
        return None
    free_bytes = sum(memory_bytes(device)[0] for device in devices_of(device_type))
    fitting = [checkpoint for checkpoint in candidates if checkpoint.bytes_with(AUTO_KV_TOKENS) < free_bytes]
    return max(fitting, key=lambda checkpoint: (checkpoint.weight_bytes, checkpoint.name)).name if fitting else None
