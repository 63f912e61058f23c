"""Inference engine interfaces. An engine prefills the frames of one window into a session; the session answers questions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.video.sampling_plan import SamplingPlan

if TYPE_CHECKING:
    from longview.video.decoding.decoder import TimedFrames

REPLY_RESERVE_TOKENS = 2048
"""Tokens of every context that are reserved for the chat template, the question and the reply."""


@dataclass(frozen=True)
class TemporalPatch:
    """A temporal patch: two frames that the model receives as one, with one timestamp."""

    timestamp_s: float
    """Timestamp in the prompt (`<t seconds>`), to a tenth of a second, on the window's clock."""
    first_frame_s: float
    """True time of the first frame, on the video's clock."""
    last_frame_s: float
    """True time of the last frame, on the video's clock."""


@dataclass(frozen=True)
class ChatTurn:
    """An earlier question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class PrecedingText:
    """The text of a prompt between the video and the question."""

    context: str = ""
    """Text in the message of the video, such as the transcript. It stays in the KV cache, so the next question with the same
    context prefills only its own tokens. Special tokens are removed from it."""
    history: Sequence[ChatTurn] = ()
    """Earlier turns, oldest first. The caller drops turns that do not fit into the context window."""


NO_PRECEDING_TEXT = PrecedingText()


@dataclass(frozen=True)
class WindowRequest:
    """The window of a video that a session is opened for."""

    span: Span
    """The part of the video that the session shows, on the video's clock."""
    capacity_tokens: int
    """Tokens of prompt, question and reply together. The engine allocates memory for all of them at once."""
    clock_offset_s: float = 0.0
    """Difference between the video's clock and the clock of the timestamps, in seconds."""
    video_duration_s: float | None = None
    """Duration of the whole video, which prompts state, in seconds; None: the video ends with the window."""


class Generation(Protocol):
    """A reply that is generated while it is iterated. Iteration yields pieces of text; the fields are final after it."""

    text: str
    """Text generated so far, without thoughts. If only the end of the thoughts is marked in a reply, it begins anew there."""
    thoughts: str
    """What the model thought before its reply. It is not part of captions, of spans or of what is stored."""
    is_complete: bool
    """Whether the model ended the reply itself, before the token limit."""
    is_repetitive: bool
    """Whether the reply ends in a repetition, which stops a local engine."""
    first_token_s: float
    """Seconds from the call to the first token."""
    total_s: float

    @property
    def has_read_prompt(self) -> bool:
        """Whether it is known that the model has read the whole prompt. Most servers report it with the last token only."""
        ...

    def __iter__(self) -> Iterator[str]: ...


class VideoSession(Protocol):
    """A prefilled window of a video. Its visual prefix stays in the KV cache, ready for any number of questions."""

    checkpoint: Checkpoint
    """The checkpoint that answers. Its profile has the prompts."""
    patches: tuple[TemporalPatch, ...]
    frames: int
    """Number of decoded frames. It is below the planned number where frames show little new or are undecodable."""
    undecodable: tuple[Span, ...]
    """Spans of the window whose frames are damaged or missing."""
    is_out_of_distribution: bool
    """Whether most of the window is unlike the checkpoint's training data. Replies about it would be invented."""
    clock_offset_s: float
    """Difference between the video's clock and the clock of the timestamps, in seconds."""
    window: Span
    """The part of the video that the session shows, on the video's clock."""
    video_duration_s: float
    """Duration of the whole video, in seconds."""
    prompt_tokens: int
    """Length of the prefix: chat template, timestamps and visual tokens. For a served model, it is the length of the last whole
    prompt, as the server reported it; 0 before the first reply."""

    @property
    def size_bytes(self) -> int:
        """Memory of the KV cache and of all else that the session keeps, in bytes."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being generated, so that the KV cache can be neither moved nor freed."""
        ...

    def generate(
        self,
        question: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        preceding: PrecedingText = NO_PRECEDING_TEXT,
        thinking: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> Generation:
        """Generate a reply to a question about this window. Concurrent calls wait for each other.

        The reply is greedy, unless the model thinks or has a presence penalty: then it is sampled, where the checkpoint's
        `generation_config.json` asks for it.

        `schema`: the reply is a JSON list of these. Engines that support it constrain every token.
        `presence_penalty`: see `longview.model.engine.generation.decoding.GenerationConfig`.
        `preceding`: the context and the earlier turns.
        `thinking`: the model thinks first, if its chat template has a switch for it. Without a switch the checkpoint decides.
        A caller that ends the iteration early frees the session at once.

        Raises:
            InvalidQuestion: on iteration, if the question does not fit after the video and the context.
            Cancelled: on iteration, before the next token, also while the model thinks or another reply is generated.
        """
        ...

    def offload(self) -> None:
        """Move the KV cache to host memory, unless the session is in use. The next question moves it back."""
        ...


@dataclass(frozen=True)
class RequestCost:
    """What the requests of a task send to a server, and what they cost there."""

    sent_bytes: int
    """Estimated size of the frames in all requests."""
    usd: float | None
    """Estimated price in US dollars; None: no price is known."""


class Engine(Protocol):
    """A loaded checkpoint that opens sessions."""

    device: str
    saves_tokens: bool
    """Whether plans spend few tokens, because every token is slow on this device."""
    reserved_tokens: int
    """Tokens of every context that are reserved for the chat template, the question, the thoughts and the reply. Thoughts count
    where the checkpoint always thinks, or where questions switch its thinking on."""
    kv_cache_bytes: int
    """Device memory available for the KV caches of all sessions."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint. The limits of a served one can become smaller."""
        ...

    @property
    def context_tokens(self) -> int:
        """Maximum length of prompt and reply on this device, in tokens."""
        ...

    @property
    def context_advice(self) -> str:
        """What a user does for a longer context, as a sentence; "" where nothing can be done."""
        ...

    def timestamp_tokens(self, time_s: float) -> int:
        """Count the tokens of the timestamp of `time_s`, with the vision start and end tokens of its patch."""
        ...

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, or estimate their number from above where the tokenizer is not here."""
        ...

    def open_session(
        self, frames: "Iterable[TimedFrames]", request: WindowRequest, *, progress: Progress = NO_PROGRESS
    ) -> VideoSession:
        """Prefill the frames of one window into a session, chunk by chunk, while later frames are still being decoded.

        Raises:
            OutOfMemory: the device does not have enough memory. UnreadableVideo: no frame can be decoded.
            Cancelled: the operation was cancelled; this is raised before the next chunk.
        """
        ...

    def session_bytes(self, tokens: int) -> int:
        """Return the device memory of a session whose prompt, question and reply have `tokens` tokens; 0 for a served model."""
        ...

    def estimated_bytes(self, plan: SamplingPlan) -> int:
        """Estimate the peak memory of prefilling one window of a plan, including the weights."""
        ...

    def estimated_seconds(
        self, plan: SamplingPlan, *, reply_tokens: int, transcript_tokens: int = 0, progress: Progress = NO_PROGRESS
    ) -> float | None:
        """Estimate the time to prefill all windows of a plan and to generate one reply for each; None if the speed is unknown.

        The first call ever on a machine measures the speed, which takes seconds, or minutes for a large checkpoint on a CPU.
        `transcript_tokens`: tokens of the transcript in all windows together.

        Raises:
            Cancelled: the operation was cancelled before the next step of the measurement.
        """
        ...

    def prefix_tokens(self, plan: SamplingPlan) -> int:
        """Estimate the tokens of the frames of all windows of a plan, with their timestamps."""
        ...

    def request_cost(
        self, plan: SamplingPlan, *, prompt_tokens: int, sessions: int, replies: int, reply_tokens: int
    ) -> RequestCost | None:
        """Estimate what the requests of a task send and cost; None for a model that runs here.

        `plan`: the windows of the task, or some like them. `prompt_tokens`: tokens of frames and transcript of all `sessions`.
        `replies`, `reply_tokens`: number of replies about the sessions, and all tokens of these replies.
        """
        ...

    def generate_text(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        schema: type[BaseModel] | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Generation:
        """Generate a reply to a prompt without a video, without switching thoughts on. See `VideoSession.generate`.

        Raises:
            InvalidQuestion: on iteration, if the prompt leaves no room for a reply. Cancelled: as for `VideoSession.generate`.
        """
        ...
