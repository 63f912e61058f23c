"""Frames into a KV cache, chunk by chunk, while the rest is still being decoded; and text after them.

Visual attention stays inside a temporal patch and text attention is causal, so encoding and prefilling a prompt in
pieces gives what one pass over all of it would give. On a GPU the work of a chunk is only queued, and the next one is
decoded meanwhile; on the host no more than one chunk of 8-bit frames is held besides what the decoder has ahead.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from longview.model.engine.base import TemporalPatch
from longview.model.engine.kv_cache import PreallocatedKVCache
from longview.model.engine.ood import OODDetector, window_score
from longview.video.decoder import TimedFrames
from longview.video.sampler import FRAMES_PER_PATCH, PATCH_SIDE_PX
from longview.video.timeline import Span, merge_spans

MS_PER_SECOND = 1000
"""Frame times go to the processor as milliseconds: "frame indices" of a 1,000 fps video, exact for any frame rate."""
CHUNK_TOKENS = {"cuda": 8192, "cpu": 1024}
"""Visual tokens that are encoded and prefilled at once: enough to keep the device busy, little enough to hold."""


class Prefill:
    """The video of one prompt, on its way into a cache."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        cache: PreallocatedKVCache,
        *,
        clock_offset_s: float,
        ood_detector: OODDetector | None = None,
    ) -> None:
        """`model` and `processor` as transformers' Auto classes load them; `rule`: by which familiar footage is told."""
        self._model, self._processor, self._cache = model, processor, cache
        self._offset_s = clock_offset_s
        self._device = model.device
        video = processor.video_processor
        self._patch, self._merge = video.patch_size, video.merge_size
        self._mean = torch.tensor(video.image_mean, device=self._device).view(-1, 1, 1)
        self._std = torch.tensor(video.image_std, device=self._device).view(-1, 1, 1)
        self._rescale = float(video.rescale_factor)
        self._ids: list[torch.Tensor] = []
        self._position = 0
        self._patches: list[TemporalPatch] = []
        self._last_chunk: Any = None
        self._ood_detector = ood_detector
        self._ood_scores: list[torch.Tensor] = []

    @property
    def ids(self) -> torch.Tensor:
        """Token ids of all that was read, (1, n), on the CPU."""
        return torch.cat(self._ids).unsqueeze(0)

    @property
    def patches(self) -> tuple[TemporalPatch, ...]:
        """The temporal patches that were read."""
        return tuple(self._patches)

    @property
    def ood_score(self) -> float | None:
        """How familiar what was read is: above 0 for what looks like the checkpoint's world; None without a rule."""
        return window_score(self._ood_scores) if self._ood_scores else None

    @property
    def rope_delta(self) -> int:
        """What is added to a token's index for its position: a patch advances positions by its longer side only."""
        return self._position - sum(map(len, self._ids))

    def text(self, text: str) -> None:
        """Read a piece of the template."""
        if text:
            self._prefill(self._tokens(text), None)

    def frames(self, pixels: np.ndarray, times_s: np.ndarray) -> None:
        """Read temporal patches: RGB uint8 (2n, height, width, 3) and their times on the video's clock."""
        # A picture that was on screen before the window began is, on the window's clock, there from its start.
        milliseconds = [round(max(time_s - self._offset_s, 0.0) * MS_PER_SECOND) for time_s in times_s.tolist()]
        count, height, width, _ = pixels.shape
        grid = torch.tensor([[count // FRAMES_PER_PATCH, height // self._patch, width // self._patch]])
        metadata = VideoMetadata(
            total_num_frames=milliseconds[-1] + 1, fps=float(MS_PER_SECOND), frames_indices=list(milliseconds)
        )
        # transformers writes the markers, as it does for everyone.
        text = self._processor.replace_video_token({"video_grid_thw": grid, "video_metadata": [metadata]}, 0)
        self._prefill(self._tokens(text), (self.patchify(pixels), grid))
        self._limit_queue_depth()
        pairs = zip(times_s[::2].tolist(), times_s[1::2].tolist(), milliseconds[::2], milliseconds[1::2], strict=True)
        # The marker is the mean of the two times in whole milliseconds, to one decimal.
        self._patches += [TemporalPatch(float(f"{(a + b) / 2 / MS_PER_SECOND:.1f}"), first, last) for first, last, a, b in pairs]

    def _limit_queue_depth(self) -> None:
        """Keep no more than two chunks in a GPU's queue: their pixels lie in the host's memory, and a stop waits for them."""
        if self._device.type != "cuda":
            return
        before, self._last_chunk = self._last_chunk, torch.cuda.Event()
        self._last_chunk.record()
        if before is not None:
            before.synchronize()

    def patchify(self, pixels: np.ndarray) -> torch.Tensor:
        """Frames (2n, H, W, 3) as the vision tower's input (patches, 3 * 2 * 16 * 16), float32, normalised on the device.

        Patches are ordered as `Qwen3VLVideoProcessor` orders them: by temporal patch, then merge block, row and column.
        """
        frames = torch.from_numpy(pixels)
        if self._device.type == "cuda":
            frames = frames.pin_memory().to(self._device, non_blocking=True)
        frames = frames.permute(0, 3, 1, 2).float()
        # Fused as in transformers: (x - mean / rescale) / (std / rescale).
        frames = (frames - self._mean / self._rescale) / (self._std / self._rescale)
        count, channels, height, width = frames.shape
        rows, columns = height // self._patch, width // self._patch
        blocks = frames.view(
            count // FRAMES_PER_PATCH, FRAMES_PER_PATCH, channels,
            rows // self._merge, self._merge, self._patch, columns // self._merge, self._merge, self._patch,
        )  # fmt: skip
        return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(count // FRAMES_PER_PATCH * rows * columns, -1)

    def _tokens(self, text: str) -> torch.Tensor:
        ids: torch.Tensor = self._processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        return ids

    def _prefill(self, ids: torch.Tensor, video: tuple[torch.Tensor, torch.Tensor] | None) -> None:
        """Prefill tokens (n,), with the frames' patches and grid where they stand for pictures."""
        language = self._model.model.language_model
        is_visual = ids == self._processor.video_token_id
        rows, columns = (int(side) // self._merge for side in video[1][0, 1:]) if video else (1, 1)
        positions, self._position = rope_positions(is_visual, rows, columns, start=self._position)
        embeds = language.embed_tokens(ids.to(self._device)).unsqueeze(0)
        arguments: dict[str, Any] = {}
        if video:
            seen = self.encode(*video)
            if self._ood_detector:
                # It stays on the device until all is read: asking now would make a GPU wait.
                self._ood_scores.append(self._ood_detector.score_patches(seen.pooler_output.unflatten(0, (-1, rows * columns))))
            mask = is_visual.to(self._device).unsqueeze(0)
            embeds = embeds.masked_scatter(mask.unsqueeze(-1), seen.pooler_output.to(embeds.dtype))
            if deepstack := getattr(seen, "deepstack_features", None):
                arguments = {"visual_pos_masks": mask, "deepstack_visual_embeds": deepstack}
        language(
            inputs_embeds=embeds,
            position_ids=positions.unsqueeze(1).to(self._device),
            past_key_values=self._cache,
            use_cache=True,
            **arguments,
        )
        self._ids.append(ids)

    def encode(self, patches: torch.Tensor, grid: torch.Tensor) -> Any:
        """What the vision tower makes of patches as `patchified` gives them; grid (1, 3): temporal patches, rows, columns."""
        visual = self._model.model.visual
        frames, rows, columns = grid[0].tolist()
        # One run for all frames: `longview.model.engine.attention` takes it apart again. On the CPU, where every layer asks for its numbers.
        whole = torch.tensor([0, len(patches)], dtype=torch.int32)
        return visual(
            patches.to(visual.dtype), grid_thw=grid.to(self._device), cu_seqlens=whole, patches_per_frame=rows * columns
        )


def rope_positions(is_visual: torch.Tensor, rows: int, columns: int, *, start: int) -> tuple[torch.Tensor, int]:
    """M-RoPE positions (3, n) of tokens (n,), and the next position after them.

    Text advances by one a token. The `rows * columns` tokens of a temporal patch share one temporal position, and advance by
    the longer side (transformers `Qwen3VLModel.get_rope_index`).
    """
    visual = is_visual.long()
    seen = visual.cumsum(0) - visual
    within, patch = seen % (rows * columns), seen // (rows * columns)
    text_before = torch.arange(len(visual)) - seen
    base = start + text_before + patch * max(rows, columns)
    positions = base + torch.stack([torch.zeros_like(within), within // columns, within % columns]) * visual
    advanced = len(visual) - int(visual.sum()) + int(visual.sum()) // (rows * columns) * max(rows, columns)
    return positions, start + advanced


def next_logits(model: Any, ids: torch.Tensor, cache: PreallocatedKVCache, rope_delta: int) -> torch.Tensor:
    """Append tokens (1, n) to what a cache holds; returns the logits (vocabulary,) of the token after them."""
    past = cache.get_seq_length()
    positions = torch.arange(past, past + ids.shape[1], device=ids.device) + rope_delta
    out = model.model.language_model(
        input_ids=ids, position_ids=positions.view(1, 1, -1).expand(3, 1, -1), past_key_values=cache, use_cache=True
    )
    logits: torch.Tensor = model.lm_head(out.last_hidden_state[0, -1])
    return logits


class FrameBatcher:
    """What was noted of the decoded frames on their way."""

    def __init__(self) -> None:
        self.frames = 0
        self.undecodable: tuple[Span, ...] = ()

    def chunks(self, decoded: Iterable[TimedFrames], device: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Whole temporal patches, as many at once as the device takes; an odd last frame is repeated.

        Yields pixels (2n, H, W, 3) and times (2n,).
        """
        pixels: list[np.ndarray] = []
        times_s: list[np.ndarray] = []
        held = 0
        for chunk in decoded:
            self.undecodable = merge_spans([*self.undecodable, *chunk.undecodable])
            self.frames += len(chunk)
            if not len(chunk):
                continue
            pixels.append(chunk.frames)
            times_s.append(chunk.times_s)
            held += len(chunk)
            tokens_per_patch = chunk.frames.shape[1] * chunk.frames.shape[2] // PATCH_SIDE_PX**2
            size = max(1, CHUNK_TOKENS[device] // tokens_per_patch) * FRAMES_PER_PATCH
            while held >= size:
                all_pixels, all_times_s = np.concatenate(pixels), np.concatenate(times_s)
                yield all_pixels[:size], all_times_s[:size]
                pixels, times_s, held = [all_pixels[size:]], [all_times_s[size:]], held - size
        if held:
            all_pixels, all_times_s = np.concatenate(pixels), np.concatenate(times_s)
            if held % FRAMES_PER_PATCH:
                all_pixels, all_times_s = np.concatenate([all_pixels, all_pixels[-1:]]), np.append(all_times_s, all_times_s[-1])
            yield all_pixels, all_times_s
