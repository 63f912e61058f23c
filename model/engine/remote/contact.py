"""First contact with a server: what it publishes, and how it answers short requests.

All is read from what servers publish, and from short requests without frames. Nothing is assumed of a server that does not say
it, but a small context.
"""

import functools
from collections.abc import Mapping
from typing import Any

import httpx

from longview.model.engine.remote.events import as_list, as_table
from longview.model.engine.remote.http import KEY_STATUSES, PROBE_TIMEOUT_S, Document, describe, fetch, key_error
from longview.model.engine.remote.server import Server
from longview.model.errors import InvalidCheckpoint, ServerFailed, ServerUnreachable

MAX_LISTED_MODELS = 12
"""Maximum number of models that a message lists."""


class Contact:
    """What a server publishes. Each document is requested once, when it is needed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._client = httpx.Client(headers=server.headers)
        self._documents: dict[str, Document | None] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return a JSON object that the server publishes at a path below its root; {} if there is none."""
        if path not in self._documents:
            try:
                self._documents[path] = fetch(self._client, self.server, "GET", self.server.root + path)
            except (ServerUnreachable, ServerFailed):
                self._documents[path] = None
        document = self._documents[path]
        return as_table(document.data) if document and document.is_success else {}

    def forget(self, path: str) -> None:
        """Request a document anew when it is needed again."""
        self._documents.pop(path, None)

    def post(self, url: str, body: Mapping[str, Any], *, timeout_s: float = PROBE_TIMEOUT_S) -> Document:
        """Send a short request. `timeout_s`: maximum time until the server answers, in seconds.

        Raises:
            ServerUnreachable: the server does not answer. ServerFailed: the response is too large, or it redirects elsewhere.
        """
        return fetch(self._client, self.server, "POST", url, json=body, timeout_s=timeout_s)

    @functools.cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        """The entries of the list of models by their names; {} if the server lists none.

        Raises:
            ServerUnreachable: there is no server. ServerFailed: it is not a model server, or it refuses the key.
        """
        server = self.server
        document = fetch(self._client, server, "GET", f"{server.url}/models")
        message = describe(server, document.content)
        if document.status in KEY_STATUSES:
            raise key_error(server, message)
        entries = as_list(as_table(document.data).get("data"))
        names = {entry["id"]: entry for entry in entries if isinstance(as_table(entry).get("id"), str)}
        if document.is_success and (names or isinstance(as_table(document.data).get("data"), list)):
            return names
        hint = "" if server.has_version else f" Its API may be at {server.url}/v1: give that address to --server."
        raise ServerFailed(
            f"{server.url} is not the API of a model server: {server.url}/models answers {document.status} "
            f"({message or 'nothing'}).{hint}"
        )

    def model(self) -> dict[str, Any]:
        """Return the entry of the chosen model; {} if the server lists no models.

        Raises:
            InvalidCheckpoint: the server has other models. ServerUnreachable, ServerFailed: see `models`.
        """
        models, name = self.models, self.server.model
        # Ollama lists a model without a tag by the tag that it stands for.
        if models and name not in models and f"{name}:latest" not in models:
            model_names = sorted(models)[:MAX_LISTED_MODELS]
            more = f" and {len(models) - len(model_names)} more" if len(models) > len(model_names) else ""
            raise InvalidCheckpoint(
                f"The server at {self.server.url} has no model {name}; it has {', '.join(model_names)}{more}. Name one of these."
            )
        return models.get(name, {})
