"""What an engine is: it reads the frames of one window into a session, and a session answers questions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from longview.model.engine.checkpoints import Checkpoint
from longview.video.decoder import TimedFrames
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Span

REPLY_RESERVE_TOKENS = 2048
"""Of every context, for the chat template, the question and the reply."""


@dataclass(frozen=True)
class TemporalPatch:
    """One temporal patch as the model sees it."""

    timestamp_s: float
    """The time in its `<t seconds>` marker, to a tenth of a second, on the window's clock."""
    first_frame_s: float
    """True time of its first frame, on the video's clock."""
    last_frame_s: float
    """True time of its last frame."""


@dataclass(frozen=True)
class ChatTurn:
    """A question that was asked before, and its answer."""

    question: str
    answer: str


class Generation(Protocol):
    """A reply in the making: iterate it for the pieces of text; the rest is known afterwards."""

    text: str
    """What was said so far."""
    is_complete: bool
    """Whether the model ended by itself, not at the limit of tokens."""
    is_repetitive: bool
    """Whether it was stopped because it went round in circles."""
    first_token_s: float
    """Seconds from the call to the first token."""
    total_s: float

    def __iter__(self) -> Iterator[str]: ...


class VideoSession(Protocol):
    """One window of a video, read once: its visual prefix and KV cache, ready for any number of questions."""

    patches: tuple[TemporalPatch, ...]
    frames: int
    """Frames that were decoded for it; fewer than planned where pictures stand still or cannot be read."""
    undecodable: tuple[Span, ...]
    """Parts of the window whose pictures are damaged or missing."""
    is_out_of_distribution: bool
    """Most of it is nothing like what the checkpoint was trained on: whatever it said about it would be invented."""
    clock_offset_s: float
    """Marker times plus this are times on the video's clock."""
    window: Span
    size_bytes: int
    prompt_tokens: int
    """Length of the prefix: template, markers and visual tokens."""

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        item: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        history: Sequence[ChatTurn] = (),
    ) -> Generation:
        """A greedy reply to a question about this window. Users of one session wait for each other.

        `history`: what was asked and answered before, oldest first; the caller leaves out what is too long for the context.
        `item`: the reply is a JSON list of these, enforced token by token by engines that can.
        `presence_penalty`: see `longview.model.engine.generation.Rules`.
        Leaving the iteration early frees the session at once.

        Raises:
            BadQuestion: on iteration, if the question does not fit behind the video.
        """
        ...

    def offload(self) -> None:
        """Move the KV cache into the host's memory, unless someone is asking; the next question brings it back."""
        ...


class Engine(Protocol):
    """A loaded checkpoint."""

    checkpoint: Checkpoint
    device: str
    context_tokens: int
    """The longest prompt and reply that this device can take."""
    kv_bytes_per_token: int
    """Of all layers, in the numbers of this device."""
    reserved_tokens: int
    """Of every context, for the chat template, the question, thoughts and the reply."""
    kv_cache_bytes: int
    """What the device has to spare for sessions."""

    def timestamp_tokens(self, time_s: float) -> int:
        """Tokens of the marker for that time, with the vision start and end around its patch."""
        ...

    def open_session(
        self, frames: Iterable[TimedFrames], window: Span, *, capacity_tokens: int, clock_offset_s: float = 0.0
    ) -> VideoSession:
        """Read the frames of one window into a session, chunk by chunk, while the rest is still being decoded.

        `room_tokens`: for prompt, question and reply together; all of it is allocated at once.

        Raises:
            OutOfMemory: the device cannot hold them. UnreadableVideo: there is not one frame.
        """
        ...

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """The most memory that reading one window of a plan will take at once, weights included."""
        ...

    def estimated_seconds(self, plan: SamplingPlan, *, reply_tokens: int) -> float:
        """How long reading all windows of a plan and one reply for each will take."""
        ...

    def generate(self, prompt: str, *, max_new_tokens: int, item: type[BaseModel] | None = None) -> Generation:
        """A greedy reply to a text alone, without a video; see `VideoSession.ask`.

        Raises:
            BadQuestion: on iteration, if the text leaves no room for a reply.
        """
        ...
