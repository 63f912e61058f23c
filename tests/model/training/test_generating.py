"""Replies that are generated in a batch equal those that are generated alone."""

from pathlib import Path

from longview.model.training.generating import generate_replies
from longview.model.training.scoring import held_out_questions
from longview.model.training.tokens import ExampleEncoder
from longview.model.training.trainer import Trainer


def test_batched_reply_equals_the_reply_alone(trained_toy: tuple[Trainer, Path], encoder: ExampleEncoder) -> None:
    trainer, _ = trained_toy
    held_out = held_out_questions(4, "when", 2) + held_out_questions(4, "dense", 1)
    prompts = [(scene, turn.question) for scene, turn in held_out]
    batched = generate_replies(trainer.model, encoder, prompts, (2, 2), "text", seed=0, max_new_tokens=10)
    assert len(batched) == 3
    # Backgrounds depend on the index in the batch, so only the first prompt has the same frames alone.
    assert generate_replies(trainer.model, encoder, prompts[:1], (2, 2), "text", seed=0, max_new_tokens=10) == batched[:1]
