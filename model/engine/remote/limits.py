"""The limits of a served model: its context, its largest video and its images, lowered where the server turns out to take less.

A gateway may hide how much the model behind it takes, and a server may spend more tokens on a frame than its family usually does.
Both are found out by a request that is too long. Longview plans with what the server then says.
"""

import logging
import re
import threading
from dataclasses import dataclass, replace

from longview.model.engine.remote.facts import ServerFacts
from longview.model.engine.remote.server import Server
from longview.model.errors import PromptTooLong
from longview.video.sampling_plan import TrainedRange

log = logging.getLogger(__name__)

BACKOFF = 0.75
"""Limit of later prompts, as a share of the one planned with, where a server does not say how much it takes."""
RATIO_MARGIN = 1.02
"""Factor of a measured ratio, because larger and smaller frames may differ a little in it."""
MIN_STATED_TOKENS = 256
"""Minimum number in the message of a server that is read as its limit."""
MAX_PHRASE_DISTANCE = 60
"""Maximum number of characters between the name of a limit and its number."""
_NUMBER = re.compile(r"(?<![\w.-])(?<!by )(\d[\d,]{0,15})(?=\s{0,9}+(?:tokens|[)\]]|(?:\.\s{0,9}+)?$)|\.\s|,\s)")
_CONTEXT = (
    r"context[ _](?:length|size|window)|maximum model length|max_model_len|maximum number of tokens allowed|model token limit|"
    r"range of input length|max_new_tokens` must be"
)
"""How servers name their context: "maximum context length is 4096 tokens" (vLLM, OpenAI, OpenRouter), "model's context length
(4096 tokens)" (SGLang), "available context size (4096 tokens)" (llama.cpp, Ollama), "context length of only 4096" (LM Studio),
"maximum number of tokens allowed (4096)" (Gemini), "model token limit: 4096" (Kimi), "Range of input length should be [1, 4096]"
(DashScope), "`inputs` tokens + `max_new_tokens` must be <= 4096" (TGI)."""
_BEFORE_CONTEXT = re.compile(r"(?<!\d)(\d[\d,]{0,15}+) maximum context length", re.IGNORECASE)
"""How Mistral states it: "too large for model with 4096 maximum context length"."""
_CONTEXT_NAME = re.compile(_CONTEXT, re.IGNORECASE)
_ENCODER_CACHE = "encoder cache"
_ENCODER_CACHE_NAME = re.compile(_ENCODER_CACHE, re.IGNORECASE)
_TOO_LONG = re.compile(
    rf"{_CONTEXT}|{_ENCODER_CACHE}|(?:prompt|input) (?:is )?too long|too many (?:input )?tokens|"
    r"exceed\w{0,9}+ .{0,200}context",
    re.IGNORECASE,
)
_IMAGES = re.compile(r"at most (\d{1,9}) image", re.IGNORECASE)
"""How vLLM states its `--limit-mm-per-prompt`: "At most 4 image(s) may be provided in one prompt"."""


@dataclass(frozen=True)
class PlannedWith:
    """The limits that a request was planned with. Another request may have lowered them meanwhile."""

    context_tokens: int
    trained_range: TrainedRange


class PromptLimits:
    """What the prompts for a served model stay within. Safe for several threads."""

    def __init__(self, server: Server, facts: ServerFacts, context_tokens: int, trained_range: TrainedRange) -> None:
        self._server, self._setting = server, facts.context_setting
        self._lock = threading.Lock()
        self.context_tokens = context_tokens
        """Maximum length of prompt and reply, in tokens of the server."""
        self.trained_range = trained_range
        self.frame_ratio = 1.0
        """Ratio of the tokens of frames on this server to those of Qwen3-VL, with which plans count."""

    @property
    def present(self) -> PlannedWith:
        """The limits now."""
        return PlannedWith(self.context_tokens, self.trained_range)

    def overflow(self, message: str, planned: PlannedWith) -> PromptTooLong | None:
        """Lower the limits after a rejection; return the error to raise. None: the message is about something else.

        `planned`: the limits with which the rejected request was planned.
        """
        images = _IMAGES.search(message)
        if not (images or _TOO_LONG.search(message)):
            return None
        with self._lock:
            if images:
                max_images = min(self.trained_range.max_patches, max(1, int(images[1])))
                self.trained_range = replace(self.trained_range, max_patches=max_images)
                what = f"{max_images} images"
            elif _ENCODER_CACHE in message.lower():
                stated_tokens = _lower_limit(planned.trained_range.max_visual_tokens, message, _ENCODER_CACHE_NAME)
                tokens = min(self.trained_range.max_visual_tokens, stated_tokens)
                self.trained_range = replace(self.trained_range, max_visual_tokens=tokens)
                what = f"{tokens:,} tokens in one video"
            else:
                stated_tokens = _lower_limit(planned.context_tokens, message, _CONTEXT_NAME)
                self.context_tokens = min(self.context_tokens, stated_tokens)
                what = f"{self.context_tokens:,} tokens; to use more, change {self._setting}"
        return PromptTooLong(
            f"The prompt was too long for the server at {self._server.url} ({message}). Longview now plans with at most {what}."
        )

    def overestimate(self, frame_tokens: int, planned_tokens: int) -> PromptTooLong:
        """Note that frames take more tokens than was planned; return the error to raise."""
        with self._lock:
            self.frame_ratio = max(self.frame_ratio, RATIO_MARGIN * frame_tokens / planned_tokens)
        return PromptTooLong(
            f"The frames would take {frame_tokens:,} tokens on the server at {self._server.url} instead of {planned_tokens:,}, "
            f"which is too much for its context of {self.context_tokens:,}. Longview now plans fewer; to use more, change "
            f"{self._setting}."
        )


def _lower_limit(tokens: int, message: str, name: re.Pattern[str]) -> int:
    """Return the limit that a server states; less than the one planned with in any case, or it would be exceeded again.

    `name`: pattern of the name of the limit.
    """
    numbers = [match[1] for match in _BEFORE_CONTEXT.finditer(message)] if name is _CONTEXT_NAME else []
    for match in name.finditer(message):
        # A number that the distance would cut is longer than any.
        numbers += _NUMBER.findall(message[match.end() : match.end() + MAX_PHRASE_DISTANCE])
    limits = [int(number.replace(",", "")) for number in numbers]
    return next((limit for limit in limits if MIN_STATED_TOKENS <= limit < tokens), int(tokens * BACKOFF))
