"""Scripted replies for tests that need no checkpoint: generations, sessions, pools and an engine. Also options and a progress."""

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import NO_PRECEDING_TEXT, REPLY_RESERVE_TOKENS, PrecedingText, TemporalPatch, WindowRequest
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.checkpoints.profiles import find_profile
from longview.model.engine.execution.frame_batches import FrameBatcher
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.video.decoding.decoder import TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.sampling_plan import SamplingPlan

T = TypeVar("T")
EventT = TypeVar("EventT")

CAPTION_CHECKS = CaptionOptions(verify=True, refine=True)
LOCATE_CHECKS = LocateOptions(verify=True, refine=True)
ANSWER_CHECKS = AnswerOptions(verify=False, captions=CAPTION_CHECKS, localization=LOCATE_CHECKS)
"""The default checks of the bundled checkpoint."""


def run_to_list(task: Generator[EventT, None, T]) -> tuple[list[EventT], T]:
    """Run a task; return its events and its result."""
    events = []
    while True:
        try:
            events.append(next(task))
        except StopIteration as end:
            return events, end.value


class RecordedProgress(Progress):
    """A progress that records the fraction of the operation after each update of it or of its children."""

    def __init__(self) -> None:
        super().__init__()
        self.fractions = [0.0]
        recorder = self

        class Operation(type(self._operation)):  # type: ignore[misc]
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "fraction":
                    recorder.fractions.append(value)

        self._operation.__class__ = Operation

    def check_complete(self) -> None:
        """Check that the fractions grow from 0 to 1 in several steps, and never go back."""
        assert self.fractions == sorted(self.fractions)
        assert self.fractions[-1] == 1.0 and len(set(self.fractions)) > 3


@dataclass
class FakeGeneration:
    """A generation that yields a scripted reply in pieces like tokens. By default it ends regularly."""

    reply: str = ""
    is_complete: bool = True
    is_repetitive: bool = False
    text: str = ""
    thoughts: str = ""
    first_token_s: float = 0.0
    total_s: float = 0.0
    has_read_prompt: bool = True
    progress: Progress = NO_PROGRESS

    def __iter__(self) -> Iterator[str]:
        # Like a tokenizer, words have the space before them, and punctuation is a token of its own.
        for piece in re.findall(r"\s?\w+|\s?[^\w\s]|\s", self.reply):
            self.progress.raise_if_cancelled()
            self.text += piece
            yield piece


def real_checkpoint(context_tokens: int = 32_768) -> Checkpoint:
    """Describe a checkpoint of Qwen3-VL, which answers any question, without any files."""
    profile = find_profile("qwen3_vl")
    return Checkpoint(
        name="Qwen/Qwen3-VL-8B-Instruct",
        folder=Path(),
        fingerprint="scripted",
        profile=profile,
        trained_range=profile.trained_range,
        kv_bytes_per_token=1,
        weight_bytes=0,
        max_context_tokens=context_tokens,
    )


@dataclass(eq=False)
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
    is_busy: bool = False
    prompt_tokens: int = 0
    prompts: list[str] = field(default_factory=list)
    """The questions so far."""
    generations: list[FakeGeneration] = field(default_factory=list)
    """The replies so far."""
    checkpoint: Checkpoint = field(default_factory=real_checkpoint)
    video_duration_s: float = 0.0
    """By default the video ends with the window."""

    def __post_init__(self) -> None:
        self.video_duration_s = self.video_duration_s or self.window.end_s
        if not self.patches:
            starts = [self.window.start_s + second for second in range(int(self.window.duration_s))]
            self.patches = tuple(
                TemporalPatch(round(start + 0.25 - self.clock_offset_s, 1), start, start + 0.5) for start in starts
            )

    def generate(self, question: str, *, progress: Progress = NO_PROGRESS, **_: Any) -> FakeGeneration:
        self.prompts.append(question)
        self.generations.append(FakeGeneration(self.reply, progress=progress))
        return self.generations[-1]

    def offload(self) -> None:
        pass


@dataclass
class FakePool:
    """A pool that gives scripted replies to prompts without a video; an exception among them is raised."""

    replies: list[str | Exception]
    prompts: list[str] = field(default_factory=list)
    """The prompts so far."""

    def __post_init__(self) -> None:
        self.engine = ScriptedEngine(lambda prompt, session: "")

    def generate_text(self, prompt: str, **_: Any) -> str:
        self.prompts.append(prompt)
        reply = self.replies[len(self.prompts) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply


CUT_OFF = "…CUT"
"""End of a scripted reply that the token limit ended."""
Script = Callable[[str, FakeSession], str]
"""A function from a question and the session that it is asked to the reply."""


@dataclass
class ScriptedSession(FakeSession):
    """A session of a `ScriptedEngine`."""

    engine: "ScriptedEngine | None" = None

    def generate(
        self, question: str, *, preceding: PrecedingText = NO_PRECEDING_TEXT, progress: Progress = NO_PROGRESS, **_: Any
    ) -> FakeGeneration:
        assert self.engine is not None
        reply = self.engine.script(question, self)
        is_complete = not reply.endswith(CUT_OFF)
        generation = FakeGeneration(reply.removesuffix(CUT_OFF), is_complete=is_complete, progress=progress)
        self.prompts.append(question)
        self.engine.prompts.append(question)
        self.engine.contexts.append(preceding.context)
        self.generations.append(generation)
        self.engine.generations.append(generation)
        return generation


class ScriptedEngine:
    """An engine of a Qwen3-VL checkpoint, which answers any question; a script gives its replies.

    Everything but the model is real: it consumes the frames of the decoder, and its sessions have their timestamps.
    """

    device = "cpu"
    saves_tokens = False
    reserved_tokens = REPLY_RESERVE_TOKENS
    kv_cache_bytes = 1 << 30
    context_advice = ""

    def __init__(self, script: Script, *, context_tokens: int = 32_768) -> None:
        self.script = script
        self.context_tokens = context_tokens
        self.sessions: list[ScriptedSession] = []
        """The sessions that were opened, in order."""
        self.prompts: list[str] = []
        """The questions to all sessions, in order."""
        self.contexts: list[str] = []
        """The contexts of these questions."""
        self.generations: list[FakeGeneration] = []
        """The replies to them."""
        self.text_prompts: list[str] = []
        """The prompts without a video so far."""
        self.checkpoint = real_checkpoint(context_tokens)

    def session_bytes(self, tokens: int) -> int:
        return tokens

    def timestamp_tokens(self, time_s: float) -> int:
        return len(f"{time_s:.1f}") + 5

    def count_tokens(self, text: str) -> int:
        return len(text.encode()) // 3

    def open_session(
        self, frames: Iterable[TimedFrames], request: WindowRequest, *, progress: Progress = NO_PROGRESS
    ) -> ScriptedSession:
        batcher = FrameBatcher()
        times_s: list[float] = []
        for _, chunk_times_s in batcher.chunks(frames, "cpu"):
            progress.raise_if_cancelled()
            times_s += chunk_times_s.tolist()
        if not times_s:
            raise UnreadableVideo("No frame of this part of the video can be decoded.")
        patches = tuple(
            TemporalPatch(round((first_s + last_s) / 2 - request.clock_offset_s, 1), first_s, last_s)
            for first_s, last_s in zip(times_s[::2], times_s[1::2], strict=True)
        )
        session = ScriptedSession(
            request.span,
            request.clock_offset_s,
            patches=patches,
            frames=batcher.frames,
            undecodable=batcher.undecodable,
            video_duration_s=request.video_duration_s or 0.0,
            checkpoint=self.checkpoint,
            engine=self,
        )
        self.sessions.append(session)
        return session

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        return 0

    def prefix_tokens(self, plan: SamplingPlan) -> int:
        return plan.kept_tokens

    def request_cost(self, plan: SamplingPlan, **_: int) -> None:
        return None

    def estimated_seconds(
        self, plan: SamplingPlan, *, reply_tokens: int, transcript_tokens: int = 0, progress: Progress = NO_PROGRESS
    ) -> float:
        return 0.0

    def generate_text(self, prompt: str, *, progress: Progress = NO_PROGRESS, **_: Any) -> FakeGeneration:
        self.text_prompts.append(prompt)
        return FakeGeneration(self.script(prompt, FakeSession()), progress=progress)
