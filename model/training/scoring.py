"""The table of scores: held-out scenes, greedy replies, one look, no help from the application.

The scenes are the same for every checkpoint of a size, drawn as in training but from `HELD_OUT_SEEDS`.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch.nn import functional

from longview.model.training.batches import MAX_EVENTS, collate, fitting_grids
from longview.model.training.configs import Size
from longview.model.training.generating import replies
from longview.model.training.modeling import read
from longview.model.training.questions import SHARES, Kind, Turn, ask, sample_clock
from longview.model.training.rendering import pixels
from longview.model.training.scenes import Scene, held_out_seed, sample_scene
from longview.model.training.tokens import NO_LABEL, RowWriter, Timestamps
from longview.video.time_text import parse_time

ASKED_AT_ONCE_TOKENS = 150_000
"""Prompt tokens that are answered together."""
Timed = tuple[float, float, str]
"""Start and end in seconds, and what is there."""


@dataclass(frozen=True)
class Score:
    """How one kind of question was answered at one length, in parts of 1."""

    kind: Kind
    patches: int
    count: int
    """Held-out scenes."""
    exact: float
    """Replies that are the true answer, letter for letter."""
    right_tokens: float
    """Of the true answers' tokens, given all before them (no generation)."""
    loss: float
    """Their mean cross entropy, in nats."""
    iou: float | None = None
    """Of the times, averaged over the longer of the true and the told list; localisation: where there is something."""
    sentences: float | None = None
    """Dense captions: the same, where only the right sentence counts."""
    absent_accuracy: float | None = None
    """Localisation: of the queries that match nothing, how many got the empty list."""


def scores(model: Any, size: Size, timestamps: Timestamps) -> tuple[Score, ...]:
    """Every kind of question at every length that the size is scored at."""
    writer = RowWriter()
    model.eval()
    try:
        return tuple(
            _score(model, writer, size, timestamps, patches, kind, count) for patches, count in size.scored for kind in SHARES
        )
    finally:
        model.train()


def held_out(patches: int, kind: Kind, count: int) -> list[tuple[Scene, Turn]]:
    """The scenes and questions of one cell of the table."""
    found = []
    for index in range(count):
        rng = random.Random(held_out_seed(patches, list(SHARES).index(kind), index))
        scene = sample_scene(rng, patches, events_max=MAX_EVENTS)
        found.append((scene, ask(rng, scene, kind, sample_clock(rng))))
    return found


def _score(model: Any, writer: RowWriter, size: Size, timestamps: Timestamps, patches: int, kind: Kind, count: int) -> Score:
    asked = held_out(patches, kind, count)
    # A picture size in the middle, the same for the whole cell.
    fitting = sorted(fitting_grids(size, patches), key=lambda grid: grid[0] * grid[1])
    grid = fitting[len(fitting) // 2]
    together = max(1, ASKED_AT_ONCE_TOKENS // (patches * (grid[0] * grid[1] + 12) + 200))
    told: list[str] = []
    losses: list[float] = []
    rights: list[float] = []
    for begin in range(0, count, together):
        part = asked[begin : begin + together]
        questions = [(scene, turn.question) for scene, turn in part]
        told += replies(model, writer, questions, grid, timestamps, seed=begin, tokens_max=size.max_reply_tokens)
        each, right = _teacher_forced(model, writer, part, grid, timestamps)
        losses += each
        rights += right
    exact = fmean(reply == turn.answer for reply, (_, turn) in zip(told, asked, strict=True))
    return Score(kind, patches, count, exact, fmean(rights), fmean(losses), **_times(kind, told, [t.answer for _, t in asked]))


@torch.inference_mode()
def _teacher_forced(
    model: Any, writer: RowWriter, asked: Sequence[tuple[Scene, Turn]], grid: tuple[int, int], timestamps: Timestamps
) -> tuple[list[float], list[float]]:
    """Cross entropy and rightness of each token of the true answers."""
    scenes, turns = [scene for scene, _ in asked], [(turn,) for _, turn in asked]
    rows = [writer.conversation(scene, turn, grid, timestamps, "seconds") for scene, turn in zip(scenes, turns, strict=True)]
    batch = collate(random.Random(0), scenes, turns, rows, grid, seed=0).to(model.device)
    seen = pixels(batch.events, batch.frame_times_s, grid, seed=0, noise=0.0)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
        hidden = read(model, batch.ids, batch.positions, seen, grid, use_cache=False)
        wanted = batch.labels[:, 1:]
        logits = model.lm_head(hidden[:, :-1][wanted != NO_LABEL]).float()
    wanted = wanted[wanted != NO_LABEL]
    losses: list[float] = functional.cross_entropy(logits, wanted, reduction="none").tolist()
    rights: list[float] = (logits.argmax(-1) == wanted).float().tolist()
    return losses, rights


def _times(kind: Kind, predicted: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    if kind not in ("dense", "localize"):
        return {}
    pairs = [(read_times(reply), read_times(answer) or []) for reply, answer in zip(predicted, true, strict=True)]
    present = [(reply or [], answer) for reply, answer in pairs if answer]
    found = {"iou": fmean(overlap(reply, answer) for reply, answer in present)} if present else {}
    if kind == "dense":
        return found | {"sentences": fmean(overlap(reply, answer, same_text=True) for reply, answer in present)}
    # What can't be read refuses nothing.
    absent = [reply == [] for reply, answer in pairs if not answer]
    return found | ({"refused": fmean(absent)} if absent else {})


def read_times(reply: str) -> list[Timed] | None:
    """The entries of a JSON reply, with times in seconds or H:MM:SS; None if it is no such reply."""
    try:
        entries = json.loads(reply)
        return [(_seconds(e["start"]), _seconds(e["end"]), str(e.get("description", ""))) for e in entries]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _seconds(value: Any) -> float:
    return parse_time(value) if isinstance(value, str) else float(value)


def overlap(predicted: Sequence[Timed], true: Sequence[Timed], *, same_text: bool = False) -> float:
    """The best overlap of each true entry with a told one, averaged over the longer of the two lists."""
    best = [
        max((_iou(entry, other) for other in predicted if not same_text or other[2] == entry[2]), default=0.0) for entry in true
    ]
    return sum(best) / max(len(predicted), len(true))


def _iou(a: Timed, b: Timed) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    whole = max(a[1], b[1]) - min(a[0], b[0])
    return shared / whole if whole > 0 else float(a[:2] == b[:2])


def table(found: Sequence[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| patches | kind | n | exact answer | right tokens | loss | IoU | IoU x sentence | absent refused |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for s in found:
        optional = ("" if value is None else f"{value:.2f}" for value in (s.iou, s.sentences, s.absent_accuracy))
        cells = (str(s.patches), s.kind, str(s.count), f"{s.exact:.2f}", f"{s.right_tokens:.3f}", f"{s.loss:.3f}", *optional)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
