"""The written folder is a complete checkpoint, which transformers and the engine load."""

import json
import random
import re
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.training.modeling import hidden_states
from longview.model.training.questions import KIND_SHARES, sample_conversation
from longview.model.training.rendering import patchify
from longview.model.training.tokens import ExampleEncoder
from longview.model.training.trainer import Trainer
from longview.video import synthetic
from longview.video.decoding.decoder import TimedFrames
from tests.support.toy_training import ATTENTION, SCENE, sample_scenes


def test_folder_is_complete_without_training_weights(trained_toy: tuple[Trainer, Path]) -> None:
    trainer, folder = trained_toy
    # The out-of-distribution detector is fitted afterwards, see `longview.model.training.ood.fit`. The profile is the same.
    expected_files = {path.name for path in DEMO.iterdir() if path.suffix not in (".py", ".toml", "")}
    assert {path.name for path in folder.iterdir()} == expected_files | {"scores.json"}
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    assert names == set(trainer.model.state_dict()) - {"lm_head.weight"}
    assert not any("heads" in name or "labels" in name or "query" in name for name in names)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["config"]["seed"] == 3 and {score["kind"] for score in scores["scores"]} == set(KIND_SHARES)
    assert "## Scores" in (folder / "README.md").read_text()


def test_every_question_template_was_trained(trained_toy: tuple[Trainer, Path]) -> None:
    _, folder = trained_toy
    templates = json.loads((folder / "trained_range.json").read_text())["question_templates"]
    conversations = [sample_conversation(random.Random(i), scene, 4) for i, scene in enumerate(sample_scenes(400))]
    questions = [turn.question for turns in conversations for turn in turns]
    for template in templates:
        pattern = re.escape(template).replace(r"\{time\}", r"[\d.]+").replace(r"\{thing\}", r"\w+ \w+")
        assert any(re.fullmatch(pattern, question) for question in questions), template


def test_transformers_loads_the_folder(trained_toy: tuple[Trainer, Path]) -> None:
    trainer, folder = trained_toy
    assert AutoProcessor.from_pretrained(folder, local_files_only=True).video_token == "<|video_pad|>"
    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.to(torch.bfloat16).float()), name


def test_engine_computes_the_logits_of_training(trained_toy: tuple[Trainer, Path], encoder: ExampleEncoder) -> None:
    _, folder = trained_toy
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.trained_range.max_patches == 12 and "toy" in str(checkpoint.notice)
    engine = LocalEngine(checkpoint, device="cpu", cpu_threads=1)
    backdrop = synthetic.background(64, 64, seed=2)
    frames = np.stack([synthetic.draw(SCENE.events, float(time_s), backdrop) for time_s in SCENE.frame_times_s])
    session = engine.open_session(
        [TimedFrames(frames, SCENE.frame_times_s)], WindowRequest(Span(100.0, 116.0), capacity_tokens=1000)
    )
    question = "How many events are in the video?"
    logits = session.first_logits(question)
    generation = session.generate(question, max_new_tokens=8)
    assert "".join(generation) == generation.text

    example = encoder.prompt(SCENE, question, (2, 2), "text")
    normalised = torch.from_numpy(frames).permute(0, 3, 1, 2).unsqueeze(0) / 127.5 - 1
    model = AutoModelForImageTextToText.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, attn_implementation=ATTENTION
    )
    with torch.inference_mode():
        hidden = hidden_states(
            model,
            torch.tensor([example.ids]),
            torch.tensor(example.positions).T.unsqueeze(1),
            patchify(normalised, (2, 2)),
            (2, 2),
        )
        expected = engine.model.lm_head(hidden[0, -1])
    assert torch.allclose(logits, expected, atol=1e-3)
