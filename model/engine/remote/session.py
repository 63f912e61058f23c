"""A session of a served model: the frames of one window as they are sent, with each question."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pydantic import BaseModel

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Span
from longview.model.engine.base import NO_PRECEDING_TEXT, PrecedingText, TemporalPatch, WindowRequest
from longview.model.engine.chat_template import clean_context
from longview.model.engine.checkpoints.checkpoints import Checkpoint
from longview.model.engine.execution.frame_batches import patch_timestamp_s
from longview.model.engine.remote.adapters.base import Adapter
from longview.model.engine.remote.conversation import Conversation, SentImage
from longview.model.engine.remote.generation import PromptCheck, RemoteGeneration
from longview.model.engine.remote.limits import PromptLimits
from longview.model.engine.remote.token_estimates import max_text_tokens, min_text_tokens

MIN_REMOTE_REPLY_TOKENS = 256
"""Minimum length of a reply that is requested, in tokens. The tokens of a text are estimated from above."""


class SessionEngine(Protocol):
    """What a session needs of the engine that opened it; see `longview.model.engine.remote.engine.RemoteEngine`."""

    adapter: Adapter
    limits: PromptLimits
    max_thinking_tokens: int

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, with the limits of the server."""


class RemoteSession:
    """See `longview.model.engine.base.VideoSession`."""

    is_out_of_distribution = False
    """Served models have no out-of-distribution detector."""
    is_busy = False
    """The frames are in host memory, and a server answers several questions at once."""

    def __init__(
        self,
        engine: SessionEngine,
        images: Sequence[SentImage],
        times_s: Sequence[float],
        request: WindowRequest,
        *,
        frames: int,
        undecodable: tuple[Span, ...],
        min_tokens: int,
    ) -> None:
        """`times_s`: times of the images on the video's clock. `frames`, `undecodable`: those of `VideoSession`.

        `min_tokens`: the least tokens of a prompt with these images.
        """
        self.adapter, self.checkpoint = engine.adapter, engine.checkpoint
        self._limits, self._max_thinking_tokens = engine.limits, engine.max_thinking_tokens
        self.window = request.span
        self.video_duration_s = request.span.end_s if request.video_duration_s is None else request.video_duration_s
        self.clock_offset_s = request.clock_offset_s
        self.frames = frames
        self.undecodable = undecodable
        self.size_bytes = sum(len(image.data) for image in images)
        self.min_tokens = min_tokens
        self.prompt_tokens = 0
        self._is_proved = False
        """Whether a reply has shown that the server reads prompts with these frames."""
        self._images = tuple(images)
        step = self.adapter.frames_per_timestamp
        self.patches = tuple(
            TemporalPatch(
                patch_timestamp_s(images[first].time_ms, images[first + step - 1].time_ms),
                times_s[first],
                times_s[first + step - 1],
            )
            for first in range(0, len(images), step)
        )

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
    ) -> RemoteGeneration:
        """See `longview.model.engine.base.VideoSession`.

        Raises:
            PromptTooLong: on iteration, if the server takes less than was planned. Later plans are smaller.
            ServerUnreachable, ServerFailed: on iteration, if the server does not answer, or did not read the whole prompt.
        """
        conversation = self.conversation(
            question,
            max_new_tokens,
            schema=schema,
            presence_penalty=presence_penalty,
            preceding=preceding,
            thinking=thinking,
        )
        facts = self.adapter.facts
        check = PromptCheck(self.min_tokens + min_text_tokens(conversation.text), self._is_proved)
        if not self._is_proved and facts.keeps_prefix and not facts.reports_tokens_first:
            # The whole prompt with a reply of one token. It costs hardly anything: the server keeps the prefix for the reply.
            check = replace(check, proof=self._generation(conversation.limited(1), check, progress))
        return self._generation(conversation, check, progress)

    def _generation(self, conversation: Conversation, check: PromptCheck, progress: Progress) -> RemoteGeneration:
        return RemoteGeneration(self.adapter, self._limits, conversation, check, report=self._note_tokens, progress=progress)

    def conversation(
        self,
        question: str,
        max_new_tokens: int,
        *,
        schema: type[BaseModel] | None = None,
        presence_penalty: float = 0.0,
        preceding: PrecedingText = NO_PRECEDING_TEXT,
        thinking: bool = False,
    ) -> Conversation:
        """Return what the model is asked, with a reply that fits into the rest of the context."""
        conversation = Conversation(
            question,
            max_new_tokens,
            self._images,
            clean_context(preceding.context),
            preceding.history,
            schema,
            presence_penalty,
            thinking,
            self._max_thinking_tokens if thinking else 0,
        )
        # Some servers refuse a reply that may be longer than the rest of their context.
        text_tokens = max_text_tokens(conversation.text) + conversation.max_thinking_tokens
        room = self._limits.context_tokens - self.min_tokens - text_tokens
        return conversation.limited(max(room, MIN_REMOTE_REPLY_TOKENS))

    def _note_tokens(self, tokens: int) -> None:
        self.prompt_tokens = tokens
        self._is_proved = self._is_proved or tokens >= self.min_tokens

    def offload(self) -> None:
        """Do nothing: the frames are already in host memory."""
