"""Fakes with scripted replies, for tests that need no checkpoint: generations, sessions and pools."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from longview.model.engine.base import TemporalPatch
from longview.video.timeline import Span


@dataclass
class FakeGeneration:
    """A generation that yields a scripted reply word by word. By default it ends regularly."""

    reply: str = ""
    is_complete: bool = True
    is_repetitive: bool = False
    text: str = ""
    first_token_s: float = 0.0
    total_s: float = 0.0

    def __iter__(self) -> Iterator[str]:
        for word in self.reply.split(" "):
            self.text += word + " "
            yield word


@dataclass
class FakeSession:
    """A session that gives the same reply to every question. It has one temporal patch per second, unless `patches` are given.

    The frames of a patch are at 0.0 and 0.5 s of its second, and its timestamp is between them.
    """

    window: Span = Span(0.0, 60.0)
    clock_offset_s: float = 0.0
    reply: str = ""
    patches: tuple[TemporalPatch, ...] = ()
    frames: int = 0
    undecodable: tuple[Span, ...] = ()
    is_out_of_distribution: bool = False
    size_bytes: int = 0
    prompt_tokens: int = 0
    prompts: list[str] = field(default_factory=list)
    """The questions so far."""

    def __post_init__(self) -> None:
        if not self.patches:
            starts = [self.window.start_s + second for second in range(int(self.window.duration_s))]
            self.patches = tuple(
                TemporalPatch(round(start + 0.25 - self.clock_offset_s, 1), start, start + 0.5) for start in starts
            )

    def generate(self, question: str, **_: Any) -> FakeGeneration:
        self.prompts.append(question)
        return FakeGeneration(self.reply)

    def offload(self) -> None:
        pass


@dataclass
class FakePool:
    """A pool that gives scripted replies to prompts without a video; an exception among them is raised."""

    replies: list[str | Exception]
    prompts: list[str] = field(default_factory=list)
    """The prompts so far."""

    def generate_text(self, prompt: str, **_: Any) -> str:
        self.prompts.append(prompt)
        reply = self.replies[len(self.prompts) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply
