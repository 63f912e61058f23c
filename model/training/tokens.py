"""A scene and its questions -> token ids, labels and positions, exactly as the checkpoint's processor builds a prompt.

`tests/model/training/test_tokens.py` compares them with `Qwen3VLProcessor` and the chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.training.questions import TimeFormat, Turn, format_timestamp
from longview.model.training.scenes import Scene

Timestamps = Literal["text", "none"]
"""`text`: a textual timestamp precedes each patch, as in Qwen3-VL. `none`: times are in the rotary positions only, which follow
the clock by `POSITIONS_PER_SECOND`, as in Qwen2.5-VL ("absolute time encoding")."""
POSITIONS_PER_SECOND = 10
"""Answers state tenths of seconds, so each tenth has its own position."""
NO_LABEL = -100
VIDEO_TOKEN, VISION_START, VISION_END, TURN_END = "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>"
USER, ASSISTANT = "<|im_start|>user\n", "<|im_start|>assistant\n"
MAX_CACHED_CHARACTERS = 24
"""Maximum length of a text whose token ids are cached. Timestamps and parts of the template recur; whole answers do not."""


@dataclass
class PackedExample:
    """One conversation about one video. Lists have the same length n unless a field says otherwise."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    """Token ids of the answers and of the ends of their turns, elsewhere `NO_LABEL`."""
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    """M-RoPE positions: time, row, column."""
    answer_of: list[int] = field(default_factory=list)
    """Number of the answer that each token belongs to, else -1."""
    patch_ends: list[int] = field(default_factory=list)
    """Index of the vision end token after each patch, (T,)."""
    answer_starts: list[int] = field(default_factory=list)
    """Index of the token before each answer, which is the first one that has to predict it."""
    next_position: int = 0


class ExampleEncoder:
    """An encoder of examples with the tokenizer of the bundled checkpoint."""

    def __init__(self, folder: Path = DEMO) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._cache: dict[str, list[int]] = {}
        self.video_id = self.encode(VIDEO_TOKEN)[0]
        self.end_id = self.encode(TURN_END)[0]

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        if len(text) > MAX_CACHED_CHARACTERS:
            return self._encode(text)
        if text not in self._cache:
            self._cache[text] = self._encode(text)
        return self._cache[text]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def prompt(self, scene: Scene, question: str, grid: tuple[int, int], timestamps: Timestamps) -> PackedExample:
        """Encode a video and one question, up to the start of the answer."""
        example = self._video(scene, grid, timestamps, "seconds")
        self._append_text(example, question + TURN_END + "\n" + ASSISTANT)
        return example

    def conversation(
        self, scene: Scene, turns: Sequence[Turn], grid: tuple[int, int], timestamps: Timestamps, time_format: TimeFormat
    ) -> PackedExample:
        """Encode a video of `grid` rows and columns of tokens per patch, and all questions about it with their answers."""
        example = self._video(scene, grid, timestamps, time_format)
        for number, turn in enumerate(turns):
            self._append_text(example, ("\n" + USER if number else "") + turn.question + TURN_END + "\n" + ASSISTANT)
            example.answer_starts.append(len(example.ids) - 1)
            self._append_text(example, turn.answer + TURN_END, answer=number)
        return example

    def _video(self, scene: Scene, grid: tuple[int, int], timestamps: Timestamps, time_format: TimeFormat) -> PackedExample:
        example = PackedExample()
        self._append_text(example, USER + VISION_START)
        first = example.next_position
        cells = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
        for time_s in scene.timestamps_s:
            if timestamps == "text":
                unit = " seconds" if time_format == "seconds" else ""
                self._append_text(example, f"<{format_timestamp(time_s, time_format)}{unit}>")
            else:
                example.next_position = max(example.next_position, first + round(time_s * POSITIONS_PER_SECOND))
            self._append_text(example, VISION_START)
            start = example.next_position
            positions = [(start, start + row, start + column) for row, column in cells]
            self._append(example, [self.video_id] * len(cells), positions, None)
            example.next_position = start + max(grid)
            example.patch_ends.append(len(example.ids))
            self._append_text(example, VISION_END)
        self._append_text(example, VISION_END)
        return example

    def _append_text(self, example: PackedExample, text: str, *, answer: int | None = None) -> None:
        ids = self.encode(text)
        end = example.next_position + len(ids)
        self._append(example, ids, [(position,) * 3 for position in range(example.next_position, end)], answer)
        example.next_position = end

    def _append(self, example: PackedExample, ids: list[int], positions: list[tuple[int, int, int]], answer: int | None) -> None:
        example.ids += ids
        example.positions += positions
        example.labels += [NO_LABEL] * len(ids) if answer is None else ids
        example.answer_of += [-1 if answer is None else answer] * len(ids)
