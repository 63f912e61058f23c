"""Speed and memory of the engine against plain transformers, at the shapes of real checkpoints, with random weights.

    python -m benchmarks.bench_engine --shapes tiny|Qwen3-VL-2B|… --tokens N [--device cuda] [--video FILE] [--no-peer]

Prints one table: seconds and tokens per second of prefill; its share of the speed of matrix products on this device in the same
run; peak memory; time to the first token of question 1 (with prefill) and of question 2; and milliseconds per generated token
after the whole context. On a GPU it then prints the time to offload the session to host memory and to restore it.

`--tokens` counts the whole prompt; frames are 448x256 (112 tokens per patch), or 128x96 with tiny shapes. With `--video`, frames
come from a file, and decoding alone and the time from the file to the first token are printed, too. Random weights do not change
the speed; for the accuracy run `make check-real`.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from transformers import AutoProcessor

from benchmarks.bench_decode import PeakMemory
from benchmarks.check_report import line
from benchmarks.shapes import MODEL_SHAPES, shape_model
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.execution.cuda_graph import MIN_EAGER_STEPS, CudaGraphDecoder
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS, FrameBatcher
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import Prefill, next_logits
from longview.model.engine.execution.visual_inputs import use_indexed_deepstack
from longview.model.engine.kernels.experts import EXPERTS
from longview.model.engine.kernels.linear_attention import use_cpu_linear_attention
from longview.model.engine.kernels.patch_embedding import use_linear_patch_embedding
from longview.model.engine.loading import ATTENTION, is_mixture_of_experts
from longview.video.decoding.decoder import Decoder, TimedFrames
from tests.support.hf_reference import HFReference, plain_transformers

DECODED_TOKENS = 32
COLUMNS = (
    "engine", "tokens (frames)", "prefill s", "tokens/s", "of maximum", "peak GB", "question 1 s", "question 2 s", "ms/token",
)  # fmt: skip
QUESTION = "What happens at 12.5 seconds?"


def noise(count: int, height: int, width: int) -> Iterator[TimedFrames]:
    """Yield noise at two frames per second, in chunks like those of the decoder. The same 64 frames repeat."""
    frames = np.random.default_rng(0).integers(0, 256, (64, height, width, 3), dtype=np.uint8)
    for first in range(0, count, 64):
        size = min(64, count - first)
        yield TimedFrames(frames[:size], np.arange(first, first + size, dtype=np.float64) / 2)


class Bench:
    """The benchmark of one model on its device."""

    def __init__(
        self, model: Any, processor: Any, *, height: int = 256, width: int = 448, uses_cuda_graph: bool | None = None
    ) -> None:
        """`model`: as `longview.model.engine.loading` prepares it. `height`, `width`: of a frame, in pixels.

        `uses_cuda_graph`: whether tokens are decoded by a CUDA graph; by default, on a GPU they are.
        """
        self.model, self.processor = model, processor
        self.device: str = model.device.type
        self.uses_cuda_graph = self.device == "cuda" if uses_cuda_graph is None else uses_cuda_graph
        self.height, self.width = height, width
        self.tokens_per_patch = height * width // 1024
        self.question = processor.tokenizer(QUESTION, return_tensors="pt")["input_ids"].to(model.device)
        self.estimates = Estimates(sizes_of(model), model.device.type)
        self.max_flops_per_s = self._measure_flops_per_s(model.dtype)

    @classmethod
    def of_shapes(cls, shapes: str, device: str) -> "Bench":
        """Make the benchmark of a shape with random weights, and with the layers of the engine."""
        model = shape_model(shapes, device, torch.bfloat16 if device == "cuda" else torch.float32)
        model.set_attn_implementation(dict(ATTENTION))
        if is_mixture_of_experts(model.config):
            model.set_experts_implementation(EXPERTS)
        use_linear_patch_embedding(model)
        use_indexed_deepstack(model)
        if device == "cpu":
            use_cpu_linear_attention(model)
        height, width = (96, 128) if shapes == "tiny" else (256, 448)
        return cls(model, AutoProcessor.from_pretrained(DEMO), height=height, width=width)

    def frames_for(self, tokens: int) -> int:
        """Return the number of frames that fill a prompt of `tokens` tokens."""
        timestamp_tokens = 2 + len(self.processor.tokenizer("<1234.5 seconds>")["input_ids"])
        return 2 * (tokens // (self.tokens_per_patch + timestamp_tokens))

    def noise(self, frames: int) -> Iterator[TimedFrames]:
        """Yield frames of noise; see `noise`."""
        return noise(frames, self.height, self.width)

    def _measure_flops_per_s(self, dtype: torch.dtype) -> float:
        side = 8192 if self.device == "cuda" else 1024
        a = torch.randn(side, side, device=self.device, dtype=dtype)
        for _ in range(3):
            a @ a
        self.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            a @ a
        self.synchronize()
        return 10 * 2 * side**3 / (time.perf_counter() - start)

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def longview(self, frames: int, source: Callable[[], Iterator[TimedFrames]] | None = None) -> dict[str, float]:
        """Measure the engine: prefill, two questions, and decoding steps. `source` yields the frames, by default noise."""
        with torch.inference_mode():
            # Attention kernels are checked on their first use in a process, with a cache and for few queries.
            warmup_frames = 4 * CHUNK_TOKENS[self.device] // self.tokens_per_patch
            prefill, cache = self._prefill(self.noise(warmup_frames), warmup_frames)
            next_logits(self.model, self.question, cache, prefill.rope_delta)
            del prefill, cache
            self.synchronize()
            start = time.perf_counter()
            prefill, cache = self._prefill(source() if source else self.noise(frames), frames)
            # States of linear-attention layers return only to a copy.
            cache.snapshot()
            self.synchronize()
            prefill_s = time.perf_counter() - start
            length, delta = cache.get_seq_length(), prefill.rope_delta
            token = next_logits(self.model, self.question, cache, delta).argmax()
            self.synchronize()
            first_s = time.perf_counter() - start
            second_question_s = []
            for _ in range(3):
                cache.crop_to(length)
                start = time.perf_counter()
                token = next_logits(self.model, self.question, cache, delta).argmax()
                int(token)
                second_question_s.append(time.perf_counter() - start)
            step = self._step(cache, prefix=length, rope_delta=delta)
            for _ in range(MIN_EAGER_STEPS + 2):
                token = step(token.view(1, 1)).argmax()
            int(token)
            start = time.perf_counter()
            for _ in range(DECODED_TOKENS):
                token = step(token.view(1, 1)).argmax()
                int(token)
            step_s = (time.perf_counter() - start) / DECODED_TOKENS
            offload_s, restore_s = self._time_offload(cache, length) if self.device == "cuda" else (0.0, 0.0)
        times = {"prefill": prefill_s, "first": first_s, "second": min(second_question_s), "step": step_s}
        return times | {"tokens": length, "offload": offload_s, "restore": restore_s}

    def _step(self, cache: PreallocatedCache, *, prefix: int, rope_delta: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the decoding step that `longview.model.engine.local` takes on this device."""
        if self.uses_cuda_graph:
            return CudaGraphDecoder(self.model, cache, prefix=prefix, rope_delta=rope_delta)
        return lambda ids: next_logits(self.model, ids, cache, rope_delta)

    def _time_offload(self, cache: PreallocatedCache, length: int) -> tuple[float, float]:
        """Return the seconds to move the cache to host memory, and back to the device."""
        seconds = []
        for move in (cache.offload, cache.restore):
            start = time.perf_counter()
            move(length=length)
            self.synchronize()
            seconds.append(time.perf_counter() - start)
        return seconds[0], seconds[1]

    def _prefill(self, source: Iterator[TimedFrames], frames: int) -> tuple[Prefill, PreallocatedCache]:
        cache = PreallocatedCache(
            read_layer_types(self.model.config.text_config, "random"), (frames // 2 + 1) * (self.tokens_per_patch + 16) + 256
        )
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=0.0)
        for pixels, times_s in FrameBatcher().chunks(source, self.device):
            prefill.append_frames(pixels, times_s)
        return prefill, cache

    def transformers(self, frames: int) -> dict[str, float]:
        """Measure plain transformers: pixels of the processor, and one pass for each question."""
        with plain_transformers(self.model):
            return self._transformers(frames)

    def _transformers(self, frames: int) -> dict[str, float]:
        reference = HFReference.from_loaded(self.processor, self.model)
        chunks = list(self.noise(frames))
        video = TimedFrames(np.concatenate([c.frames for c in chunks]), np.concatenate([c.times_s for c in chunks]))
        inputs = reference.inputs(video, QUESTION)
        with torch.inference_mode():
            self.synchronize()
            start = time.perf_counter()
            output = self.model(**inputs, use_cache=True, logits_to_keep=1)
            self.synchronize()
            prefill_s = time.perf_counter() - start
            cache, length = output.past_key_values, inputs["input_ids"].shape[1]
            ids = output.logits[:, -1].argmax(-1, keepdim=True)
            position = torch.full((3, 1, 1), length + int(self.model.model.rope_deltas), device=self.device)
            del output, inputs
            steps_s = []
            for step in range(DECODED_TOKENS):
                start = time.perf_counter()
                output = self.model(input_ids=ids, position_ids=position + step, past_key_values=cache, use_cache=True)
                ids = output.logits[:, -1].argmax(-1, keepdim=True)
                int(ids)
                steps_s.append(time.perf_counter() - start)
        # The first step may include one-time costs.
        step_s = sum(steps_s[1:]) / len(steps_s[1:])
        return {"prefill": prefill_s, "tokens": length, "first": prefill_s, "second": prefill_s, "step": step_s}

    def with_peak_memory(self, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the figures of a measurement and its peak memory in GB, with the weights."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return measure() | {"peak": torch.cuda.max_memory_allocated() / 1e9}
        peak = PeakMemory(psutil.Process().pid)
        peak.start()
        return measure() | {"peak": peak.peak_bytes / 1e9}

    def format_row(self, name: str, frames: int, figures: dict[str, float]) -> list[str]:
        """Format the cells of one row of the table; see `COLUMNS`."""
        tokens = int(figures["tokens"])
        flops = sum(self.estimates.flops(tokens, frames // 2 * self.tokens_per_patch, self.tokens_per_patch))
        return [
            name, f"{tokens:,} ({frames:,})", f"{figures['prefill']:.2f}", f"{tokens / figures['prefill']:,.0f}",
            f"{flops / figures['prefill'] / self.max_flops_per_s:.0%}", f"{figures['peak']:.1f}", f"{figures['first']:.2f}",
            f"{figures['second']:.3f}", f"{figures['step'] * 1000:.1f}",
        ]  # fmt: skip

    def file(self, path: Path, frames: int) -> dict[str, float]:
        """Measure a file: `decode`, the seconds of decoding alone, and with the figures of `longview` all as a pipeline."""
        decoder = Decoder()
        try:
            video = decoder.probe(path)
            times_s = [index * video.duration_s / frames for index in range(frames)]

            def decode() -> Iterator[TimedFrames]:
                return decoder.frames_played_at(video, times_s, self.height, self.width)

            start = time.perf_counter()
            decoded_frames = sum(map(len, decode()))
            decode_s = time.perf_counter() - start
            return self.longview(decoded_frames, decode) | {"decode": decode_s, "frames": decoded_frames}
        finally:
            decoder.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=sorted(MODEL_SHAPES), default="tiny")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--no-peer", action="store_true", help="leave out plain transformers, if it does not fit into memory")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        torch.set_num_threads(1)
    bench = Bench.of_shapes(options.shapes, options.device)
    frames = bench.frames_for(options.tokens)
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} thread"
    max_tflops_per_s = bench.max_flops_per_s / 1e12
    print(f"{device}, torch {torch.__version__}, {options.shapes} shapes; matrix products {max_tflops_per_s:.2f} TFLOP/s\n")
    print(line(COLUMNS))
    print("|---" * len(COLUMNS) + "|")
    figures = bench.with_peak_memory(lambda: bench.longview(frames))
    print(line(bench.format_row("Longview", frames, figures)))
    if not options.no_peer:
        try:
            peer = bench.with_peak_memory(lambda: bench.transformers(frames))
            print(line(bench.format_row("transformers", frames, peer)))
        except torch.OutOfMemoryError:
            print("| transformers | out of memory" + " |" * (len(COLUMNS) - 1))
    if options.device == "cuda":
        offload_s, restore_s = figures["offload"], figures["restore"]
        ratio = restore_s / figures["prefill"]
        print(f"\noffloaded in {offload_s:.2f} s, restored in {restore_s:.2f} s: {ratio:.2f}x the time of the prefill")
    if options.video:
        prefill_s = bench.longview(frames)["prefill"]
        file = bench.file(options.video, frames)
        ratio = file["first"] / max(file["decode"], prefill_s)
        alone = f"decoding alone {file['decode']:.2f} s, prefill alone {prefill_s:.2f} s"
        print(f"\n{options.video.name}, {int(file['frames'])} frames: {alone}, from the file")
        print(f"to the first token {file['first']:.2f} s: {ratio:.2f}x the longer of the two.")


if __name__ == "__main__":
    main()
