"""Sessions that fill a context of 262,144 or 1,000,000 tokens on a CPU, with tiny random checkpoints and frames of noise.

All parts are the real ones, from the planner to the cache. Attention over 1,000,000 tokens takes too long. There, most chunks
attend only to themselves, and have random features instead of the output of the vision tower. The last chunks of the video, those
of the words, and the questions attend to everything.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from longview.model.engine.chat_template import clean_context
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.execution.frame_batches import CHUNK_TOKENS
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.execution.session_cache import SessionCache
from longview.model.engine.kernels import attention
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import PATCH_SIDE_PX, SamplingPlan
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import ROPE, random_model
from tests.support.tensor_memory import TensorMemory

QUESTION = "What happens at 2.5 seconds?"
NATIVE_TOKENS = 262_144
"""Context of the checkpoints, as of Qwen3-VL and Qwen3.5."""
EXTENDED_TOKENS = 1_000_000
"""Context that YaRN extends it to."""
DURATIONS_S = {NATIVE_TOKENS: 7200.0, EXTENDED_TOKENS: 27_400.0}
"""Durations of the videos by context, in seconds: nearly the longest that the planner puts into one window."""
FRAME_RATE = 29.97
WIDTH_PX, HEIGHT_PX = 1088, 768
"""With this aspect ratio, of 12 x 17 tokens per patch, the planner fills the context. With 16:9 it fills 90 % of it, because
10 x 18 tokens have the nearest aspect ratio."""
DECODED_FRAMES = 16
"""Frames that are decoded at once."""
RECORDED_CHUNK_STEP = 8
"""Number of chunks from one whose attention is recorded to the next."""
VISION = {"depth": 1, "hidden_size": 16, "num_heads": 1, "intermediate_size": 16}
ATTENTION = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": NATIVE_TOKENS}
TEXT: dict[str, dict[str, Any]] = {
    "dense": ATTENTION | {"num_hidden_layers": 2, "rope_parameters": ROPE | {"mrope_section": [4, 2, 2]}},
    "hybrid": ATTENTION
    | {"num_hidden_layers": 4, "rope_parameters": ROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}},
}
IsFar = Callable[[int], bool]
"""Whether tokens after a context of this length attend to it, and see the output of the vision tower."""


@dataclass(frozen=True)
class AttentionRow:
    """The attention of one token in one layer: its queries and outputs (heads, size)."""

    layer: int
    """Number of the layer among those with full attention."""
    length: int
    query: torch.Tensor
    out: torch.Tensor

    def error(self, cache: PreallocatedCache) -> float:
        """Return the distance from the definition over the keys that are in the cache now, relative to the norm."""
        layer = cache._attention[self.layer]
        keys, values = (states[0, :, : self.length].double() for states in (layer.keys, layer.values))
        rows = self.query.double().unflatten(0, (len(keys), -1))
        expected = torch.softmax(rows @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5, dim=-1) @ values
        return float((self.out.double().view_as(expected) - expected).norm() / expected.norm())


class Recorder:
    """A recorder of positions, rotations, embeddings and some rows of attention, while a context is filled."""

    def __init__(self, model: Any, patch: pytest.MonkeyPatch, is_far: IsFar | None) -> None:
        """`is_far`: None if all tokens attend to all before them."""
        self.positions: list[np.ndarray] = []
        self.rotations: list[np.ndarray] = []
        self.embeddings: list[np.ndarray] = []
        self.rows: list[AttentionRow] = []
        self._addresses: list[int] = []
        self.is_recording = True
        self._model, self._is_far = model, is_far
        self._attend, self._patchify, self._encode = attention.attend, Prefill.patchify, Prefill.encode
        language = model.model.language_model
        language.rotary_emb.register_forward_hook(self._record_rotation)
        language.register_forward_pre_hook(self._record_embeddings, with_kwargs=True)
        patch.setattr(attention, "attend", self._record_attention)
        if is_far is not None:
            patch.setattr(Prefill, "patchify", lambda prefill, pixels: self._patchify(prefill, pixels) if self._sees else pixels)
            patch.setattr(
                Prefill, "encode", lambda *arguments: (self._encode if self._sees else self._random_features)(*arguments)
            )

    @property
    def _sees(self) -> bool:
        """Whether the next frames pass through the vision tower."""
        return self._is_far is None or self._is_far(sum(positions.shape[1] for positions in self.positions))

    def _random_features(self, prefill: Prefill, pixels: Any, grid: torch.Tensor) -> Any:
        vision = self._model.config.vision_config
        tokens = int(grid.prod()) // vision.spatial_merge_size**2
        random = [torch.randn(tokens, vision.out_hidden_size) for _ in range(2)]
        deepstack = {"deepstack_features": random[1:]} if hasattr(vision, "deepstack_visual_indexes") else {}
        return SimpleNamespace(pooler_output=random[0], **deepstack)

    def _record_attention(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float) -> torch.Tensor:
        count, past = query.shape[2], key.shape[2] - query.shape[2]
        if self._is_far is not None and not self._is_far(past):
            return self._attend(query, key[:, :, past:], value[:, :, past:], scale=scale)
        out = self._attend(query, key, value, scale=scale)
        if self.is_recording and (self._is_far or len(self.positions) % RECORDED_CHUNK_STEP == 0):
            # Every layer is allocated once.
            self._addresses += [key.data_ptr()] if key.data_ptr() not in self._addresses else []
            layer = self._addresses.index(key.data_ptr())
            for row in {0, count // 2, count - 1}:
                self.rows.append(AttentionRow(layer, past + row + 1, query[0, :, row].clone(), out[0, :, row].clone()))
        return out

    def _record_rotation(self, _: Any, arguments: Any, out: Any) -> None:
        if self.is_recording:
            # Copies of numpy, because those of torch would count as memory of the engine.
            self.positions.append(arguments[1][:, 0].numpy().copy())
            self.rotations.append(np.concatenate([part[0].numpy() for part in out], axis=-1))

    def _record_embeddings(self, _: Any, __: Any, keywords: Any) -> None:
        if self.is_recording and "inputs_embeds" in keywords:
            self.embeddings.append(keywords["inputs_embeds"][0].numpy().copy())


def save_sharp_checkpoint(folder: Path, layout: str) -> None:
    """Write a random checkpoint whose attention selects a few of all tokens, as that of a trained one.

    Else a token attends to all tokens nearly alike, and the logits hardly depend on positions.
    """
    vision = VISION | ({"deepstack_visual_indexes": [0]} if layout == "dense" else {})
    model = random_model(layout, vision, **TEXT[layout])
    for name, weight in model.named_parameters():
        if name.endswith("q_norm.weight"):
            # Scores then have a standard deviation of about 4. The norm of Qwen3.5 adds 1 to its weights.
            weight.data.fill_(3.0 if layout == "hybrid" else 4.0)
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(DEMO).save_pretrained(folder)


def plain_model(folder: Path, engine: LocalEngine) -> HFReference:
    config = AutoConfig.from_pretrained(folder)
    if engine.checkpoint.yarn_factor > 1:
        config.text_config.rope_parameters |= {
            "rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": NATIVE_TOKENS
        }  # fmt: skip
    model = AutoModelForImageTextToText.from_pretrained(folder, config=config, dtype=torch.float32).eval()
    return HFReference.from_loaded(engine.processor, model)


def noise(times_s: np.ndarray, height: int, width: int) -> Iterator[TimedFrames]:
    """Yield frames that differ from each other, in constant memory."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height + 251, width, 3), dtype=np.uint8)
    for start in range(0, len(times_s), DECODED_FRAMES):
        part_s = times_s[start : start + DECODED_FRAMES]
        yield TimedFrames(np.stack([image[top : top + height] for top in rng.integers(0, 252, len(part_s))]), part_s)


def write_transcript(engine: LocalEngine, tokens: int) -> str:
    """Return words of the video that take nearly `tokens` tokens."""
    lines, count = [], 0
    for index in itertools.count():
        lines.append(f"{4 * index}.0 - {4 * index + 3}.5: a red circle grows")
        count += engine.count_tokens(lines[-1] + "\n")
        if count > tokens - 10:
            return "\n".join(lines[:-1])
    raise AssertionError


def one_shot(engine: LocalEngine, plain: HFReference, plan: SamplingPlan, times_s: np.ndarray, words: str) -> Any:
    """Return ids (1, n) and positions (3, n) of the whole prompt, and the rope delta, by transformers at once."""
    processor = engine.processor
    milliseconds = [round(time_s * 1000) for time_s in times_s.tolist()]
    rows, columns = plan.height // PATCH_SIDE_PX, plan.width // PATCH_SIDE_PX
    # transformers takes minutes to write a million visual tokens; it writes one per patch here.
    one_token = {"video_grid_thw": torch.tensor([[plan.temporal_patches, 2, 2]])}
    metadata = VideoMetadata(total_num_frames=milliseconds[-1] + 1, fps=1000.0, frames_indices=milliseconds)
    video = processor.replace_video_token(one_token | {"video_metadata": [metadata]}, 0)
    video = video.replace(processor.video_token, rows * columns * processor.video_token)
    prompt = engine.chat_template.prefix.replace(processor.video_token, video)
    prompt += clean_context(words) + engine.chat_template.after_context(QUESTION)
    ids = processor.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    types = (ids == processor.video_token_id).int() * 2
    grid = torch.tensor([[plan.temporal_patches, 2 * rows, 2 * columns]])
    positions, delta = plain.model.model.get_rope_index(ids, types, video_grid_thw=grid)
    return ids, positions[:, 0], int(delta)


@dataclass(frozen=True, repr=False)
class Case:
    """A session whose context is full up to the reserve, with its reference."""

    engine: LocalEngine
    plain: HFReference
    plan: SamplingPlan
    session: LocalSession
    twin: LocalSession
    """A copy of the session that was made before the first question."""
    words: str
    times_s: np.ndarray
    """True times of all frames."""
    prompt_ids: torch.Tensor
    """Token ids of the prompt with the words and `QUESTION`, tokenised at once, (1, n)."""
    positions: torch.Tensor
    """Positions of the prompt by `get_rope_index`, (3, n)."""
    recorder: Recorder
    logits: torch.Tensor
    """Logits (vocabulary,) of the first token of the reply to `QUESTION` with the words."""
    peak_bytes: int | None
    """Peak size of all tensors while the session was opened; None if it was not measured."""


@contextmanager
def open_case(
    layout: str, context_tokens: int, folder: Path, video: VideoInfo, decoder: Decoder, *, measured: bool
) -> Iterator[Case]:
    """Fill the context of a checkpoint that is written to `folder`. `measured`: the peak of the memory is measured."""
    save_sharp_checkpoint(folder, layout)
    engine = LocalEngine(find_checkpoint(str(folder), context_tokens=context_tokens), device="cpu", cpu_threads=1)
    plain = plain_model(folder, engine)
    pool = SessionPool(engine, decoder, takes_transcript=True)
    video = replace(video, duration_s=DURATIONS_S[context_tokens], fps_nominal=FRAME_RATE, width=WIDTH_PX, height=HEIGHT_PX)
    plan = pool.planner.plan(video)
    # A player shows the last frame that starts at or before the requested time.
    times_s = np.floor(np.asarray(plan.windows[0].times_s) * FRAME_RATE) / FRAME_RATE
    words = write_transcript(engine, plan.window_transcript_tokens[0])
    ids, positions, delta = one_shot(engine, plain, plan, times_s, words)
    context_end = ids.shape[1] - engine.question_ids(QUESTION).shape[1]
    video_end = context_end - engine.context_ids(words).shape[1]

    def is_far(length: int) -> bool:
        chunks = 2.5 * CHUNK_TOKENS["cpu"]
        return video_end - chunks <= length <= video_end or context_end - chunks <= length

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "frames_played_at", lambda _, __, height, width, **___: noise(times_s, height, width))
        recorder = Recorder(engine.model, patch, is_far if context_tokens == EXTENDED_TOKENS else None)
        memory = TensorMemory()
        with memory if measured else nullcontext():
            session = pool.session(video, plan, plan.windows[0])
        assert isinstance(session, LocalSession)
        twin = copy.copy(session)
        twin.cache = SessionCache(engine.model, copy.deepcopy(session.cache.cache), rope_delta=delta)
        logits = session.first_logits(QUESTION, words)
        recorder.is_recording = False
        peak_bytes = memory.peak_bytes if measured else None
        yield Case(engine, plain, plan, session, twin, words, times_s, ids, positions, recorder, logits, peak_bytes)
