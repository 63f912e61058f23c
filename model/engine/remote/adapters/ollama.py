"""The adapter of Ollama by its native API.

The API that Ollama shares with others cuts a prompt that is longer than its context, without saying so, and makes each part of
a message a turn of its own. The native one takes one message with all images, whose places the text marks by `[img]`, and can
refuse to cut (`truncate`, `shift`; Ollama's docs/api.md).
"""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import httpx

from longview.model.engine.remote.contact import Contact
from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.events import ReplyEvent, as_count, as_list, as_name, as_table, as_text
from longview.model.engine.remote.facts import ServerFacts, parse_version
from longview.model.engine.remote.http import describe, read_json
from longview.model.engine.remote.server import Server
from longview.model.errors import ServerFailed, ServerUnreachable

log = logging.getLogger(__name__)

IMAGE_PLACE = "[img]"
"""Mark of the place of an image in the text of a message."""
KEPT_FOR = "30m"
"""Time for which Ollama keeps a model loaded after a reply, instead of five minutes."""
FIRST_WITH_PLACES = (0, 23, 4)
"""First version that puts the images of Qwen's models at their places in the text (model/renderers/image_tags.go)."""
MISCOUNTING_VERSIONS = ("0.30.0",)
"""Versions that do not count the tokens of a prompt that are in their prefix cache."""


class OllamaAdapter:
    """See `OpenAIAdapter`."""

    frames_per_timestamp: ClassVar[int] = 1

    def __init__(self, server: Server, facts: ServerFacts) -> None:
        self.server, self.facts = server, facts

    @classmethod
    def recognize(cls, contact: Contact, _: dict[str, Any]) -> ServerFacts | None:
        """See `OpenAIAdapter.recognize`. A model that is not loaded is loaded, because only then its context is known."""
        name = contact.server.model
        version = as_name(contact.get("/api/version").get("version"))
        # llama.cpp and SGLang imitate this list, without digests.
        tag = _find(contact.get("/api/tags"), name)
        if version is None or not tag.get("digest"):
            return None
        context_tokens = contact.server.context_tokens or as_count(_find(contact.get("/api/ps"), name).get("context_length"))
        if context_tokens is None:
            context_tokens = _load(contact)
        capabilities = tag.get("capabilities")
        problems = []
        if version in MISCOUNTING_VERSIONS:
            problems.append(f"Ollama {version} miscounts prompts; install a newer version.")
        if () < parse_version(version) < FIRST_WITH_PLACES:
            problems.append(f"Ollama {version} puts all images before the timestamps; install 0.23.4 or a newer version.")
        return ServerFacts(
            "Ollama",
            version=version,
            fingerprint=as_name(tag.get("digest")) or "",
            context_tokens=context_tokens,
            takes_images="vision" in capabilities if isinstance(capabilities, list) else None,
            has_json_schema=True,
            has_thinking_switch="thinking" in as_list(capabilities),
            keeps_prefix=True,
            context_setting="OLLAMA_CONTEXT_LENGTH of ollama serve, or LONGVIEW_CONTEXT_TOKENS",
            problems=tuple(problems),
        )

    @property
    def url(self) -> str:
        """The address of replies."""
        return f"{self.server.root}/api/chat"

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """Build the body of a request."""
        options: dict[str, Any] = {"num_predict": conversation.max_tokens}
        if self.server.context_tokens:
            # Another number than that of the last request would load the model again.
            options["num_ctx"] = self.server.context_tokens
        if not conversation.thinking:
            options["temperature"] = 0.0
        if conversation.presence_penalty:
            options["presence_penalty"] = conversation.presence_penalty
        body: dict[str, Any] = {
            "model": self.server.model,
            "messages": _messages(conversation),
            "stream": True,
            "truncate": False,
            "shift": False,
            "keep_alive": KEPT_FOR,
            "options": options,
        }
        if self.facts.has_thinking_switch:
            body["think"] = conversation.thinking
        if (schema := conversation.json_schema) is not None:
            body["format"] = schema
        return body

    def amend(self, conversation: Conversation, body: Mapping[str, Any], message: str) -> Conversation | None:  # noqa: ARG002
        """Return None: nothing can be changed."""
        return None

    def accept(self, conversation: Conversation, original: Conversation) -> None:
        """Do nothing: each request has its images."""

    async def read_events(self, response: httpx.Response) -> AsyncIterator[ReplyEvent]:
        """Yield the pieces of a streamed reply, of which each line is a JSON object."""
        async for line in response.aiter_lines():
            if not line.strip():
                continue
            data = as_table(read_json(line))
            if data.get("error") or not data:
                yield ReplyEvent(error=describe(self.server, line.encode()) or "an error without a message")
                return
            message = as_table(data.get("message"))
            is_done = data.get("done") is True
            yield ReplyEvent(
                text=as_text(message.get("content")),
                thoughts=as_text(message.get("thinking")),
                finish_reason=(as_name(data.get("done_reason")) or "stop") if is_done else None,
                prompt_tokens=as_count(data.get("prompt_eval_count")),
            )


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Build the turns. Images and text of the first one are a single message, in which the text marks their places."""
    frames = "".join(f"{image.timestamp}{IMAGE_PLACE}" for image in conversation.images)
    # A mark in the text of others would move all images.
    prefix = frames + _without_marks(conversation.context)
    texts = [text for turn in conversation.history for text in (turn.question, turn.answer)] + [conversation.question]
    messages: list[dict[str, Any]] = [
        {"role": "assistant" if number % 2 else "user", "content": _without_marks(text)} for number, text in enumerate(texts)
    ]
    messages[0]["content"] = "\n".join(filter(None, (prefix, messages[0]["content"])))
    if conversation.images:
        messages[0]["images"] = [image.data for image in conversation.images]
    return messages


def _without_marks(text: str) -> str:
    return text.replace(IMAGE_PLACE, "(img)")


def _find(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the entry of a model in a list of Ollama; {} without one. A name without a tag means `latest`."""
    names = {name, f"{name}:latest"}
    return next((model for model in map(as_table, as_list(document.get("models"))) if model.get("name") in names), {})


def _load(contact: Contact) -> int | None:
    """Load the model, and return the context length with which Ollama has loaded it."""
    log.info("Ollama loads %s.", contact.server.model)
    body = {"model": contact.server.model, "keep_alive": KEPT_FOR, "stream": False}
    try:
        contact.post(f"{contact.server.root}/api/generate", body, timeout_s=contact.server.max_silence_s)
    except (ServerUnreachable, ServerFailed) as error:
        log.info("Ollama did not load it: %s", error)
        return None
    contact.forget("/api/ps")
    return as_count(_find(contact.get("/api/ps"), contact.server.model).get("context_length"))
