"""Check an installation: device, memory, ffmpeg, checkpoint and library."""

import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from longview.app.diagnostics.library_check import quick_problems
from longview.app.errors import EXPECTED_ERRORS
from longview.app.files.disk_usage import library_bytes, missing_ids
from longview.app.service import Longview
from longview.app.text.damage import damaged_videos_text
from longview.core.sources import SOURCES
from longview.indexing.embedding.embedder import check_encoder, encoder_folder
from longview.indexing.errors import LibraryUnusable
from longview.indexing.records.track import Track
from longview.indexing.records.video import VideoEntry
from longview.indexing.sqlite.database.database import DATABASE
from longview.indexing.sqlite.database.failures import is_writable
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.checkpoints.weight_files import check_demo
from longview.model.engine.local_access import device_facts
from longview.model.errors import DeviceNotFound, InvalidSpeechModel, LocalEngineUnavailable
from longview.video.ffmpeg import ffmpeg_major_version, ffmpeg_path

MIN_DISK_BYTES = 1 << 30
MIN_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Diagnosis:
    """Facts by name, and problems as sentences."""

    facts: dict[str, Any]
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    """Notes that are not problems of the installation: video files with damaged parts."""


def examine(app: Longview) -> Diagnosis:
    """Collect facts and problems of this machine and of the library."""
    import psutil

    problems = []
    memory = psutil.virtual_memory()
    facts: dict[str, Any] = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_cores": psutil.cpu_count(logical=False),
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
        "torch": None,
        "device": "cpu",
    }
    try:
        device = device_facts()
        facts |= {"torch": device.torch_version, "device": device.device_name}
        if device.memory_bytes is not None:
            facts["device_free_bytes"], facts["device_bytes"] = device.memory_bytes
    except LocalEngineUnavailable as error:
        if app.settings.server is None:
            problems.append(str(error))
    if memory.available < MIN_MEMORY_BYTES:
        problems.append(f"Only {memory.available >> 20} MiB of memory are free; close other programs.")
    facts["ffmpeg"] = ffmpeg_path()
    facts["ffmpeg_version"] = ffmpeg_major_version(facts["ffmpeg"])
    if not facts["ffmpeg_version"]:
        problems.append(f"ffmpeg at {facts['ffmpeg']} does not run; install imageio-ffmpeg again.")
    if app.settings.server is not None:
        server_facts, server_problems = _examine_server(app)
        facts |= server_facts
        problems += server_problems
    try:
        checkpoint = app.checkpoint
        facts |= {"checkpoint": checkpoint.identity, "checkpoint_bytes": checkpoint.weight_bytes, "notice": checkpoint.notice}
    except EXPECTED_ERRORS as error:
        facts["checkpoint"] = None
        problems.append(str(error))
    try:
        grounding = app.parts.runtime.grounding_checkpoint
        facts["grounding_checkpoint"] = grounding.identity if grounding else None
    except EXPECTED_ERRORS as error:
        facts["grounding_checkpoint"] = None
        problems.append(str(error))
    facts["speech_model"] = None
    try:
        speech_model = app.parts.runtime.speech_model
        facts |= {"speech_model": speech_model.identity, "speech_model_bytes": speech_model.size_bytes}
        if speech_model.folder is None:
            speech_model.read_files()
        if app.parts.runtime.speech_device != "cpu":
            # Only the trial at loading tells whether CUDA can be used; the log says why it cannot.
            _ = app.parts.runtime.speech_recognizer
        facts["speech_device"] = app.parts.runtime.speech_device
    except (InvalidSpeechModel, DeviceNotFound) as error:
        problems.append(str(error))
    except EXPECTED_ERRORS as error:
        # Everything but speech works without it.
        facts["speech_model_missing"] = str(error)
    try:
        text_model = app.parts.runtime.text_model
        text_model.check()
        facts |= {"text_model": text_model.identity, "text_model_bytes": text_model.size_bytes}
    except EXPECTED_ERRORS as error:
        facts["text_model"] = None
        problems.append(str(error))
    problems += quick_problems(app.settings)
    try:
        check_demo(DEMO)
        check_encoder(encoder_folder())
    except EXPECTED_ERRORS as error:
        problems.append(str(error))
    try:
        entries = app.videos()
    except LibraryUnusable:
        # The quick check has said why.
        return Diagnosis(facts | {"library": str(app.parts.library.folder)}, tuple(problems))
    free = shutil.disk_usage(app.parts.library.folder).free
    facts |= {
        "library": str(app.parts.library.folder),
        "videos": len(entries),
        "segments": {name: sum(track.segment_count for track in _tracks(entries, name)) for name in SOURCES},
        "disk_free_bytes": free,
        "bytes": asdict(library_bytes(app.parts.library, entries)),
        "library_is_writable": is_writable(app.parts.library.folder / DATABASE),
    }
    if free < MIN_DISK_BYTES:
        problems.append(
            f"Only {free >> 20} MiB are free on the disk of the library ({app.parts.library.folder}); delete other files."
        )
    missing = missing_ids({entry.video_id: str(entry.path) for entry in entries})
    problems += [
        f"The file of {entry.title} ({entry.video_id}) is no longer at {entry.path}; if it was moved or renamed, "
        "`longview relink FOLDER` finds it again."
        for entry in entries
        if entry.video_id in missing
    ]
    if facts["checkpoint"]:
        facts["outdated"] = [entry.video_id for entry in entries if app.is_outdated(entry)]
    damage_text = damaged_videos_text(entries)
    return Diagnosis(facts, tuple(problems), (damage_text,) if damage_text else ())


def _examine_server(app: Longview) -> tuple[dict[str, Any], list[str]]:
    """Contact the server of the model; return what it takes, and what would not work."""
    from longview.model.engine.remote.engine import RemoteEngine

    facts: dict[str, Any] = {"server": app.settings.server, "server_software": None}
    try:
        engine = app.parts.runtime.pool.engine
    except EXPECTED_ERRORS as error:
        return facts, [str(error)]
    assert isinstance(engine, RemoteEngine)
    engine_facts = engine.facts
    facts |= {
        "server_software": " ".join(filter(None, (engine_facts.software, engine_facts.version))),
        "server_context_tokens": engine.context_tokens,
        "server_input": "one video with its own times" if engine_facts.takes_video else "images with timestamps between them",
        "server_min_frame_tokens": engine.checkpoint.trained_range.min_tokens_per_patch,
        "server_max_video_tokens": engine.checkpoint.trained_range.max_visual_tokens if engine_facts.takes_video else None,
        "server_max_images": None if engine_facts.takes_video else engine_facts.max_images,
        "server_json_schema": engine_facts.has_json_schema,
        "server_thinking_switch": engine_facts.has_thinking_switch,
        "server_notes": [*engine_facts.warnings, *engine_facts.notes],
    }
    return facts, []


def _tracks(entries: Sequence[VideoEntry], source: str) -> list[Track]:
    return [track for entry in entries if (track := entry.track(source))]
