"""The transformers engine: any checkpoint that `AutoModelForImageTextToText` and `AutoProcessor` load as Qwen3-VL's kin.

The video comes first in the prompt and the question last, so everything up to the end of the video is one prefix:
it is prefilled once into a KV cache, and each question is prefilled after it and cropped away again.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache
from transformers.utils import logging as transformers_logging
from transformers.video_utils import VideoMetadata

from model.checkpoints import Checkpoint
from model.engine import Patch
from model.errors import BadCheckpoint, DeviceNotFound, OutOfMemory
from video.decoder import TimedFrames
from video.sampler import FRAMES_PER_PATCH, SamplingPlan
from video.timeline import Span, merged

log = logging.getLogger(__name__)

QUESTION_SLOT = "QUESTION-GOES-HERE"
CLOCK_FPS = 1000
"""Frame times go to the processor as milliseconds: "frame indices" of a 1,000 fps video, exact for any frame rate."""
SMALL_WEIGHTS_BYTES = 200 << 20
"""Below this size the work of one step is too small to share: more threads than one only wait for each other."""
MEMORY_SHARE = 0.8
"""Of the free memory, how much the KV cache may take."""


class QwenEngine:
    """See `model.engine.Engine`."""

    def __init__(self, checkpoint: Checkpoint, *, device: str | None = None, threads: int | None = None) -> None:
        """Load weights and processor.

        `device`: `cuda` or `cpu`; the default is CUDA where there is one. `threads`: of the CPU; by default one for
        small checkpoints, else one a core.

        Raises:
            BadCheckpoint: the folder cannot be loaded by transformers. DeviceNotFound: there is no CUDA device.
            OutOfMemory: the weights do not fit.
        """
        # Progress is the application's to show, and only where it was asked for.
        transformers_logging.disable_progress_bar()
        self.checkpoint = checkpoint
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise DeviceNotFound("There is no CUDA device that this PyTorch can use; choose the device cpu.")
        small = checkpoint.weight_bytes < SMALL_WEIGHTS_BYTES
        torch.set_num_threads(threads or (1 if small else psutil.cpu_count(logical=False) or 1))
        try:
            self.processor: Any = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
            self.model: Any = AutoModelForImageTextToText.from_pretrained(
                checkpoint.folder, dtype=self._dtype(), use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise BadCheckpoint(f"{checkpoint.name} cannot be loaded as a video language model: {error}") from error
        with _memory_errors("the weights"):
            self.model = self.model.to(self.device).eval()
        self._lock = threading.Lock()  # transformers keeps state of a prefill on the model object
        self._rate: float | None = None
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self.end_tokens = frozenset(ends if isinstance(ends, list) else [ends]) | {tokenizer.eos_token_id}
        self.prefix_text, self._before_question, self._after_question = self._template()
        self.context_tokens = self._context_limit()

    def _dtype(self) -> torch.dtype:
        if self.device != "cpu":
            return torch.bfloat16
        # float32 is exact and faster on most CPUs, where it fits.
        return torch.float32 if self.checkpoint.weight_bytes * 2 < psutil.virtual_memory().available * 0.6 else torch.bfloat16

    def _template(self) -> tuple[str, str, str]:
        """The chat template cut at the end of the video and around the question."""
        messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION_SLOT}]}]
        rendered = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        video, end, rest = rendered.rpartition(self.processor.vision_end_token)
        before, slot, after = rest.partition(QUESTION_SLOT)
        if not (end and slot):
            raise BadCheckpoint(f"The chat template of {self.checkpoint.name} does not put the question after the video.")
        return video + end, before, after

    def _context_limit(self) -> int:
        free = torch.cuda.mem_get_info()[0] if self.device == "cuda" else psutil.virtual_memory().available
        return min(self.checkpoint.context_max, int(free * MEMORY_SHARE / self._kv_bytes_per_token()))

    def _kv_bytes_per_token(self) -> int:
        return self.checkpoint.kv_bytes_per_token // 2 * (torch.finfo(self.model.dtype).bits // 8)

    def marker_tokens(self, time_s: float) -> int:
        """See `model.engine.Engine`."""
        ids = self.processor.tokenizer.encode(f"<{time_s:.1f} seconds>", add_special_tokens=False)
        return len(ids) + 2

    def open(self, frames: Iterable[TimedFrames], window: Span, *, clock_offset_s: float = 0.0) -> "QwenSession":
        """See `model.engine.Engine`."""
        chunks = list(frames)
        pixels = np.concatenate([chunk.frames for chunk in chunks])
        times_s = np.concatenate([chunk.times_s for chunk in chunks])
        frames_seen = len(times_s)
        if len(times_s) % FRAMES_PER_PATCH:
            # The processor would repeat the last frame itself, but refuses a single one.
            pixels, times_s = np.concatenate([pixels, pixels[-1:]]), np.append(times_s, times_s[-1])
        # A picture that was on screen before the window began is, on the window's clock, there from its start.
        inputs = self.inputs(self.prefix_text, pixels, np.maximum(times_s - clock_offset_s, 0))
        cache = DynamicCache(config=self.model.config.get_text_config())
        with self._lock, _memory_errors(f"{inputs['input_ids'].shape[1]} tokens"), torch.inference_mode():
            self.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            rope_delta = int(self.model.model.rope_deltas.item())
        return QwenSession(
            self,
            inputs["input_ids"],
            cache,
            rope_delta,
            _patches(times_s, clock_offset_s),
            window,
            clock_offset_s,
            frames=frames_seen,
            unreadable=merged(span for chunk in chunks for span in chunk.unreadable),
        )

    def inputs(self, text: str, pixels: np.ndarray, times_s: np.ndarray) -> Any:
        """The processor's tensors for a prompt with one video placeholder.

        `pixels`: RGB uint8 (N, height, width, 3) at the planned size. `times_s`: (N,) seconds, written into the markers.
        """
        indices = [round(time_s * CLOCK_FPS) for time_s in times_s.tolist()]
        metadata = VideoMetadata(total_num_frames=indices[-1] + 1, fps=float(CLOCK_FPS), frames_indices=indices)
        batch = self.processor(
            text=[text],
            videos=[torch.from_numpy(pixels).permute(0, 3, 1, 2)],
            video_metadata=[metadata],
            do_sample_frames=False,
            do_resize=False,
            truncation=False,
            return_tensors="pt",
        )
        return batch.to(self.device)

    def question_ids(self, question: str) -> torch.Tensor:
        """Token ids of shape (1, n) of the question and all of the template that follows the video."""
        # A user's text must not be able to end its own turn or to open a picture.
        harmless = re.sub(r"<\|.*?\|>", " ", question)
        text = self._before_question + harmless + self._after_question
        ids: torch.Tensor = self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return ids.to(self.device)

    def step(self, ids: torch.Tensor, cache: DynamicCache, rope_delta: int) -> int:
        """Append tokens of shape (1, n) to the cache; returns the most likely next one."""
        past = cache.get_seq_length()
        positions = torch.arange(past, past + ids.shape[1], device=self.device) + rope_delta
        with self._lock, _memory_errors("the reply"), torch.inference_mode():
            out = self.model(
                input_ids=ids,
                position_ids=positions.view(1, 1, -1).expand(3, 1, -1),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            return int(out.logits[0, -1].argmax())

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """See `model.engine.Engine`. Counted from shapes: weights, pixels, KV cache and the widest activations of one pass."""
        text, vision = self.model.config.get_text_config(), self.model.config.vision_config
        number_bytes = torch.finfo(self.model.dtype).bits // 8
        frames = max(len(window.times_s) for window in plan.windows)
        visual = math.ceil(frames / FRAMES_PER_PATCH) * plan.tokens_per_patch
        tokens = max(plan.window_tokens)
        inputs = visual * vision.spatial_merge_size**2
        patch_numbers = 3 * vision.temporal_patch_size * vision.patch_size**2
        # Frames as they are decoded and joined, as the processor's patches, and once more in the model's own type.
        pixels = 2 * frames * plan.height * plan.width * 3 + inputs * patch_numbers * (4 + number_bytes)
        seen = inputs * (vision.intermediate_size + 4 * vision.hidden_size) * number_bytes
        read = tokens * (3 * text.intermediate_size + 6 * text.hidden_size) * number_bytes
        weights = sum(p.numel() * p.element_size() for p in self.model.parameters())
        return weights + self._kv_bytes_per_token() * tokens + pixels + max(seen, read)

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float:
        """See `model.engine.Engine`. From counted operations and a multiplication timed on this device, so within about 2x."""
        text, vision = self.model.config.get_text_config(), self.model.config.vision_config
        vision_weights = sum(p.numel() for p in self.model.model.visual.parameters())
        text_weights = sum(p.numel() for p in self.model.parameters()) - vision_weights
        operations = 0.0
        for window in plan.windows:
            patches = len(window.times_s) // FRAMES_PER_PATCH
            visual = patches * plan.tokens_per_patch
            tokens = visual + plan.stamp_tokens / len(plan.windows)
            inner = vision.spatial_merge_size**2
            operations += 2 * text_weights * tokens + 2 * vision_weights * visual * inner
            operations += 2 * text.num_hidden_layers * text.num_attention_heads * self._head_size() * tokens**2
            operations += 4 * vision.depth * vision.hidden_size * visual * inner * plan.tokens_per_patch * inner
        # A step of decoding reads all weights once for one token, so memory and launch costs dominate.
        decoding = len(plan.windows) * reply_tokens * max(8 * text_weights / self._operations_per_s(), 0.003)
        return operations / self._operations_per_s() + decoding

    def _head_size(self) -> int:
        text = self.model.config.get_text_config()
        return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)

    def _operations_per_s(self) -> float:
        """Half of what a square multiplication reaches here: the rest goes to everything that is no multiplication."""
        if self._rate is None:
            side = 4096 if self.device == "cuda" else 1024
            a = torch.ones(side, side, device=self.device, dtype=self.model.dtype)
            (a @ a).sum().item()
            start = time.perf_counter()
            (a @ a).sum().item()
            self._rate = side**3 / (time.perf_counter() - start)
        return self._rate


class QwenSession:
    """See `model.engine.VideoSession`."""

    def __init__(
        self,
        engine: QwenEngine,
        prefix_ids: torch.Tensor,
        cache: DynamicCache,
        rope_delta: int,
        patches: tuple[Patch, ...],
        window: Span,
        clock_offset_s: float,
        *,
        frames: int,
        unreadable: tuple[Span, ...],
    ) -> None:
        self.engine = engine
        self.prefix_ids = prefix_ids
        self.patches = patches
        self.frames = frames
        self.unreadable = unreadable
        self.window = window
        self.clock_offset_s = clock_offset_s
        self.prompt_tokens = int(prefix_ids.shape[1])
        layers: Any = cache.layers
        self.size_bytes = int(sum(layer.keys.nbytes + layer.values.nbytes for layer in layers))
        self._cache, self._rope_delta = cache, rope_delta
        self._lock = threading.Lock()

    def ask(self, question: str, *, max_new_tokens: int) -> "QwenGeneration":
        """See `model.engine.VideoSession`."""
        return QwenGeneration(self, question, max_new_tokens)

    @contextmanager
    def _reserved(self) -> Iterator[DynamicCache]:
        """The cache for one reply; whatever the reply added is cropped away again, however it ends."""
        with self._lock:
            try:
                yield self._cache
            finally:
                # Layer by layer: a step that failed half-way has lengthened only some of them.
                layers: Any = self._cache.layers
                for layer in layers:
                    layer.crop(self.prompt_tokens - layer.get_seq_length())

    def tokens(self, question: str, *, max_new_tokens: int) -> Iterator[int]:
        """Greedy tokens of the reply; the last one is an end token unless the limit came first."""
        with self._reserved() as cache:
            token = self.engine.step(self.engine.question_ids(question), cache, self._rope_delta)
            yield token
            for _ in range(max_new_tokens - 1):
                if token in self.engine.end_tokens:
                    return
                token = self.engine.step(torch.tensor([[token]], device=self.engine.device), cache, self._rope_delta)
                yield token


class QwenGeneration:
    """See `model.engine.Generation`."""

    def __init__(self, session: QwenSession, question: str, max_new_tokens: int) -> None:
        self.text = ""
        self.is_complete = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._session, self._question, self._limit = session, question, max_new_tokens

    def __iter__(self) -> Iterator[str]:
        tokenizer = self._session.engine.processor.tokenizer
        start = time.perf_counter()
        said: list[int] = []
        for token in self._session.tokens(self._question, max_new_tokens=self._limit):
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            if token in self._session.engine.end_tokens:
                self.is_complete = True
                return
            said.append(token)
            text = tokenizer.decode(said, skip_special_tokens=True)
            # Bytes of a character still in the making decode to U+FFFD: wait for the rest.
            if not text.endswith("�") and len(text) > len(self.text):
                piece, self.text = text[len(self.text) :], text
                yield piece


def _patches(times_s: np.ndarray, clock_offset_s: float) -> tuple[Patch, ...]:
    pairs = times_s.reshape(-1, FRAMES_PER_PATCH)
    # The same rounding as the processor's: milliseconds first, then the mean, to one decimal.
    markers = [
        float(f"{(round(a * CLOCK_FPS) / CLOCK_FPS + round(b * CLOCK_FPS) / CLOCK_FPS) / 2:.1f}")
        for a, b in np.maximum(pairs - clock_offset_s, 0)
    ]
    return tuple(Patch(marker, float(a), float(b)) for marker, (a, b) in zip(markers, pairs, strict=True))


@contextmanager
def _memory_errors(what: str) -> Iterator[None]:
    try:
        yield
        return
    except torch.OutOfMemoryError as error:
        said = str(error)
    # Outside the except block, because the traceback would keep the tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    log.info("out of memory: %s", said)
    raise OutOfMemory(f"The device has not enough memory for {what}; choose a smaller --context or a smaller checkpoint.")
