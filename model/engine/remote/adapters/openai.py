"""The adapter of OpenAI's chat completions, which most servers understand, and the base of those for one software.

Each frame is an image after its timestamp, as text. The text between them keeps llama.cpp from joining two images of one size.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import httpx

from longview.model.engine.chat_template import THINKING_SWITCH
from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.events import ReplyEvent, as_count
from longview.model.engine.remote.facts import ServerFacts
from longview.model.engine.remote.openai_events import read_events
from longview.model.engine.remote.server import Server

SCHEMA_WORDS = ("response_format", "json_schema", "schema", "grammar", "structured", "guided")
"""Words of the message with which a server refuses a JSON schema."""


class OpenAIAdapter:
    """What is sent to a server, and how its replies are read."""

    frames_per_timestamp: ClassVar[int] = 1
    """Number of frames with one timestamp: one where frames are sent as images, two in a video."""
    stream_options: ClassVar[dict[str, Any]] = {"include_usage": True}
    """Without it, most servers do not report the tokens of a streamed reply."""

    def __init__(self, server: Server, facts: ServerFacts) -> None:
        self.server, self.facts = server, facts
        self._sends_schema = facts.has_json_schema is not False

    @classmethod
    def recognize(cls, contact: Contact, entry: dict[str, Any]) -> ServerFacts | None:  # noqa: ARG003
        """Return the facts about a server of this software; None if it is another. `entry`: the model in the server's list."""
        tokens = as_count(entry.get("max_model_len")) or as_count(entry.get("context_length"))
        return ServerFacts("an OpenAI-compatible server", context_tokens=tokens)

    @property
    def url(self) -> str:
        """The address of replies."""
        return f"{self.server.url}/chat/completions"

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """Build the body of a request."""
        body: dict[str, Any] = {
            "model": self.server.model,
            "messages": self._messages(conversation),
            "max_tokens": conversation.max_tokens,
            "stream": True,
            "stream_options": self.stream_options,
        }
        if not conversation.thinking:
            # Thoughts are sampled as the server does by default: greedy thoughts repeat themselves.
            body["temperature"] = 0.0
        if conversation.presence_penalty:
            body["presence_penalty"] = conversation.presence_penalty
        if self._sends_schema and (schema := conversation.json_schema) is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
        return body

    def amend(self, conversation: Conversation, body: Mapping[str, Any], message: str) -> Conversation | None:
        """Return what to ask instead of a conversation that was rejected; None if nothing can be changed.

        `body`: what was sent. `message`: what the server says. It may refuse a JSON schema; replies are parsed in any case.
        """
        if "response_format" in body and any(word in message.lower() for word in SCHEMA_WORDS):
            return replace(conversation, schema=None)
        return None

    def accept(self, conversation: Conversation, original: Conversation) -> None:
        """Note that the server has taken a conversation, which stands for the original one."""
        if original.schema is not None and conversation.schema is None:
            self._sends_schema = False

    def read_events(self, response: httpx.Response) -> AsyncIterator[ReplyEvent]:
        """Yield the pieces of a streamed reply."""
        return read_events(self.server, response)

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Build the turns; the first one starts with frames and context, which the server's prefix cache then has."""
        turns: list[dict[str, Any]] = []
        for turn in conversation.history:
            turns.append({"role": "user", "content": [_text(turn.question)]})
            turns.append({"role": "assistant", "content": turn.answer})
        turns.append({"role": "user", "content": [_text(conversation.question)]})
        context = [_text(conversation.context)] if conversation.context else []
        turns[0]["content"] = [*self._frame_parts(conversation), *context, *turns[0]["content"]]
        return turns

    def _frame_parts(self, conversation: Conversation) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for image in conversation.images:
            parts.append(_text(image.timestamp))
            parts.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{image.data}"}})
        return parts


class ThinkingSwitchAdapter(OpenAIAdapter):
    """The adapter of servers that pass fields to the chat template, with which Qwen's thoughts are switched."""

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """See `OpenAIAdapter.body`."""
        return super().body(conversation) | {"chat_template_kwargs": {THINKING_SWITCH: conversation.thinking}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
