"""The stream of OpenAI's chat completions, as servers send it: server-sent events with one JSON object each.

Servers differ in how they end a stream and in how they state an error; all their ways are read. Lines without data are comments,
with which some servers keep a connection open.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from longview.model.engine.remote.events import ReplyEvent, as_count, as_list, as_table, as_text
from longview.model.engine.remote.http import describe, read_json
from longview.model.engine.remote.server import Server

END = "[DONE]"
THOUGHT_KEYS = ("reasoning_content", "reasoning")
"""Fields of the thoughts that a server separates from the reply: those of SGLang and llama.cpp, and of vLLM and OpenRouter."""


async def read_events(server: Server, response: httpx.Response) -> AsyncIterator[ReplyEvent]:
    """Yield the pieces of a streamed reply. A line that is not a JSON object has an error, which some servers do not escape."""
    async for line in response.aiter_lines():
        field, _, value = line.partition(":")
        value = value.strip()
        if field != "data" or not value:
            continue
        if value == END:
            return
        data = read_json(value)
        yield parse_event(server, data) if isinstance(data, dict) else ReplyEvent(error=describe(server, value.encode()))


def parse_event(server: Server, data: dict[str, Any]) -> ReplyEvent:
    """Read one object of a stream."""
    if data.get("error") or data.get("object") == "error":
        return ReplyEvent(error=describe(server, json.dumps(data).encode()) or "an error without a message")
    choice = as_table(next(iter(as_list(data.get("choices"))), None))
    delta = as_table(choice.get("delta"))
    finish_reason = choice.get("finish_reason")
    return ReplyEvent(
        text=as_text(delta.get("content")),
        thoughts=next((text for key in THOUGHT_KEYS if (text := as_text(delta.get(key)))), ""),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        prompt_tokens=as_count(as_table(data.get("usage")).get("prompt_tokens")),
    )
