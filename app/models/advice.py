"""The recommendation for a machine in plain words."""

from collections.abc import Collection

from longview.app.models.speech_device import expected_speech_device
from longview.app.settings import Settings
from longview.model.catalog import PublishedCheckpoint, read_catalog
from longview.model.engine.costs.machine import Machine
from longview.model.engine.local_access import find_machine
from longview.model.errors import ModelError
from longview.model.recommendation import HOUR_S, Recommendation, recommend
from longview.model.speech.weights import find_speech_model


def recommend_here(settings: Settings) -> Recommendation:
    """Return what is recommended for this machine; measure its speed unless that was done before.

    Raises:
        DeviceNotFound: there is no such device as in the settings.
    """
    machine = find_machine(settings.device, threads=settings.cpu_threads, cache=settings.cache)
    return recommend(machine, speech_device=expected_speech_device(settings))


def installed_speech_models(recommendation: Recommendation) -> set[str]:
    """Return the recommended speech model if it is on this machine."""
    if recommendation.speech is None:
        return set()
    try:
        find_speech_model(recommendation.speech.name)
    except ModelError:
        return set()
    return {recommendation.speech.name}


def describe_machine(machine: Machine) -> str:
    """Return a sentence about a machine."""
    host = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}, {_memory(machine.host_bytes)} of memory"
    if machine.device_type == "cpu":
        return f"This machine: {host}, no GPU.{_measurement_text(machine)}"
    count = f"{len(machine.device_bytes)} x " if len(machine.device_bytes) > 1 else ""
    return f"This machine: {count}{machine.device_name} with {_memory(machine.device_bytes[0])}, {host}."


def _measurement_text(machine: Machine) -> str:
    if machine.measured_at is None:
        return ""
    time_text = machine.measured_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return f" Its speed was measured on {time_text}, and is measured again when processor, threads or PyTorch are others."


def describe_recommendation(
    recommendation: Recommendation, installed: Collection[str], fp8_requirement: str | None = None
) -> list[str]:
    """Return sentences about a recommendation.

    `installed`: the names of the models that are on the machine. `fp8_requirement`: what pip would have to install for FP8; None
    if it has no such version.
    """
    model, grounding, speech = recommendation.model, recommendation.grounding, recommendation.speech
    if model is None or recommendation.captions_s is None or recommendation.locate_s is None:
        return [
            "No published checkpoint fits into its memory. Speech and text on screen are searchable without one, and --server "
            "uses a model on another machine."
        ]
    parts = [f"{_name_and_size(model)} for captions and questions"]
    if grounding is not None:
        parts.append(f"{_name_and_size(grounding)} to locate")
    if speech is not None:
        parts.append(f"the speech model {speech.name} ({_gigabytes(speech.weight_bytes)})")
    lines = [f"Recommended: {_enumerate(parts)}."]
    if recommendation.swaps_weights:
        lines.append("The two checkpoints take turns on the GPU: one is in the memory of the host while the other works.")
    captions = f"The captions of one hour of video take about {_minutes(recommendation.captions_s)}"
    longer = " (longer than the video)" if recommendation.captions_s > HOUR_S else ""
    lines.append(
        f"{captions}{longer}; to locate something in it takes about {_minutes(recommendation.locate_s)} the first time. Speech "
        "and text on screen are searchable before that."
    )
    machine = recommendation.machine
    if machine.multiplies_fp8 and not machine.has_fp8_kernels and fp8_requirement is not None:
        lines.append(
            f"With the package kernels (pip install '{fp8_requirement}'), which fetches code from the hub when it is first used, "
            "files in FP8 take half the memory here, so that a larger checkpoint may fit."
        )
    elif model.is_fp8 and not machine.runs_fp8:
        lines.append("FP8 runs de-quantised here, which takes twice the memory of its files.")
    sizes = _sizes(recommendation)
    missing_bytes = sum(size for name, size in sizes.items() if name not in installed)
    result = f"downloads {_gigabytes(missing_bytes)}" if missing_bytes else "finds all of it here"
    lines.append(f"`longview models pull recommended` {result} and makes {'it' if len(sizes) == 1 else 'them'} the default.")
    return lines


def _sizes(recommendation: Recommendation) -> dict[str, int]:
    """Return the bytes of weights of what is recommended, by name."""
    shapes = read_catalog().shapes
    sizes = {one.name: shapes[one.shape].weight_bytes for one in (recommendation.model, recommendation.grounding) if one}
    return sizes | ({recommendation.speech.name: recommendation.speech.weight_bytes} if recommendation.speech else {})


def _name_and_size(checkpoint: PublishedCheckpoint) -> str:
    return f"{checkpoint.name} ({_gigabytes(read_catalog().shapes[checkpoint.shape].weight_bytes)})"


def _enumerate(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes < 1e11 else f"{size_bytes / 1e9:.0f} GB"


def _memory(size_bytes: int) -> str:
    """Return memory as its makers state it, who count in 1024."""
    return f"{size_bytes / 2**30:.0f} GB"


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes >= 1.5 else f"{max(1, round(seconds))} s"
