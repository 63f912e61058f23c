"""Chunked prefill: decoded frames and text -> a KV cache, while later frames are still being decoded.

Visual attention stays inside a temporal patch and text attention is causal. Chunked prefill therefore gives the same result as
one pass over the whole prompt. On one GPU, a chunk is only queued, so that the host prepares the next one at the same time:
nothing is read back from it (tested without a GPU). The exceptions are the first chunk, for which kernels are chosen, and experts
on GPUs that are neither SM90 nor SM100, whose sizes PyTorch reads back. Over several GPUs, accelerate moves inputs to a GPU that
the layers of the vision tower read back. The host holds at most two chunks of 8-bit frames besides the read-ahead of the decoder.
"""

from typing import Any

import numpy as np
import torch

from longview.model.engine.base import TemporalPatch
from longview.model.engine.execution.frame_batches import MS_PER_SECOND, patch_timestamp_s
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.ood import OODDetector, window_score
from longview.model.engine.execution.visual_inputs import send_to_device, vision_positions
from longview.model.engine.transformers_names import VideoMetadata
from longview.video.sampling_plan import FRAMES_PER_PATCH


class Prefill:
    """A prefill of one prompt, with at most one video, into a KV cache."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        cache: PreallocatedCache,
        *,
        clock_offset_s: float,
        ood_detector: OODDetector | None = None,
    ) -> None:
        """Start an empty prompt.

        `model` and `processor`: as loaded by the Auto classes of transformers. `clock_offset_s`: time on the video's clock at
        which the window's clock is 0. `ood_detector`: scores every temporal patch.
        """
        self.cache = cache
        """KV cache with the prompt so far."""
        self._model, self._processor = model, processor
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
        """Token ids of the prompt so far, (1, n), on the CPU."""
        return torch.cat(self._ids).unsqueeze(0)

    @property
    def patches(self) -> tuple[TemporalPatch, ...]:
        """Temporal patches of the prompt so far."""
        return tuple(self._patches)

    @property
    def ood_score(self) -> float | None:
        """In-distribution score of the frames so far: positive for footage like the training data, negative for other footage.

        None: there is no detector or no frame.
        """
        return window_score(self._ood_scores) if self._ood_scores else None

    @property
    def rope_delta(self) -> int:
        """Difference between the next position and the next index. A patch advances positions by its longer side only."""
        return self._position - sum(map(len, self._ids))

    def append_text(self, text: str) -> None:
        """Append text of the chat template."""
        if text:
            self._prefill(self._tokens(text))

    def append_frames(self, pixels: np.ndarray, times_s: np.ndarray) -> None:
        """Append temporal patches: RGB uint8 (2n, height, width, 3), and times (2n,) on the video's clock."""
        # A frame that is displayed from before the window has time 0 on the window's clock.
        milliseconds = [round(max(time_s - self._offset_s, 0.0) * MS_PER_SECOND) for time_s in times_s.tolist()]
        count, height, width, _ = pixels.shape
        grid = torch.tensor([[count // FRAMES_PER_PATCH, height // self._patch, width // self._patch]])
        metadata = VideoMetadata(
            total_num_frames=milliseconds[-1] + 1, fps=float(MS_PER_SECOND), frames_indices=list(milliseconds)
        )
        # transformers formats the timestamps, so that the prompt equals that of its own processor.
        text = self._processor.replace_video_token({"video_grid_thw": grid, "video_metadata": [metadata]}, 0)
        # The pixels are not kept while the language model runs.
        self._prefill(self._tokens(text), self.encode(self.patchify(pixels), grid), grid)
        self._limit_queue_depth()
        pairs = zip(times_s[::2].tolist(), times_s[1::2].tolist(), milliseconds[::2], milliseconds[1::2], strict=True)
        self._patches += [TemporalPatch(patch_timestamp_s(a, b), first, last) for first, last, a, b in pairs]

    def _limit_queue_depth(self) -> None:
        """Limit the queue of a GPU to two chunks. Their pixels take host memory, and a cancellation waits for them."""
        if self._device.type != "cuda":
            return
        previous_chunk, self._last_chunk = self._last_chunk, torch.cuda.Event()
        self._last_chunk.record()
        if previous_chunk is not None:
            previous_chunk.synchronize()

    def patchify(self, pixels: np.ndarray) -> torch.Tensor:
        """Convert frames (2n, H, W, 3) to the input of the vision tower: (patches, 3 * 2 * 16 * 16), float32, normalised.

        The order of patches is that of `Qwen3VLVideoProcessor`: by temporal patch, then merge block, row and column.
        """
        frames = send_to_device(torch.from_numpy(pixels), self._device).permute(0, 3, 1, 2).float()
        # Rescaling and normalisation are fused, as in transformers: (x - mean / rescale) / (std / rescale).
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

    def _prefill(self, ids: torch.Tensor, visual: Any = None, grid: torch.Tensor | None = None) -> None:
        """Prefill tokens (n,). `visual`, `grid`: output of the vision tower, and grid, of the frames of the visual tokens."""
        language = self._model.model.language_model
        is_visual = ids == self._processor.video_token_id
        rows, columns = (int(side) // self._merge for side in grid[0, 1:]) if grid is not None else (1, 1)
        positions, self._position = rope_positions(is_visual, rows, columns, start=self._position)
        embeds = language.embed_tokens(send_to_device(ids, self._device)).unsqueeze(0)
        arguments: dict[str, Any] = {}
        if visual is not None:
            if self._ood_detector:
                # The scores stay on the device until the video ends. Reading them now would make a GPU wait.
                self._ood_scores.append(self._ood_detector.score_patches(visual.pooler_output.unflatten(0, (-1, rows * columns))))
            # The weights of embeddings and vision tower may be on two devices.
            indices = send_to_device(is_visual.nonzero()[:, 0], embeds.device)
            embeds[0].index_copy_(0, indices, visual.pooler_output.to(embeds))
            if deepstack := getattr(visual, "deepstack_features", None):
                arguments = {"visual_pos_masks": indices, "deepstack_visual_embeds": deepstack}
        language(
            inputs_embeds=embeds,
            position_ids=send_to_device(positions.unsqueeze(1), embeds.device),
            past_key_values=self.cache,
            use_cache=True,
            **arguments,
        )
        self._ids.append(ids)

    def encode(self, patches: torch.Tensor, grid: torch.Tensor) -> Any:
        """Run the vision tower on the output of `patchify`. `grid` (1, 3): temporal patches, rows, columns."""
        visual = self._model.model.visual
        frames, rows, columns = grid[0].tolist()
        # One sequence for all frames: `longview.model.engine.kernels.attention` splits it by frame. The tensor is on the CPU,
        # where every layer reads its values.
        bounds = torch.tensor([0, len(patches)], dtype=torch.int32)
        return visual(
            patches.to(visual.dtype),
            grid_thw=grid,
            cu_seqlens=bounds,
            patches_per_frame=rows * columns,
            **vision_positions(visual, grid, self._device),
        )


def rope_positions(is_visual: torch.Tensor, rows: int, columns: int, *, start: int) -> tuple[torch.Tensor, int]:
    """Compute the M-RoPE positions (3, n) of tokens (n,), and the next position after them.

    Text advances by one per token. The `rows * columns` tokens of a temporal patch share one temporal position and advance by
    the longer side (transformers `Qwen3VLModel.get_rope_index`).
    """
    visual = is_visual.long()
    visual_before = visual.cumsum(0) - visual
    offset, patch = visual_before % (rows * columns), visual_before // (rows * columns)
    text_before = torch.arange(len(visual)) - visual_before
    base = start + text_before + patch * max(rows, columns)
    positions = base + torch.stack([torch.zeros_like(offset), offset // columns, offset % columns]) * visual
    advance = len(visual) - int(visual.sum()) + int(visual.sum()) // (rows * columns) * max(rows, columns)
    return positions, start + advance


def append_tokens(model: Any, ids: torch.Tensor, cache: PreallocatedCache, rope_delta: int) -> torch.Tensor:
    """Append text tokens (1, n) to a cache, and return their last hidden states (1, n, hidden size)."""
    past = cache.get_seq_length()
    positions = torch.arange(past, past + ids.shape[1], device=ids.device) + rope_delta
    out = model.model.language_model(
        input_ids=ids, position_ids=positions.view(1, 1, -1).expand(3, 1, -1), past_key_values=cache, use_cache=True
    )
    states: torch.Tensor = out.last_hidden_state
    return states


def next_logits(model: Any, ids: torch.Tensor, cache: PreallocatedCache, rope_delta: int) -> torch.Tensor:
    """Append text tokens (1, n) to a cache, and return the logits (vocabulary,) of the next token."""
    logits: torch.Tensor = model.lm_head(append_tokens(model, ids, cache, rope_delta)[0, -1])
    return logits
