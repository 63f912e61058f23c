"""Whether checkpoints that are about to be downloaded will fit into the memory of this machine."""

from longview.app.models.pulls import PullPlan
from longview.app.settings import Settings
from longview.model.catalog import FP8_SUFFIX
from longview.model.engine.costs.machine import CACHE_RESERVE_BYTES
from longview.model.engine.local_access import choose_device_type, device_count, device_memory_bytes, keeps_fp8
from longview.model.errors import DeviceNotFound, LocalEngineUnavailable


def fit_warnings(plan: PullPlan, settings: Settings) -> list[str]:
    """Return a sentence for each checkpoint of a pull that this machine cannot load. Nothing is downloaded or loaded for it."""
    listings = [pull.listing for pull in plan.pulls if pull.listing.kind == "checkpoint"]
    if not listings:
        return []
    try:
        device_type = choose_device_type(settings.device)
    except (DeviceNotFound, LocalEngineUnavailable):
        # That no model runs here says `longview doctor`; the files may be for another machine.
        return []
    _, room_bytes = device_memory_bytes(device_type)
    place = "this machine"
    count = device_count(device_type)
    if device_type != "cpu":
        place = "the GPU" if count == 1 else f"the {count} GPUs"
    if count > 1:
        # Each keeps a part for sessions where the layers are divided; see `longview.model.engine.placement`.
        room_bytes -= count * CACHE_RESERVE_BYTES
    warnings = []
    for listing in listings:
        weight_bytes = sum(file.size for file in listing.files if file.path.endswith(".safetensors"))
        is_dequantized = listing.repo_id.upper().endswith(FP8_SUFFIX) and not keeps_fp8(device_type)
        needed_bytes = weight_bytes * (2 if is_dequantized else 1)
        if needed_bytes > room_bytes:
            reason = ", because FP8 is de-quantised here" if is_dequantized else ""
            warnings.append(
                f"{listing.repo_id} will not fit: its weights take {needed_bytes / 1e9:.0f} GB{reason}, and {place} has "
                f"{room_bytes / 1e9:.0f} GB for weights. `longview models` recommends what fits; Ctrl-C stops the download."
            )
    return warnings
