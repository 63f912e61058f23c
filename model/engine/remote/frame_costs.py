"""The cost of a frame on a server, in tokens of the prompt, and the proof that a model has read all frames that it was sent.

A server may cut a prompt that is longer than its context, shrink frames or leave some out, and answer all the same. "It is not in
this video" would then be about frames that no model has seen. The cost is therefore measured with one and with two frames of each
size. It must be more than that of their timestamps, which are text. Each reply is compared with it.
"""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from longview.core.progress import NO_PROGRESS, Progress
from longview.model.engine.remote.conversation import Conversation, SentImage
from longview.model.engine.remote.facts import ServerFacts
from longview.model.engine.remote.server import Server
from longview.model.errors import ServerFailed

TOLERANCE = 0.02
"""Maximum share by which a server may count fewer tokens than were measured. A prompt that is cut loses whole frames or more."""
MIN_FRAME_TOKENS = 4
"""Minimum number of tokens of a frame beside its timestamp. Fewer do not show it."""
MEASURED_QUESTION = "?"
MEASURED_PERIOD_S = 0.1
"""Time between the frames with which the cost is measured, in seconds: their timestamps are the shortest that there are."""

Ask = Callable[[Conversation, Progress], int | None]
"""Sends a conversation, and returns the number of prompt tokens that the server reports, if it reports one."""


@dataclass(frozen=True)
class FrameCost:
    """The cost of frames of one size: of images, or of the temporal patches of a video."""

    first_tokens: int
    """Tokens of a prompt with one image or patch, its timestamp and hardly any text."""
    further_tokens: int
    """Tokens that each further image or patch adds, with its timestamp."""

    def tokens(self, count: int) -> int:
        """Return the least tokens of a prompt with so many images or patches."""
        return self.first_tokens + (count - 1) * self.further_tokens


class FrameCosts:
    """The measured costs of one server. Safe for several threads."""

    def __init__(self, server: Server, facts: ServerFacts, frames_per_timestamp: int, ask: Ask) -> None:
        self._server, self._facts, self._frames_per_timestamp, self._ask = server, facts, frames_per_timestamp, ask
        self._lock = threading.Lock()
        self._costs: dict[tuple[int, int], FrameCost] = {}
        self._timestamp_tokens: int | None = None

    def measure(self, height: int, width: int, progress: Progress = NO_PROGRESS) -> FrameCost:
        """Return the cost of frames of this size in pixels; measure it if it is not known yet.

        Raises:
            ServerFailed: the server does not report tokens, or its number does not grow with the frames.
            Cancelled: the operation was cancelled.
        """
        with progress.holding(self._lock):
            if (height, width) not in self._costs:
                self._costs[height, width] = self._measure(height, width, progress)
            return self._costs[height, width]

    def _measure(self, height: int, width: int, progress: Progress) -> FrameCost:
        if self._timestamp_tokens is None:
            self._timestamp_tokens = self._measure_timestamp(progress)
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), "grey").save(buffer, "JPEG")
        one, two = (
            self._count(
                Conversation(
                    MEASURED_QUESTION,
                    max_new_tokens=1,
                    images=tuple(
                        SentImage.of(buffer.getvalue(), index * MEASURED_PERIOD_S)
                        for index in range(count * self._frames_per_timestamp)
                    ),
                ),
                progress,
            )
            for count in (1, 2)
        )
        if two - one < self._timestamp_tokens + MIN_FRAME_TOKENS:
            raise ServerFailed(
                f"The server at {self._server.url} counts {one:,} tokens for one frame of {width}x{height} and {two:,} for two, "
                f"so that it does not show the model all frames. Its context may be too short: change "
                f"{self._facts.context_setting}. Or the model does not take images."
            )
        return FrameCost(one, two - one)

    def _measure_timestamp(self, progress: Progress) -> int:
        """Return the tokens of a timestamp as text, without a frame."""
        one, two = (
            self._count(Conversation("\n".join([*timestamps, MEASURED_QUESTION]), max_new_tokens=1), progress)
            for timestamps in (["<0.0 seconds>"], ["<0.0 seconds>", "<0.1 seconds>"])
        )
        return max(0, two - one)

    def _count(self, conversation: Conversation, progress: Progress) -> int:
        tokens = self._ask(conversation, progress)
        if tokens is None:
            raise ServerFailed(
                f"The server at {self._server.url} does not report how many tokens of a prompt it reads (usage.prompt_tokens), "
                "so that nothing proves that the model sees the video. Use another server, or a version that reports it."
            )
        return tokens
