"""The facts of `doctor` in words: sizes in units, names without fingerprints, and nothing that is empty."""

from collections.abc import Iterator
from typing import Any

from longview.app.text.contents import segments_text
from longview.app.text.counts import count_text, size_text
from longview.core.sources import source_label
from longview.indexing.records.provenance_text import model_name

STORED = {"originals": "video files", "uploads": "uploads", "caches": "thumbnails and copies", "vectors": "vectors"}
"""Kinds of files of a library whose sizes are stated, and their display names; the database follows them."""
SERVER_FACTS = {
    "server_software": "server software",
    "server_context_tokens": "server context",
    "server_input": "server takes",
    "server_max_images": "most images",
    "server_json_schema": "JSON schemas",
    "server_thinking_switch": "thinking switch",
}
"""Facts of a server, and their display names."""
_WIDTH = 18


def diagnosis_lines(facts: dict[str, Any]) -> Iterator[str]:
    """Yield the facts of `longview.app.diagnostics.doctor.examine` as lines of text."""
    for name, text in _rows(facts):
        yield f"{name:{_WIDTH}} {text}"


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Python", f"{facts['python']} on {facts['platform']}"
    yield "memory", f"{size_text(facts['memory_bytes'])}, {size_text(facts['memory_free_bytes'])} free"
    yield "processor", count_text(facts["cpu_cores"], "core") if facts["cpu_cores"] else "unknown"
    if "device_bytes" in facts:
        yield "GPU", f"{facts['device']}, {size_text(facts['device_bytes'])}, {size_text(facts['device_free_bytes'])} free"
    yield "PyTorch", facts["torch"] or "cannot be used"
    yield "ffmpeg", f"{facts['ffmpeg']}, " + (f"version {facts['ffmpeg_version']}" if facts["ffmpeg_version"] else "does not run")
    yield from _server_rows(facts)
    yield "checkpoint", _model(facts, "checkpoint")
    if facts.get("notice"):
        yield "", facts["notice"]
    if facts.get("grounding_checkpoint"):
        yield "locating", model_name(facts["grounding_checkpoint"])
    yield "speech model", _model(facts, "speech_model") + (", on CUDA" if facts.get("speech_device") == "cuda" else "")
    if facts.get("speech_model_missing"):
        yield "", facts["speech_model_missing"]
    yield "text model", _model(facts, "text_model")
    yield "library", facts["library"] + ("" if facts.get("library_is_writable", True) else ", which can only be read")
    if "videos" not in facts:
        return
    counts = [f"{source_label(source)}: {segments_text(source, count)}" for source, count in facts["segments"].items() if count]
    yield "videos", f"{facts['videos']:,}" + (f" ({', '.join(counts)})" if counts else "")
    sizes = facts["bytes"]
    file_sizes = [f"{label} {size_text(sizes[name])}" for name, label in STORED.items() if sizes[name]]
    file_sizes.append(f"database {size_text(sizes['database'])}")
    yield "on the disk", f"{', '.join(file_sizes)}; {size_text(facts['disk_free_bytes'])} free"
    if facts.get("outdated"):
        yield (
            "captions",
            f"older ones in {count_text(len(facts['outdated']), 'video')}; `longview list` offers to make them again",
        )


def _server_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not facts.get("server"):
        return
    yield "server", facts["server"]
    for fact, name in SERVER_FACTS.items():
        value = facts.get(fact)
        if value is not None:
            yield name, _value_text(value)
    for note in facts.get("server_notes", ()):
        yield "", note


def _value_text(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value


def _model(facts: dict[str, Any], name: str) -> str:
    """Return the name of a model without its fingerprint, and the size of its weights."""
    identity = facts.get(name)
    if not identity:
        return "none"
    size_bytes = facts.get(f"{name}_bytes")
    return model_name(identity) + (f", {size_text(size_bytes)}" if size_bytes else "")
