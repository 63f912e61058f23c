"""Answers to the findings of the review of the engine for GPUs, by their numbers, as rows of a report.

The engine was written and reviewed without a GPU. Each finding names what goes wrong, or is slow, on a card. Its row checks on
the device what was mended, or measures what is left for later. On a CPU the same code runs, as far as it means anything there.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch

from benchmarks.bench_engine import Bench
from benchmarks.check_report import NOT_RUN, Row, Section, check_row, failure_row
from benchmarks.check_steps import describe
from benchmarks.hardware.engine_checks import Finding, greedy_reply, random_frames
from benchmarks.hardware.random_checks import random_engine, torch_linear_attention
from benchmarks.hardware.step_bytes import step_bytes
from benchmarks.shapes import shape_model
from longview.app.models.advice import recommend_here
from longview.app.models.fp8_package import installable_fp8_package
from longview.app.models.speech_device import load_recognizer
from longview.app.settings import Settings
from longview.core.timeline import Span
from longview.model.catalog import read_catalog
from longview.model.engine.base import WindowRequest
from longview.model.engine.canary import MAX_LOSS_SHARE, text_loss
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.devices import devices_of, synchronize
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.generation.sampling import Sampler, SamplingConfig
from longview.model.engine.kernels.attention_kernels import QueryRows, kernel_for
from longview.model.engine.kernels.flash_linear_attention import use_linear_attention_kernels
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_access import expected_weight_bytes
from longview.model.engine.placement import place_weights
from longview.model.engine.transformers_names import batched_mm_experts_forward, grouped_mm_experts_forward
from longview.model.errors import InvalidCheckpoint, OutOfMemory
from longview.model.speech.weights import find_speech_model
from tests.support.published_weights import FP8_CONFIG, change_config, published, read, to_fp8, write
from tests.support.random_checkpoints import save_random_checkpoint

FINDINGS_SECTION = Section(
    "Findings of the review",
    ("finding", "result", "figures"),
    "Findings 8 and 10 to 12 are not mended yet: their rows measure what they cost on this device.",
)
FP8_DIFFERENCE = 0.1
"""Maximum difference of logits between a checkpoint in FP8 and its de-quantised weights, in standard deviations of the logits."""
RESERVED_TOKENS = 40_000
"""Number of positions that a session reserves and does not use."""
MAX_RESERVED_RATIO = 1.25
"""Maximum time of a decoding step with the reserved positions, relative to one without them."""
MAX_DRAW_RATIO = 0.25
"""Maximum time of a drawn token, relative to one that `torch.multinomial` draws from the same probabilities."""
DRAWS, STEPS = 40, 24
"""Number of drawn tokens, and of decoding steps, whose median time counts."""
CARD_SHAPE, HYBRID_SHAPE, MIXTURE_SHAPE = "Qwen3-VL-2B", "Qwen3.5-0.8B", "Qwen3-VL-30B-A3B"
"""Shapes that are measured on a card."""
LINEAR_TOKENS = 8192
KEY_COUNTS = range(20_000, 20_400, 37)
"""Lengths of the past, each of which a kernel meets for the first time."""


class NotMeasurable(Exception):
    """A finding means nothing on this device; the message is the reason."""


def finding_row(number: int, device: str) -> Iterator[Row]:
    """Check one finding on a device."""
    title, check = FINDINGS[number]
    name = f"{number}. {title}"
    try:
        finding = check(device)
        yield check_row(name, finding.is_right, finding.figures)
    except NotMeasurable as reason:
        yield Row((name, NOT_RUN, str(reason)))
    except Exception as error:  # each is a row of the report
        yield failure_row(name, describe(error), columns=3)


def check_experts_in_fp8(device: str) -> Finding:
    """Load a mixture of experts whose experts are in FP8, as it is published and as transformers saves it."""
    differences = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_random_checkpoint(folder, "mixture of experts", moe_intermediate_size=96)
        stored, plain = to_fp8(read(folder))
        write(folder, plain)
        expected = _first_logits(folder, device)
        change_config(folder, quantization_config=FP8_CONFIG)
        for weights in (stored, published(stored)):
            write(folder, weights)
            differences.append(float((_first_logits(folder, device) - expected).abs().max() / expected.std()))
    figures = " and ".join(f"{value:.3f}" for value in differences)
    # Not `>`, because a difference may be NaN.
    return Finding(max(differences) <= FP8_DIFFERENCE, f"logits differ by {figures} std (limit {FP8_DIFFERENCE:g})")


def _first_logits(folder: Path, device: str) -> torch.Tensor:
    engine = LocalEngine(find_checkpoint(str(folder)), device=device, cpu_threads=1, precision="bfloat16")
    video = random_frames(4)
    session = engine.open_session([video], WindowRequest(Span(0.0, float(video.times_s[-1]) + 1.0), capacity_tokens=1024))
    return session.first_logits("What happens?").float().cpu()


def check_missing_weight(device: str) -> Finding:
    """Load a checkpoint without one of its tensors, and measure what the canary finds in random weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_random_checkpoint(folder, "dense")
        engine = LocalEngine(find_checkpoint(str(folder)), device=device, cpu_threads=1)
        started = time.perf_counter()
        share = text_loss(engine) / torch.tensor(float(engine.model.config.get_text_config().vocab_size)).log().item()
        canary_s = time.perf_counter() - started
        weights = read(folder)
        missing = next(key for key in sorted(weights) if key.endswith("mlp.down_proj.weight"))
        del weights[missing]
        write(folder, weights)
        try:
            LocalEngine(find_checkpoint(str(folder)), device=device, cpu_threads=1)
            refusal = ""
        except InvalidCheckpoint as error:
            refusal = str(error)
    figures = (
        f"{'refused by its name' if missing in refusal else 'NOT refused'}; random weights have {share:.2f} of the logarithm "
        f"of the vocabulary (refused from {MAX_LOSS_SHARE:g}), found in {canary_s:.2f} s"
    )
    return Finding(missing in refusal and share > MAX_LOSS_SHARE, figures)


def check_speech(device: str) -> Finding:
    """Load the speech model where the settings want it; where CUDA cannot be used, it has to run on the CPU."""
    recognizer = load_recognizer(find_speech_model(), Settings(device=device))
    return Finding(recognizer.device == device or recognizer.device == "cpu", f"speech runs on {recognizer.device}")


def check_recommendation(device: str) -> Finding:
    """Compare the weights of what is recommended here with the memory of the devices."""
    recommendation = recommend_here(Settings(device=device))
    machine, shapes = recommendation.machine, read_catalog().shapes
    sizes = [shapes[one.shape].weight_bytes for one in (recommendation.model, recommendation.grounding) if one]
    names = ", ".join(recommendation.names) or "nothing"
    package = installable_fp8_package(machine)
    kernels = "usable" if machine.runs_fp8 else f"pip offers {package}" if package else "none here"
    room_bytes = sum(machine.device_bytes)
    figures = f"{names}: largest {max(sizes, default=0) / 1e9:.1f} of {room_bytes / 1e9:.1f} GB; FP8 kernels: {kernels}"
    return Finding(all(size < room_bytes for size in sizes), figures)


def check_placement(device: str) -> Finding:
    """Place the weights of published shapes on the devices of this machine: on these alone, or not at all."""
    devices, outcomes, is_right = devices_of(device), [], True
    for shape in (CARD_SHAPE, "Qwen3-VL-8B", "Qwen3.5-27B", "Qwen3-VL-235B-A22B"):
        model = shape_model(shape, "meta", torch.bfloat16)
        sizes = {name: parameter.nbytes for name, parameter in model.named_parameters()}
        layers = model.config.get_text_config().num_hidden_layers
        try:
            placed = place_weights(shape, sizes, layers, devices, is_tied=model.config.tie_word_embeddings)
        except OutOfMemory:
            outcomes.append(f"{shape} refused")
            continue
        used = {str(torch.device(one)) for one in placed.get("device_map", {}).values()} or {device}
        is_right = is_right and used <= {device, *map(str, devices)}
        outcomes.append(f"{shape} on {len(used)}")
    return Finding(is_right, ", ".join(outcomes))


def check_reserved_positions(device: str) -> Finding:
    """Decode with and without positions that are reserved for later, and count the bytes of a step at a published shape."""
    times = []
    with tempfile.TemporaryDirectory() as name, random_engine("dense", device, Path(name), num_hidden_layers=4) as engine:
        video = random_frames()
        for reserved in (0, RESERVED_TOKENS):
            request = WindowRequest(Span(0.0, float(video.times_s[-1]) + 1.0), capacity_tokens=2048 + reserved)
            session = engine.open_session([video], request)
            greedy_reply(session, count=STEPS)
            times.append(_median_s(partial(greedy_reply, session, count=STEPS), device, 3) / STEPS)
    traffic = step_bytes(CARD_SHAPE)
    figures = (
        f"{1e3 * times[0]:.2f} ms a token, {1e3 * times[1]:.2f} ms with {RESERVED_TOKENS} reserved positions; by arithmetic "
        f"{CARD_SHAPE} reads {traffic.used_positions / traffic.limit:.2f} times what a step must read"
    )
    return Finding(times[1] <= MAX_RESERVED_RATIO * times[0], figures)


def check_draws(device: str) -> Finding:
    """Draw tokens from a vocabulary of 248,320 with and without a limit of the top k, beside `torch.multinomial`."""
    logits = torch.randn(248_320, device=device)
    generator = torch.Generator().manual_seed(0)
    plain_s = _median_s(lambda: torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator), device, DRAWS)
    seconds = []
    for top_k in (20, None):
        config = SamplingConfig(SimpleNamespace(temperature=1.0, top_k=top_k, top_p=None, min_p=None), "a checkpoint")
        sampler = Sampler(config, torch.zeros(1, 1, dtype=torch.long))
        seconds.append(_median_s(partial(sampler.draw, logits), device, DRAWS))
    figures = (
        f"{1e3 * seconds[0]:.2f} ms with top k (asked 0.1), {1e3 * seconds[1]:.2f} ms without (asked 0.3); "
        f"torch.multinomial {1e3 * plain_s:.2f} ms"
    )
    return Finding(seconds[0] <= MAX_DRAW_RATIO * plain_s, figures)


def count_launches(device: str) -> Finding:
    """Count the kernels of one eager decoding step."""
    if device != "cuda":
        raise NotMeasurable("kernels are counted on a GPU")
    figures = []
    for shape in (CARD_SHAPE, HYBRID_SHAPE):
        bench = Bench.of_shapes(shape, device)
        step, token = _first_step(bench)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step(token)
            torch.cuda.synchronize()
        kernels = sum(event.count for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA)
        figures.append(f"{shape} {kernels}")
    return Finding(True, "kernels of one step: " + ", ".join(figures))


def _first_step(bench: Bench) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """Return the eager decoding step of a short session, and a token for it."""
    text = bench.model.config.get_text_config()
    layer_types = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    cache, token = PreallocatedCache(layer_types, 4096), torch.ones(1, 1, dtype=torch.long, device=bench.device)

    @torch.inference_mode()
    def step(ids: torch.Tensor) -> torch.Tensor:
        positions = torch.full((3, 1, 1), cache.get_seq_length(), device=bench.device)
        out = bench.model.model.language_model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)
        logits: torch.Tensor = bench.model.lm_head(out.last_hidden_state[0, -1])
        return logits

    for _ in range(3):
        step(token)
    return step, token


def measure_linear_attention(device: str) -> Finding:
    """Compare the time of a chunk of a hybrid with the kernels of flash-linear-attention and with torch operations."""
    if device != "cuda":
        raise NotMeasurable("the kernels need a GPU")
    bench = Bench.of_shapes(HYBRID_SHAPE, device)
    if problem := use_linear_attention_kernels(HYBRID_SHAPE, bench.model):
        raise NotMeasurable(problem)
    embeds = torch.randn(
        1, LINEAR_TOKENS, bench.model.config.get_text_config().hidden_size, device=device, dtype=bench.model.dtype
    )
    positions = torch.arange(LINEAR_TOKENS, device=device).expand(3, 1, -1)

    @torch.inference_mode()
    def chunk() -> None:
        cache = PreallocatedCache(list(bench.model.config.get_text_config().layer_types), LINEAR_TOKENS)
        bench.model.model.language_model(inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True)

    fast_s = _median_s(chunk, device, 3)
    with torch_linear_attention("qwen3_5"):
        plain_s = _median_s(chunk, device, 3)
    figures = f"{LINEAR_TOKENS} tokens of {HYBRID_SHAPE}: {fast_s:.3f} s, {plain_s:.3f} s by torch operations"
    return Finding(fast_s < plain_s, figures)


def measure_several_cards(device: str) -> Finding:
    """Say what measures the decoding over several cards."""
    cards = len(devices_of(device))
    if cards < 2:
        raise NotMeasurable(f"there is {cards} device")
    raise NotMeasurable(f"measure a checkpoint that needs all {cards} cards: make check-real MODEL=…")


def measure_new_lengths(device: str) -> Finding:
    """Compare the first call of the attention kernel at each new length of the past with the second one."""
    if device != "cuda":
        raise NotMeasurable("plans are made on a GPU")
    heads, size = 8, 128
    first_s: list[float] = []
    again_s: list[float] = []
    card = devices_of(device)[0]
    kernel = kernel_for(card, torch.bfloat16, heads, size, causal=False, rows=QueryRows.MANY)
    rows = torch.randn(1, heads, 4096, size, device=card, dtype=torch.bfloat16)
    for keys in KEY_COUNTS:
        past = torch.randn(1, heads, keys, size, device=card, dtype=torch.bfloat16)
        for seconds in (first_s, again_s):
            started = time.perf_counter()
            kernel(rows, past, past, False, size**-0.5)
            synchronize(card)
            seconds.append(time.perf_counter() - started)
    first, again = (1e3 * statistics.median(seconds) for seconds in (first_s, again_s))
    return Finding(
        True, f"{first:.2f} ms at a new length, {again:.2f} ms at the same again ({getattr(kernel, '__name__', kernel)})"
    )


def measure_experts(device: str) -> Finding:
    """Compare the two ways in which the experts of one token are multiplied."""
    if device == "cuda":
        torch.manual_seed(0)
        # One layer has the sizes of all.
        experts = shape_model(MIXTURE_SHAPE, "meta", torch.bfloat16).model.language_model.layers[0].mlp.experts
        experts = experts.to_empty(device=device)
        for weight in experts.parameters():
            weight.data.normal_(std=0.02)
        name = MIXTURE_SHAPE
    else:
        with tempfile.TemporaryDirectory() as folder, random_engine("mixture of experts", device, Path(folder)) as engine:
            experts, name = engine.model.model.language_model.layers[0].mlp.experts, "small experts"
    state = torch.randn(1, experts.down_proj.shape[-2], device=device, dtype=experts.down_proj.dtype)
    count = min(8, len(experts.down_proj))
    indices = torch.arange(count, device=device)[None]
    shares = torch.full((1, count), 1 / count, device=device, dtype=state.dtype)
    with torch.inference_mode():
        times = [
            1e3 * _median_s(partial(forward, experts, state, indices, shares), device, STEPS)
            for forward in (batched_mm_experts_forward, grouped_mm_experts_forward)
        ]
    return Finding(True, f"one layer of {name}: gathered {times[0]:.3f} ms (in use), grouped {times[1]:.3f} ms")


def check_chunk_memory(device: str) -> Finding:
    """Compare the peak of the memory of a prefill with what is reserved for it."""
    if device != "cuda":
        raise NotMeasurable("tests/model/engine/costs/test_chunk_memory.py counts it without a GPU")
    bench = Bench.of_shapes(CARD_SHAPE, device)
    frames = bench.frames_for(32_768)
    bench.longview(frames)
    torch.cuda.reset_peak_memory_stats()
    tokens = int(bench.longview(frames)["tokens"])
    peak_bytes = torch.cuda.max_memory_allocated() - bench.estimates.weight_bytes
    reserved_bytes = bench.estimates.session_bytes(tokens) + bench.estimates.chunk_bytes
    figures = f"peak beside the weights {peak_bytes / 1e9:.2f} GB, reserved {reserved_bytes / 1e9:.2f} GB"
    return Finding(peak_bytes <= reserved_bytes, figures)


def check_weight_bytes(device: str) -> Finding:
    """Compare the expected size of a checkpoint in FP8 with the size of its weights after loading."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_random_checkpoint(folder, "mixture of experts", moe_intermediate_size=96)
        write(folder, to_fp8(read(folder))[0])
        change_config(folder, quantization_config=FP8_CONFIG)
        checkpoint = find_checkpoint(str(folder))
        expected_bytes = expected_weight_bytes(checkpoint, device)
        model = LocalEngine(checkpoint, device=device, cpu_threads=1, precision="bfloat16").model
    loaded_bytes = sum(parameter.nbytes for parameter in model.parameters())
    ratio = expected_bytes / loaded_bytes
    return Finding(0.95 <= ratio <= 1.1, f"expected {expected_bytes / 1e6:.2f} MB, loaded {loaded_bytes / 1e6:.2f} MB")


def _median_s(call: Callable[[], object], device: str, rounds: int) -> float:
    """Return the median time of a call after one that is not counted, in seconds."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        call()
        synchronize(torch.device(device))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


FINDINGS: dict[int, tuple[str, Callable[[str], Finding]]] = {
    1: ("experts in FP8 have their scales", check_experts_in_fp8),
    2: ("a missing weight is refused", check_missing_weight),
    3: ("speech runs", check_speech),
    4: ("what is recommended fits", check_recommendation),
    5: ("weights are on the devices alone", check_placement),
    6: ("a step reads positions in use", check_reserved_positions),
    7: ("tokens are drawn quickly", check_draws),
    8: ("kernels of a decoding step", count_launches),
    9: ("kernels of linear attention", measure_linear_attention),
    10: ("decoding over several cards", measure_several_cards),
    11: ("attention at a new length", measure_new_lengths),
    12: ("experts of one token", measure_experts),
    13: ("memory of a chunk", check_chunk_memory),
    14: ("size of de-quantised weights", check_weight_bytes),
}
"""The findings by their numbers: what must be true, or is measured, and how."""
