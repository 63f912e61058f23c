"""The address of a model on a server, and the limits of what it may send."""

import functools
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from longview.model.engine.checkpoints.checkpoints import SERVED, Checkpoint, find_checkpoint
from longview.model.engine.checkpoints.profiles import find_profile_by_name, read_named_profile
from longview.model.errors import ServerUnreachable

MAX_SILENCE_S = 300.0
"""Default of the maximum time without a token, in seconds. A large model prefills a video of two hours for minutes."""
NO_KEY = "none"
_VERSION = re.compile(r"/v\d++$")


@dataclass(frozen=True)
class Server:
    """The address of a model on a server."""

    url: str
    """`http://host:8000/v1`."""
    model: str
    """Name of the model on the server."""
    key: str = field(default=NO_KEY, repr=False)
    """The API key. It is sent to the server alone, and is in no message."""
    context_tokens: int | None = None
    """Context length that the user sets by hand; None: as the server publishes it."""
    max_silence_s: float = MAX_SILENCE_S
    """Maximum time without a token, in seconds."""
    max_video_tokens: int | None = None
    """Maximum number of tokens of one video that the user sets by hand; None: as the server takes by default."""
    profile: str | None = None
    """Name of the profile that the user sets by hand: a file of `model/profiles/`, or `demo`; None: as the model's name says."""

    def __post_init__(self) -> None:
        """Check the address.

        Raises:
            ServerUnreachable: it is not an http(s) address.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerUnreachable(f"{self.url!r} is not the address of a server; give it as http://host:8000/v1.")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def root(self) -> str:
        """The address without the version of the API: `http://host:8000`."""
        return _VERSION.sub("", self.url)

    @property
    def has_version(self) -> bool:
        """Whether the address ends with the version of the API, as that of most servers."""
        return self.root != self.url

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each request. Compressed replies are refused, because their size is not known."""
        authorization = {} if self.key == NO_KEY else {"Authorization": f"Bearer {self.key}"}
        return {"Accept-Encoding": "identity", "User-Agent": "longview", **authorization}

    def redact(self, text: str) -> str:
        """Return a text of the server without the key, which some servers repeat."""
        return text if self.key == NO_KEY else text.replace(self.key, "[key]")

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as far as it is known without a request to the server.

        Raises:
            InvalidProfile: there is no such profile.
        """
        if (self.profile or self.model) == "demo":
            bundled = find_checkpoint("demo")
            return replace(bundled, name=self.model, folder=Path(), fingerprint=SERVED, kv_bytes_per_token=0, weight_bytes=0)
        profile = find_profile_by_name(self.model) if self.profile is None else read_named_profile(self.profile)
        return Checkpoint(
            name=self.model,
            folder=Path(),
            fingerprint=SERVED,
            profile=profile,
            trained_range=profile.trained_range,
            kv_bytes_per_token=0,
            weight_bytes=0,
            max_context_tokens=self.context_tokens or profile.trained_range.max_visual_tokens,
        )
