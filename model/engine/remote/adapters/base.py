"""The interface of adapters."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import httpx

from longview.model.engine.remote.conversation import Conversation
from longview.model.engine.remote.events import ReplyEvent
from longview.model.engine.remote.facts import ServerFacts
from longview.model.engine.remote.server import Server


class Adapter(Protocol):
    """What is sent to one server, and how its replies are read."""

    server: Server
    facts: ServerFacts

    @property
    def frames_per_timestamp(self) -> int:
        """Number of frames with one timestamp: one where frames are sent as images, two in a video."""
        ...

    @property
    def url(self) -> str:
        """The address of replies."""
        ...

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """Build the body of a request."""
        ...

    def amend(self, conversation: Conversation, body: Mapping[str, Any], message: str) -> Conversation | None:
        """Return what to ask instead of a conversation that was rejected; None if nothing can be changed.

        `body`: what was sent. `message`: what the server says.
        """
        ...

    def accept(self, conversation: Conversation, original: Conversation) -> None:
        """Note that the server has taken a conversation, which stands for the original one."""
        ...

    def read_events(self, response: httpx.Response) -> AsyncIterator[ReplyEvent]:
        """Yield the pieces of a streamed reply."""
        ...
