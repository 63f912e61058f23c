"""Greedy replies for many prompts of one length of video at once: what scoring needs, and the engine has no use for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from longview.model.training.modeling import read
from longview.model.training.rendering import event_tables, pixels
from longview.model.training.scenes import Scene
from longview.model.training.tokens import RowWriter, Timestamps


@torch.inference_mode()
def replies(
    model: Any,
    writer: RowWriter,
    asked: Sequence[tuple[Scene, str]],
    grid: tuple[int, int],
    timestamps: Timestamps,
    *,
    seed: int,
    tokens_max: int,
) -> list[str]:
    """What the model says to each question about a scene; all scenes have as many patches. Noiseless pictures."""
    device: torch.device = model.device
    rows = [writer.prompt(scene, question, grid, timestamps) for scene, question in asked]
    lengths = torch.tensor([len(row.ids) for row in rows], device=device)
    longest = int(lengths.max())
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    positions = torch.zeros((3, len(rows), longest), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        positions[:, index, : len(row.ids)] = torch.tensor(row.positions).T
    places = torch.tensor([row.next_position for row in rows], device=device)
    times = torch.tensor(np.stack([s.frame_times_s - s.start_s for s, _ in asked]), dtype=torch.float32, device=device)
    seen = pixels(event_tables([scene for scene, _ in asked]).to(device), times, grid, seed=seed, noise=0.0)
    cache = DynamicCache(config=model.config.text_config)
    # Prompts are padded behind, and later tokens must not look at the padding.
    mask = torch.arange(longest, device=device) < lengths.unsqueeze(1)
    said: list[torch.Tensor] = []
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        hidden = read(model, ids.to(device), positions.to(device), seen, grid, past_key_values=cache, use_cache=True)
        last = hidden[torch.arange(len(rows), device=device), lengths - 1]
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for _ in range(tokens_max):
            token = model.lm_head(last).argmax(-1).masked_fill(ended, writer.end_id)
            said.append(token)
            ended |= token == writer.end_id
            if bool(ended.all()):
                break
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)
            last = model.model.language_model(
                input_ids=token.unsqueeze(1),
                position_ids=places.view(1, -1, 1).expand(3, -1, 1),
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            places = places + 1
    return [writer.text(_until(reply, writer.end_id)) for reply in torch.stack(said, dim=1).tolist()]


def _until(reply: list[int], end: int) -> list[int]:
    return reply[: reply.index(end)] if end in reply else reply
