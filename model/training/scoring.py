"""The score table: held-out scenes, greedy replies, one question per reply, without the application.

The scenes are the same for every checkpoint of a size. They are sampled as in training, but from `HELD_OUT_SEEDS`.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch.nn import functional

from longview.core.time_text import parse_time
from longview.model.training.batches import MAX_EVENTS, TIMESTAMP_TOKENS, collate, fitting_grids
from longview.model.training.configs import Size
from longview.model.training.generating import generate_replies
from longview.model.training.modeling import hidden_states
from longview.model.training.questions import KIND_SHARES, Kind, Turn, sample_time_format, sample_turn
from longview.model.training.rendering import render_pixels
from longview.model.training.scenes import Scene, held_out_seed, sample_scene
from longview.model.training.tokens import NO_LABEL, ExampleEncoder, Timestamps

MAX_BATCH_TOKENS = 150_000
"""Maximum number of prompt tokens that are answered at once."""
QUESTION_TOKENS = 200
"""Approximate number of tokens of a question in that limit."""
TimedText = tuple[float, float, str]
"""Start and end in seconds, and the description."""


@dataclass(frozen=True)
class Score:
    """The scores of one kind of question at one length, 0 to 1."""

    kind: Kind
    patches: int
    count: int
    """Number of held-out scenes."""
    exact_match: float
    """Share of the replies that equal the true answer."""
    token_accuracy: float
    """Share of the tokens of the true answers that are predicted from the true tokens before them (teacher forcing)."""
    loss: float
    """Mean cross entropy of these tokens, in nats."""
    iou: float | None = None
    """Mean IoU of the times, see `mean_iou`; for localisation only over queries that match something."""
    sentence_iou: float | None = None
    """The same for dense captions, where an entry with another sentence counts 0."""
    absent_accuracy: float | None = None
    """Share of the localisation queries without a match that are answered by the empty list."""


def compute_scores(model: Any, size: Size, timestamps: Timestamps) -> tuple[Score, ...]:
    """Score every kind of question at every length of the size's table."""
    encoder = ExampleEncoder()
    model.eval()
    try:
        return tuple(
            _score(model, encoder, size, timestamps, patches, kind, count)
            for patches, count in size.scored
            for kind in KIND_SHARES
        )
    finally:
        model.train()


def held_out_questions(patches: int, kind: Kind, count: int) -> list[tuple[Scene, Turn]]:
    """Return the scenes and questions of one cell of the table."""
    questions = []
    for index in range(count):
        rng = random.Random(held_out_seed(patches, list(KIND_SHARES).index(kind), index))
        scene = sample_scene(rng, patches, max_events=MAX_EVENTS)
        questions.append((scene, sample_turn(rng, scene, kind, sample_time_format(rng))))
    return questions


def _score(
    model: Any, encoder: ExampleEncoder, size: Size, timestamps: Timestamps, patches: int, kind: Kind, count: int
) -> Score:
    questions = held_out_questions(patches, kind, count)
    # The median frame size, the same for the whole cell.
    fitting = sorted(fitting_grids(size, patches), key=lambda grid: grid[0] * grid[1])
    grid = fitting[len(fitting) // 2]
    batch_size = max(1, MAX_BATCH_TOKENS // (patches * (grid[0] * grid[1] + TIMESTAMP_TOKENS) + QUESTION_TOKENS))
    replies: list[str] = []
    losses: list[float] = []
    correct: list[float] = []
    for first in range(0, count, batch_size):
        part = questions[first : first + batch_size]
        prompts = [(scene, turn.question) for scene, turn in part]
        replies += generate_replies(model, encoder, prompts, grid, timestamps, seed=first, max_new_tokens=size.max_reply_tokens)
        part_losses, part_correct = _teacher_forced(model, encoder, part, grid, timestamps)
        losses += part_losses
        correct += part_correct
    answers = [turn.answer for _, turn in questions]
    exact_match = fmean(reply == answer for reply, answer in zip(replies, answers, strict=True))
    return Score(kind, patches, count, exact_match, fmean(correct), fmean(losses), **_time_scores(kind, replies, answers))


@torch.inference_mode()
def _teacher_forced(
    model: Any,
    encoder: ExampleEncoder,
    questions: Sequence[tuple[Scene, Turn]],
    grid: tuple[int, int],
    timestamps: Timestamps,
) -> tuple[list[float], list[float]]:
    """Return the cross entropy and the correctness (0 or 1) of each token of the true answers."""
    scenes, conversations = [scene for scene, _ in questions], [(turn,) for _, turn in questions]
    examples = [encoder.conversation(scene, (turn,), grid, timestamps, "seconds") for scene, turn in questions]
    batch = collate(random.Random(0), scenes, conversations, examples, grid, seed=0).to(model.device)
    pixels = render_pixels(batch.events, batch.frame_times_s, grid, seed=0, noise=0.0)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
        hidden = hidden_states(model, batch.ids, batch.positions, pixels, grid, use_cache=False)
        targets = batch.labels[:, 1:]
        logits = model.lm_head(hidden[:, :-1][targets != NO_LABEL]).float()
    targets = targets[targets != NO_LABEL]
    losses: list[float] = functional.cross_entropy(logits, targets, reduction="none").tolist()
    correct: list[float] = (logits.argmax(-1) == targets).float().tolist()
    return losses, correct


def _time_scores(kind: Kind, replies: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Return the fields of `Score` that compare times."""
    if kind not in ("dense", "localize"):
        return {}
    pairs = [(parse_times(reply), parse_times(answer) or []) for reply, answer in zip(replies, answers, strict=True)]
    present = [(reply or [], answer) for reply, answer in pairs if answer]
    fields = {"iou": fmean(mean_iou(reply, answer) for reply, answer in present)} if present else {}
    if kind == "dense":
        return fields | {"sentence_iou": fmean(mean_iou(reply, answer, same_text=True) for reply, answer in present)}
    # An unreadable reply does not count as an empty list.
    absent = [reply == [] for reply, answer in pairs if not answer]
    return fields | ({"absent_accuracy": fmean(absent)} if absent else {})


def parse_times(reply: str) -> list[TimedText] | None:
    """Return the entries of a JSON reply, with times in seconds or H:MM:SS; None if the reply has another form."""
    try:
        entries = json.loads(reply)
        return [(_seconds(e["start"]), _seconds(e["end"]), str(e.get("description", ""))) for e in entries]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _seconds(value: Any) -> float:
    return parse_time(value) if isinstance(value, str) else float(value)


def mean_iou(predicted: Sequence[TimedText], true: Sequence[TimedText], *, same_text: bool = False) -> float:
    """Return the best IoU of each true entry with a predicted one, averaged over the longer of the two lists."""
    best = [
        max((_iou(entry, other) for other in predicted if not same_text or other[2] == entry[2]), default=0.0) for entry in true
    ]
    return sum(best) / max(len(predicted), len(true))


def _iou(a: TimedText, b: TimedText) -> float:
    intersection_s = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union_s = max(a[1], b[1]) - min(a[0], b[0])
    return intersection_s / union_s if union_s > 0 else float(a[:2] == b[:2])


def format_table(scores: Sequence[Score]) -> str:
    """Format the scores as a Markdown table."""
    lines = [
        "| patches | kind | n | exact match | token accuracy | loss | IoU | IoU x sentence | absent accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for s in scores:
        optional = ("" if value is None else f"{value:.2f}" for value in (s.iou, s.sentence_iou, s.absent_accuracy))
        required = (f"{s.exact_match:.2f}", f"{s.token_accuracy:.3f}", f"{s.loss:.3f}")
        cells = (str(s.patches), s.kind, str(s.count), *required, *optional)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
