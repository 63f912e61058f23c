"""A request to a served model before it takes the form of a server's API: frames, transcript, turns, and limits of the reply."""

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, TypeAdapter

from longview.model.engine.base import ChatTurn
from longview.model.engine.execution.frame_batches import MS_PER_SECOND


@dataclass(frozen=True)
class SentImage:
    """An image as it is sent."""

    data: str
    """The JPEG file, as base64."""
    time_ms: int
    """Its time on the window's clock, in milliseconds."""

    @classmethod
    def of(cls, jpeg: bytes, time_s: float) -> "SentImage":
        """Encode a JPEG file for requests, once for all of them. `time_s`: its time on the window's clock, in seconds."""
        return cls(base64.b64encode(jpeg).decode(), round(max(time_s, 0.0) * MS_PER_SECOND))

    @functools.cached_property
    def digest(self) -> str:
        """What identifies the image on a server that keeps it. Its time is not a part of it."""
        return hashlib.sha256(self.data.encode()).hexdigest()

    @property
    def timestamp(self) -> str:
        """The timestamp as text, in the form that Qwen3-VL was trained on."""
        return f"<{self.time_ms / MS_PER_SECOND:.1f} seconds>"


@dataclass(frozen=True)
class Conversation:
    """What a model is asked: a question, after the frames of a session, the transcript of its window and earlier turns."""

    question: str
    max_new_tokens: int
    """Maximum length of the reply, without thoughts."""
    images: tuple[SentImage, ...] = ()
    """The frames in order of time: in pairs for a server that takes videos, else one for each timestamp."""
    context: str = ""
    """Text between the frames and the first turn."""
    history: Sequence[ChatTurn] = ()
    """Earlier turns, oldest first."""
    schema: type[BaseModel] | None = None
    """The reply is a JSON list of these."""
    presence_penalty: float = 0.0
    thinking: bool = False
    max_thinking_tokens: int = 0
    """Maximum length of the thoughts, in tokens; 0 without `thinking`."""

    @property
    def max_tokens(self) -> int:
        """Maximum length of thoughts and reply, in tokens. Servers count the thoughts as a part of the reply."""
        return self.max_new_tokens + self.max_thinking_tokens

    def limited(self, max_new_tokens: int) -> "Conversation":
        """Return the same conversation whose reply has at most so many tokens."""
        return replace(self, max_new_tokens=min(self.max_new_tokens, max_new_tokens))

    @property
    def text(self) -> str:
        """All text of the prompt but the timestamps."""
        turns = [text for turn in self.history for text in (turn.question, turn.answer)]
        return "\n".join([self.context, *turns, self.question])

    @property
    def json_schema(self) -> dict[str, Any] | None:
        """The JSON schema of the reply; None where the reply is free text."""
        return None if self.schema is None else TypeAdapter(list[self.schema]).json_schema()  # type: ignore[name-defined]

    @functools.cached_property
    def digest(self) -> str:
        """What identifies the frames and their times on a server that keeps them."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{image.digest} {image.time_ms}\n".encode())
        return digest.hexdigest()
