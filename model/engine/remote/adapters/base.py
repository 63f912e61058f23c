"""The interface of adapters."""

from collections.abc import AsyncIterator
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
    def frames_per_unit(self) -> int:
        """Number of frames with one timestamp: one where frames are sent as images, two in a video."""
        ...

    @property
    def url(self) -> str:
        """The address of replies."""
        ...

    def body(self, conversation: Conversation) -> dict[str, Any]:
        """Build the body of a request."""
        ...

    def amend(self, conversation: Conversation, message: str) -> bool:
        """Change what is sent after a rejection with this message. Return whether to send the request once more."""
        ...

    def accept(self, conversation: Conversation) -> None:
        """Note that the server has taken the frames of a request."""
        ...

    def read_events(self, response: httpx.Response) -> AsyncIterator[ReplyEvent]:
        """Yield the pieces of a streamed reply."""
        ...
