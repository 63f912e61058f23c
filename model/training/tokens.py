"""A scene and its questions -> token ids, labels and positions, exactly as the checkpoint's processor writes a prompt.

`tests/test_training.py` holds them against `Qwen3VLProcessor` and the chat template.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from longview.model.engine.checkpoints import DEMO
from longview.model.training.questions import TimeFormat, Turn, clock_text
from longview.model.training.scenes import Scene

Timestamps = Literal["text", "none"]
"""`text`: each patch is preceded by its time as text, as in Qwen3-VL. `none`: the time is in the rotary positions only, which
follow the clock, as in Qwen2.5-VL ("absolute time encoding"); `POSITIONS_PER_SECOND` apart."""
POSITIONS_PER_SECOND = 10
"""Answers state tenths of seconds, so each tenth has a position of its own."""
NO_LABEL = -100
VIDEO_TOKEN, VISION_START, VISION_END, TURN_END = "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>"
USER, ASSISTANT = "<|im_start|>user\n", "<|im_start|>assistant\n"
MAX_CACHED_CHARACTERS = 24
"""Markers and template pieces come again and again; whole answers don't."""


@dataclass
class PackedExample:
    """One conversation about one video. Lists are of one length n where nothing else is said."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    """The token itself where it belongs to an answer (with the end of its turn), else `NO_LABEL`."""
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    """M-RoPE: time, row, column."""
    answer_of: list[int] = field(default_factory=list)
    """Number of the answer that a token belongs to, else -1."""
    patch_ends: list[int] = field(default_factory=list)
    """Index of the vision end token behind each patch, (T,)."""
    answer_starts: list[int] = field(default_factory=list)
    """Index of the token before each answer: the first one that has to predict it."""
    next_position: int = 0


class RowWriter:
    """Writes rows with the bundled tokenizer."""

    def __init__(self, folder: Path = DEMO) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._cache: dict[str, list[int]] = {}
        self.video_id = self.ids(VIDEO_TOKEN)[0]
        self.end_id = self.ids(TURN_END)[0]

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        if len(text) > MAX_CACHED_CHARACTERS:
            return self._encoded(text)
        if text not in self._cache:
            self._cache[text] = self._encoded(text)
        return self._cache[text]

    def _encoded(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """What token ids say, without special tokens."""
        said: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return said

    def prompt(self, scene: Scene, question: str, grid: tuple[int, int], timestamps: Timestamps) -> PackedExample:
        """A video and one question, up to where the answer begins."""
        row = self._video(scene, grid, timestamps, "seconds")
        self._text(row, question + TURN_END + "\n" + ASSISTANT)
        return row

    def conversation(
        self, scene: Scene, turns: Sequence[Turn], grid: tuple[int, int], timestamps: Timestamps, markers: TimeFormat
    ) -> PackedExample:
        """A video of `grid` rows and columns of tokens a patch, and all questions about it with their answers."""
        row = self._video(scene, grid, timestamps, markers)
        for number, turn in enumerate(turns):
            self._text(row, ("\n" + USER if number else "") + turn.question + TURN_END + "\n" + ASSISTANT)
            row.answer_starts.append(len(row.ids) - 1)
            self._text(row, turn.answer + TURN_END, answer=number)
        return row

    def _video(self, scene: Scene, grid: tuple[int, int], timestamps: Timestamps, markers: TimeFormat) -> PackedExample:
        row = PackedExample()
        self._text(row, USER + VISION_START)
        first = row.next_position
        within = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
        for time_s in scene.timestamps_s:
            if timestamps == "text":
                self._text(row, f"<{clock_text(time_s, markers)}{' seconds' if markers == 'seconds' else ''}>")
            else:
                row.next_position = max(row.next_position, first + round(time_s * POSITIONS_PER_SECOND))
            self._text(row, VISION_START)
            place = row.next_position
            self._append(row, [self.video_id] * len(within), [(place, place + r, place + c) for r, c in within], None)
            row.next_position = place + max(grid)
            row.patch_ends.append(len(row.ids))
            self._text(row, VISION_END)
        self._text(row, VISION_END)
        return row

    def _text(self, row: PackedExample, text: str, *, answer: int | None = None) -> None:
        ids = self.ids(text)
        self._append(row, ids, [(place,) * 3 for place in range(row.next_position, row.next_position + len(ids))], answer)
        row.next_position += len(ids)

    def _append(self, row: PackedExample, ids: list[int], positions: list[tuple[int, int, int]], answer: int | None) -> None:
        row.ids += ids
        row.positions += positions
        row.labels += [NO_LABEL] * len(ids) if answer is None else ids
        row.answer_of += [-1 if answer is None else answer] * len(ids)
