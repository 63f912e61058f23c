"""Prompts are token for token those of the processor, and only answers have labels."""

import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from longview.model.training.configs import TOY
from longview.model.training.modeling import random_model
from longview.model.training.questions import sample_conversation
from longview.model.training.tokens import NO_LABEL, POSITIONS_PER_SECOND, ExampleEncoder
from tests.support.toy_training import SCENE


def test_timestamps_are_in_seconds_or_clock_times(encoder: ExampleEncoder) -> None:
    examples = (encoder.conversation(SCENE, (), (2, 2), "text", time_format) for time_format in ("seconds", "hms"))
    seconds, hms = (encoder.decode(example.ids) for example in examples)
    assert "<100.5 seconds>" in seconds and "<0:01:40.5>" in hms and "seconds" not in hms


def test_prompt_equals_that_of_the_processor(encoder: ExampleEncoder, processor: Any) -> None:
    example = encoder.prompt(SCENE, "How many?", (2, 3), "text")
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "How many?"}]}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    milliseconds = [round(time_s * 1000) for time_s in SCENE.frame_times_s]
    metadata = VideoMetadata(total_num_frames=milliseconds[-1] + 1, fps=1000.0, frames_indices=milliseconds)
    frames = torch.zeros((16, 3, 64, 96), dtype=torch.uint8)
    output = processor(
        text=[text],
        videos=[frames],
        videos_kwargs={"do_resize": False, "do_sample_frames": False, "video_metadata": [metadata]},
        return_tensors="pt",
        return_mm_token_type_ids=True,
    )
    assert example.ids == output["input_ids"][0].tolist()
    model = random_model(replace(TOY, text=TOY.text | {"num_hidden_layers": 1}), seed=0)
    expected, _ = model.model.get_rope_index(
        output["input_ids"], output["mm_token_type_ids"], video_grid_thw=output["video_grid_thw"]
    )
    assert torch.equal(torch.tensor(example.positions).T, expected[:, 0])


def test_labels_are_those_of_the_answers(encoder: ExampleEncoder) -> None:
    turns = sample_conversation(random.Random(1), SCENE, 4)
    example = encoder.conversation(SCENE, turns, (2, 2), "text", "seconds")
    for number, turn in enumerate(turns):
        positions = [position for position, answer in enumerate(example.answer_of) if answer == number]
        assert [example.ids[position] for position in positions] == encoder.encode(turn.answer) + [encoder.end_id]
        assert example.answer_starts[number] == positions[0] - 1
    for token, label, answer in zip(example.ids, example.labels, example.answer_of, strict=True):
        assert label == (NO_LABEL if answer < 0 else token)
    assert len(turns) > 1


def test_without_timestamps_the_positions_follow_the_clock(encoder: ExampleEncoder) -> None:
    example = encoder.conversation(SCENE, (), (2, 2), "none", "seconds")
    assert not re.search(r"\d", encoder.decode(example.ids))
    starts = [example.positions[end - 4][0] for end in example.patch_ends]
    assert np.diff(starts).tolist() == [2 * POSITIONS_PER_SECOND] * 7
    later = encoder.conversation(replace(SCENE, start_s=150.0), (), (2, 2), "none", "seconds")
    shift = later.positions[later.patch_ends[0]][0] - example.positions[example.patch_ends[0]][0]
    assert shift == 50 * POSITIONS_PER_SECOND
