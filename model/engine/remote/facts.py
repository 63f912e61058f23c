"""What is known about a server after the first contact: which software it is, and what it takes."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,9})")
SAFE_CONTEXT_TOKENS = 8192
"""Context length that is assumed of a server that does not publish it, and for which none was set, in tokens."""


def parse_version(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a version such as `0.32.0rc1+cpu`; () where it is not known."""
    match = _VERSION.match(text or "")
    return tuple(int(number) for number in match[1].split(".")) if match else ()


@dataclass(frozen=True)
class Price:
    """The price of a hosted model, in US dollars a token."""

    prompt_usd: float
    reply_usd: float


@dataclass(frozen=True)
class ServerFacts:
    """What a server publishes, and what short requests showed."""

    software: str
    """Name of the server software, such as `vLLM`."""
    version: str | None = None
    fingerprint: str = ""
    """What identifies the weights, as far as the server publishes it: it changes when another model is served under this name."""
    context_tokens: int | None = None
    """Context length in force; None: the server does not publish it."""
    takes_images: bool | None = None
    """Whether the model sees images; None: the server does not publish it."""
    takes_video: bool = False
    """Whether frames are sent as one video with their own times."""
    max_images: int | None = None
    """Maximum number of images of a request; None: no limit is known."""
    max_video_tokens: int | None = None
    """Maximum number of tokens of one video; None: no limit is known."""
    has_json_schema: bool | None = None
    """Whether replies can be constrained to a JSON schema; None: it is tried."""
    has_thinking_switch: bool = False
    """Whether a request can switch the model's thoughts on and off."""
    keeps_prefix: bool = False
    """Whether the server keeps the prefix of a prompt for the next one, so that it is neither computed nor paid again."""
    keeps_media: bool = False
    """Whether frames that the server still has can be named instead of sent."""
    reports_tokens_first: bool = False
    """Whether the server reports the tokens of the prompt with the first piece of a reply, and not with the last."""
    price: Price | None = None
    """None: the server publishes none, or asks none."""
    context_setting: str = "its context length"
    """What has to be changed for a longer context."""
    notes: tuple[str, ...] = ()
    """Sentences: what is limited, and what lifts the limit."""
    warnings: tuple[str, ...] = ()
    """Sentences that every user of this server must see."""
    problems: tuple[str, ...] = ()
    """Sentences: what would not work."""
