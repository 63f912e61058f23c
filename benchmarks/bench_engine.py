"""The streamed engine against transformers as it is: real shapes, random weights, one run.

    python -m benchmarks.bench_engine --shapes tiny|2B|8B --tokens N [--device cuda] [--video FILE] [--no-peer]

Prints one table: seconds and tokens a second of prefill, its share of the multiplications that the device was seen to do in
the same run, peak memory, the first token of question 1 (prefill included) and of question 2, and milliseconds a token of
decoding with the whole context behind it; then what it costs to park the session in the host's memory and to bring it back,
against reading the video again. `--tokens` counts the whole prompt; frames are 448x256 (112 tokens a patch), or
128x96 with tiny shapes. With `--video` frames come from a file: then also decoding alone, and from the file to the first
token. Random weights change no time, but say nothing about answers: `make check-real` does.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from transformers import AutoProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from benchmarks.bench_decode import PeakMemory
from longview.model.engine import attention
from longview.model.engine.checkpoints import DEMO
from longview.model.engine.cuda_graph import MIN_EAGER_STEPS, CudaGraphDecoder
from longview.model.engine.estimates import Estimates
from longview.model.engine.kv_cache import PreallocatedKVCache
from longview.model.engine.prefill import CHUNK_TOKENS, FrameBatcher, Prefill, next_logits
from longview.video.decoder import Decoder, TimedFrames
from tests.hf_reference import HFReference

DECODED_TOKENS = 32
QUESTION = "What happens at 12.5 seconds?"
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    # text, vision, whether input and output embeddings are one; from the published config.json of each checkpoint
    "2B": (
        {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]},
        True,
    ),
    "8B": (
        {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
        {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "deepstack_visual_indexes": [8, 16, 24]},
        False,
    ),
    "tiny": (
        {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4, "head_dim": 64,
         "num_key_value_heads": 2},
        {"depth": 4, "hidden_size": 128, "intermediate_size": 512, "num_heads": 4, "deepstack_visual_indexes": [0, 1, 2]},
        True,
    ),
}  # fmt: skip


def random_model(shapes: str, device: str, dtype: torch.dtype) -> Any:
    """A Qwen3-VL of the published shapes with random weights, made on the device."""
    text, vision, tied = SHAPES[shapes]
    sections = [8, 12, 12] if shapes == "tiny" else [24, 20, 20]
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": sections, "mrope_interleaved": True}
    common = {"head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings": 262144}
    config = Qwen3VLConfig(
        text_config=common | {"rope_parameters": rope} | text,
        vision_config={"num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": text["hidden_size"]} | vision,
        tie_word_embeddings=tied,
    )
    tokens = AutoProcessor.from_pretrained(DEMO)
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, name, getattr(tokens, name, getattr(config, name)))
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = Qwen3VLForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def noise(count: int, height: int, width: int) -> Iterator[TimedFrames]:
    """Frames two a second, in chunks as the decoder gives them; the same few pictures over and over, because only their
    number matters."""
    pictures = np.random.default_rng(0).integers(0, 256, (64, height, width, 3), dtype=np.uint8)
    for first in range(0, count, 64):
        size = min(64, count - first)
        yield TimedFrames(pictures[:size], np.arange(first, first + size, dtype=np.float64) / 2)


class Bench:
    """One device, one model, and what was measured."""

    def __init__(self, shapes: str, device: str, tokens: int) -> None:
        self.device = device
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model = random_model(shapes, device, dtype)
        self.processor: Any = AutoProcessor.from_pretrained(DEMO)
        self.height, self.width = (96, 128) if shapes == "tiny" else (256, 448)
        self.per_patch = self.height * self.width // 1024
        marker = 2 + len(self.processor.tokenizer("<1234.5 seconds>")["input_ids"])
        self.frames = 2 * (tokens // (self.per_patch + marker))
        self.question = self.processor.tokenizer(QUESTION, return_tensors="pt")["input_ids"].to(device)
        self.estimates = Estimates(self.model)
        self.ceiling = self._multiplications_per_s(dtype)

    def _multiplications_per_s(self, dtype: torch.dtype) -> float:
        side = 8192 if self.device == "cuda" else 1024
        a = torch.randn(side, side, device=self.device, dtype=dtype)
        for _ in range(3):
            a @ a
        self.wait()
        begun = time.perf_counter()
        for _ in range(10):
            a @ a
        self.wait()
        return 10 * 2 * side**3 / (time.perf_counter() - begun)

    def wait(self) -> None:
        """Until the device has done what was queued."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def ours(self, source: Callable[[], Iterator[TimedFrames]]) -> dict[str, float]:
        """Read, ask twice, decode."""
        self.model.set_attn_implementation({"text_config": attention.TEXT_ATTENTION, "vision_config": attention.VISION_ATTENTION})
        with torch.inference_mode():
            # Kernels are measured on their first use, once a process: with a past, and for few queries.
            warm = 4 * CHUNK_TOKENS[self.device] // self.per_patch
            prefill, cache = self._read(noise(warm, self.height, self.width), warm)
            next_logits(self.model, self.question, cache, prefill.rope_delta)
            del prefill, cache
            self.wait()
            begun = time.perf_counter()
            prefill, cache = self._read(source(), self.frames)
            self.wait()
            prefill_s = time.perf_counter() - begun
            length, delta = cache.get_seq_length(), prefill.rope_delta
            token = next_logits(self.model, self.question, cache, delta).argmax()
            self.wait()
            first_s = time.perf_counter() - begun
            seconds = []
            for _ in range(3):
                cache.crop_to(length)
                begun = time.perf_counter()
                token = next_logits(self.model, self.question, cache, delta).argmax()
                int(token)
                seconds.append(time.perf_counter() - begun)
            step = self._step(cache, prefix=length, rope_delta=delta)
            for _ in range(MIN_EAGER_STEPS + 2):
                token = step(token.view(1, 1)).argmax()
            int(token)
            begun = time.perf_counter()
            for _ in range(DECODED_TOKENS):
                token = step(token.view(1, 1)).argmax()
                int(token)
            step_s = (time.perf_counter() - begun) / DECODED_TOKENS
            parked_s, back_s = self._moved(cache, length) if self.device == "cuda" else (0.0, 0.0)
        times = {"prefill": prefill_s, "first": first_s, "second": min(seconds), "step": step_s}
        return times | {"tokens": length, "parked": parked_s, "back": back_s}

    def _step(self, cache: PreallocatedKVCache, *, prefix: int, rope_delta: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """One step of decoding, as `longview.model.engine.local` takes it on that device."""
        if self.device == "cuda":
            return CudaGraphDecoder(self.model, cache, prefix=prefix, rope_delta=rope_delta)
        return lambda ids: next_logits(self.model, ids, cache, rope_delta)

    def _moved(self, cache: PreallocatedKVCache, length: int) -> tuple[float, float]:
        """Seconds to the host's memory and back."""
        seconds = []
        for device in ("cpu", self.device):
            begun = time.perf_counter()
            cache.move_to(device, length=length)
            self.wait()
            seconds.append(time.perf_counter() - begun)
        return seconds[0], seconds[1]

    def _read(self, source: Iterator[TimedFrames], frames: int) -> tuple[Prefill, PreallocatedKVCache]:
        cache = PreallocatedKVCache(
            self.model.config.text_config.num_hidden_layers, (frames // 2 + 1) * (self.per_patch + 16) + 256
        )
        prefill = Prefill(self.model, self.processor, cache, clock_offset_s=0.0)
        for pixels, times_s in FrameBatcher().chunks(source, self.device):
            prefill.frames(pixels, times_s)
        return prefill, cache

    def theirs(self) -> dict[str, float]:
        """transformers' own way: the processor's pixels, one pass, and again for the next question."""
        self.model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
        plain = HFReference.from_loaded(self.processor, self.model)
        chunks = list(noise(self.frames, self.height, self.width))
        whole = TimedFrames(np.concatenate([c.frames for c in chunks]), np.concatenate([c.times_s for c in chunks]))
        inputs = plain.inputs(whole, QUESTION)
        with torch.inference_mode():
            self.wait()
            begun = time.perf_counter()
            out = self.model(**inputs, use_cache=True, logits_to_keep=1)
            self.wait()
            prefill_s = time.perf_counter() - begun
            cache, length = out.past_key_values, inputs["input_ids"].shape[1]
            ids = out.logits[:, -1].argmax(-1, keepdim=True)
            position = torch.full((3, 1, 1), length + int(self.model.model.rope_deltas), device=self.device)
            del out, inputs
            steps = []
            for step in range(DECODED_TOKENS):
                begun = time.perf_counter()
                out = self.model(input_ids=ids, position_ids=position + step, past_key_values=cache, use_cache=True)
                ids = out.logits[:, -1].argmax(-1, keepdim=True)
                int(ids)
                steps.append(time.perf_counter() - begun)
        # The first step may still set something up.
        step_s = sum(steps[1:]) / len(steps[1:])
        return {"prefill": prefill_s, "tokens": length, "first": prefill_s, "second": prefill_s, "step": step_s}

    def peak(self, work: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The work's figures with its peak memory in GB, weights included."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return work() | {"peak": torch.cuda.max_memory_allocated() / 1e9}
        watch = PeakMemory(psutil.Process().pid)
        watch.start()
        return work() | {"peak": watch.peak_bytes / 1e9}


def row(name: str, bench: Bench, found: dict[str, float]) -> str:
    """One line of the table."""
    tokens = int(found["tokens"])
    visual = bench.frames // 2 * bench.per_patch
    share = bench.estimates.flops(tokens, visual, bench.per_patch) / found["prefill"] / bench.ceiling
    return (
        f"| {name} | {tokens:,} ({bench.frames:,}) | {found['prefill']:.2f} | {tokens / found['prefill']:,.0f} | {share:.0%} "
        f"| {found['peak']:.1f} | {found['first']:.2f} | {found['second']:.3f} | {found['step'] * 1000:.1f} |"
    )


def from_file(bench: Bench, path: Path) -> None:
    """Decoding alone, prefill alone, and both as the pipeline that they are."""
    decoder = Decoder()
    video = decoder.probe(path)
    times_s = [index * video.duration_s / bench.frames for index in range(bench.frames)]

    def decoded() -> Iterator[TimedFrames]:
        return decoder.frames_played_at(video, times_s, bench.height, bench.width)

    begun = time.perf_counter()
    frames = sum(map(len, decoded()))
    decode_s = time.perf_counter() - begun
    alone = bench.ours(lambda: noise(frames, bench.height, bench.width))
    together = bench.ours(decoded)
    decoder.close()
    print(
        f"\n{path.name}, {frames} frames: decoding alone {decode_s:.2f} s, prefill alone {alone['prefill']:.2f} s, from the file"
    )
    longest = max(decode_s, alone["prefill"])
    print(f"to the first token {together['first']:.2f} s: {together['first'] / longest:.2f}x the longer of the two.")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--no-peer", action="store_true", help="leave transformers out, where it would not fit")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        torch.set_num_threads(1)
    bench = Bench(options.shapes, options.device, options.tokens)
    card = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} thread"
    print(f"{card}, torch {torch.__version__}, {options.shapes} shapes; ceiling {bench.ceiling / 1e12:.2f} TFLOP/s\n")
    print("| engine | tokens (frames) | prefill s | tokens/s | of ceiling | peak GB | question 1 s | question 2 s | ms/token |")
    print("|---|---|---|---|---|---|---|---|---|")
    ours = bench.peak(lambda: bench.ours(lambda: noise(bench.frames, bench.height, bench.width)))
    print(row("Longview", bench, ours))
    if not options.no_peer:
        try:
            print(row("transformers", bench, bench.peak(bench.theirs)))
        except torch.OutOfMemoryError:
            print("| transformers | out of memory | | | | | | | |")
    if options.device == "cuda":
        ratio = ours["back"] / ours["prefill"]
        print(f"\nparked in {ours['parked']:.2f} s, back in {ours['back']:.2f} s: {ratio:.2f}x reading the video again")
    if options.video:
        from_file(bench, options.video)


if __name__ == "__main__":
    main()
