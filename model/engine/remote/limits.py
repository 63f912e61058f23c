"""The limits of a served model: its context, its largest video and its images, lowered where the server turns out to take less.

A gateway may hide how much the model behind it takes, and a server may spend more tokens on a frame than its family usually does.
Both are found out by a request that is too long. Longview plans with what the server then says.
"""

import logging
import re
import threading
from dataclasses import replace

from longview.model.engine.remote.facts import ServerFacts
from longview.model.engine.remote.server import Server
from longview.model.errors import PromptTooLong
from longview.video.sampler import TrainedRange

log = logging.getLogger(__name__)

BACKOFF = 0.75
"""Limit of later prompts, as a share of the present limit, where a server does not say how much it takes."""
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum model length|max_model_len|encoder cache|prompt is too long|input is too long|"
    r"too many (?:input )?tokens|exceed\w* .*context",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"(?:context[ _](?:length|size|window)|maximum model length)\D{0,40}?(\d[\d,]*)", re.IGNORECASE)
"""How servers state their context: "maximum context length is 4096 tokens" (vLLM, OpenAI, OpenRouter), "model's context length
(4096 tokens)" (SGLang), "available context size (4096 tokens)" (llama.cpp, Ollama), "context length of only 4096" (LM Studio)."""
_IMAGES = re.compile(r"at most (\d+) image", re.IGNORECASE)
"""How vLLM states its `--limit-mm-per-prompt`: "At most 4 image(s) may be provided in one prompt"."""
_VIDEO = re.compile(r"encoder cache size\D{0,40}?(\d[\d,]*)", re.IGNORECASE)


class PromptLimits:
    """What the plans for a served model stay within. Safe for several threads."""

    def __init__(self, server: Server, facts: ServerFacts, context_tokens: int, trained_range: TrainedRange) -> None:
        self._server, self._setting = server, facts.context_setting
        self._lock = threading.Lock()
        self.context_tokens = context_tokens
        """Maximum length of prompt and reply, in tokens."""
        self.trained_range = trained_range

    def overflow(self, message: str) -> PromptTooLong | None:
        """Lower the limits after a rejection; return the error to raise. None: the message is about something else."""
        images = _IMAGES.search(message)
        if not (images or _TOO_LONG.search(message)):
            return None
        with self._lock:
            if images:
                max_images = _lowered(self.trained_range.max_patches, images)
                self.trained_range = replace(self.trained_range, max_patches=max_images)
                what = f"{max_images} images"
            elif "encoder cache" in message.lower():
                tokens = _lowered(self.trained_range.max_visual_tokens, _VIDEO.search(message))
                self.trained_range = replace(self.trained_range, max_visual_tokens=tokens)
                what = f"{tokens:,} tokens in one video"
            else:
                self.context_tokens = _lowered(self.context_tokens, _CONTEXT.search(message))
                what = f"{self.context_tokens:,} tokens, for more of which {self._setting} has to be changed"
        return PromptTooLong(
            f"The prompt was too long for the server at {self._server.url} ({self._server.redacted(message)}). Longview now "
            f"plans with at most {what}. Ask again."
        )

    def overestimated(self, tokens: int) -> PromptTooLong:
        """Lower the context because a planned prompt has `tokens` tokens on this server; return the error to raise."""
        with self._lock:
            planned = self.context_tokens
            self.context_tokens = int(self.context_tokens * min(BACKOFF, planned / tokens))
        return PromptTooLong(
            f"The frames would take {tokens:,} tokens on the server at {self._server.url}, more than its context of {planned:,}. "
            f"Longview now plans smaller. For more frames, change {self._setting}. Ask again."
        )


def _lowered(tokens: int, stated: re.Match[str] | None) -> int:
    """Return the limit that a server states; less than the present one in any case, or it would be exceeded again."""
    limit = int(stated[1].replace(",", "")) if stated else tokens
    return limit if 0 < limit < tokens else int(tokens * BACKOFF)
