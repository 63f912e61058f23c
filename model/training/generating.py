"""Greedy replies to many prompts about videos of one length at once, for scoring. The engine handles one prompt at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from longview.model.training.modeling import hidden_states
from longview.model.training.rendering import event_tables, render_pixels
from longview.model.training.scenes import Scene
from longview.model.training.tokens import ExampleEncoder, Timestamps


@torch.inference_mode()
def generate_replies(
    model: Any,
    encoder: ExampleEncoder,
    questions: Sequence[tuple[Scene, str]],
    grid: tuple[int, int],
    timestamps: Timestamps,
    *,
    seed: int,
    max_new_tokens: int,
) -> list[str]:
    """Generate a reply to each question about a scene. All scenes have the same number of patches; frames have no noise."""
    device: torch.device = model.device
    examples = [encoder.prompt(scene, question, grid, timestamps) for scene, question in questions]
    count = len(examples)
    lengths = torch.tensor([len(example.ids) for example in examples], device=device)
    max_length = int(lengths.max())
    ids = torch.zeros((count, max_length), dtype=torch.long)
    positions = torch.zeros((3, count, max_length), dtype=torch.long)
    for index, example in enumerate(examples):
        ids[index, : len(example.ids)] = torch.tensor(example.ids)
        positions[:, index, : len(example.ids)] = torch.tensor(example.positions).T
    next_positions = torch.tensor([example.next_position for example in examples], device=device)
    frame_times_s = np.stack([scene.frame_times_s - scene.start_s for scene, _ in questions])
    times = torch.tensor(frame_times_s, dtype=torch.float32, device=device)
    pixels = render_pixels(event_tables([scene for scene, _ in questions]).to(device), times, grid, seed=seed, noise=0.0)
    cache = DynamicCache(config=model.config.text_config)
    # Prompts are padded at the end, and later tokens must not attend to the padding.
    mask = torch.arange(max_length, device=device) < lengths.unsqueeze(1)
    tokens: list[torch.Tensor] = []
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        hidden = hidden_states(model, ids.to(device), positions.to(device), pixels, grid, past_key_values=cache, use_cache=True)
        last_hidden = hidden[torch.arange(count, device=device), lengths - 1]
        is_complete = torch.zeros(count, dtype=torch.bool, device=device)
        for _ in range(max_new_tokens):
            token = model.lm_head(last_hidden).argmax(-1).masked_fill(is_complete, encoder.end_id)
            tokens.append(token)
            is_complete |= token == encoder.end_id
            if bool(is_complete.all()):
                break
            mask = torch.cat([mask, mask.new_ones((count, 1))], dim=1)
            last_hidden = model.model.language_model(
                input_ids=token.unsqueeze(1),
                position_ids=next_positions.view(1, -1, 1).expand(3, -1, 1),
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state[:, -1]
            next_positions = next_positions + 1
    return [encoder.decode(_before(encoder.end_id, reply)) for reply in torch.stack(tokens, dim=1).tolist()]


def _before(end: int, reply: list[int]) -> list[int]:
    return reply[: reply.index(end)] if end in reply else reply
