"""The thoughts of a checkpoint: where they end, and how a streamed reply is split into thoughts and reply.

A checkpoint thinks before it replies. Its prompt opens the thoughts with a tag, or the reply itself begins with that tag. Another
tag ends them. Thoughts are shown to a person on request only. They are no part of a reply, a caption or a search.
"""

import re
from dataclasses import dataclass
from typing import Any

THINK_START, THINK_END = "<think>", "</think>"
_TAG = re.compile(f"{THINK_START}|{THINK_END}")
EARLY_END = (
    "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now."
    f"\n{THINK_END}\n\n"
)
"""The text that ends thoughts whose budget is used up. Qwen's checkpoints reply well after it (Qwen documentation, Quickstart,
"Thinking Budget"; Qwen3 technical report, section 4.4)."""
MAX_THINKING_TOKENS = 8192
"""Default of the maximum length of the thoughts before a reply, in tokens. Thoughts are not part of the reply."""
MAX_TOKENS_PER_WORD = 2
"""Maximum length of that text, in tokens per word. A tokenizer that needs more does not know its words, and the checkpoint was
not trained on them."""


@dataclass(frozen=True)
class ThinkingBudget:
    """How long a checkpoint may think before a reply, and whether sessions have room for it."""

    is_reserved: bool = False
    """Whether sessions have room for the thoughts of questions that ask for them. Where a checkpoint that runs here always
    thinks, they have it anyway."""
    max_tokens: int = MAX_THINKING_TOKENS
    """Maximum length of the thoughts before one reply, in tokens."""


DEFAULT_THINKING_BUDGET = ThinkingBudget()


@dataclass(frozen=True)
class ThoughtEnd:
    """The tokens that end the thoughts of one checkpoint."""

    token: int
    """The token of the tag."""
    forced_tokens: tuple[int, ...]
    """The tokens that are fed in place of more thoughts, with the tag among them."""


def thought_end_of(tokenizer: Any) -> ThoughtEnd | None:
    """Return the tokens that end the thoughts; None for a tokenizer without a token for the tag."""
    tag: list[int] = tokenizer.encode(THINK_END, add_special_tokens=False)
    if len(tag) != 1:
        return None
    text: list[int] = tokenizer.encode(EARLY_END, add_special_tokens=False)
    is_known = len(text) <= MAX_TOKENS_PER_WORD * len(EARLY_END.split()) and text.count(tag[0]) == 1
    return ThoughtEnd(tag[0], tuple(text if is_known else tag))


def thought_tags_of(tokenizer: Any) -> dict[int, str]:
    """Return the tags of the thoughts by their tokens, without those that the tokenizer splits into several tokens."""
    ids = {tag: tokenizer.encode(tag, add_special_tokens=False) for tag in (THINK_START, THINK_END)}
    return {tokens[0]: tag for tag, tokens in ids.items() if len(tokens) == 1}


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt ends by opening the thoughts. One that opens and ends them leaves no place for thoughts."""
    return prompt.rstrip().endswith(THINK_START)


class ThoughtSplitter:
    """The thoughts and the reply of a text that arrives piece by piece.

    If only the tag that ends the thoughts is in the text, what precedes it was considered the reply, and `text` begins anew. If
    there are several such tags, the last one counts.
    """

    def __init__(self, *, begins_with_thoughts: bool) -> None:
        """`begins_with_thoughts`: whether the prompt has opened the thoughts."""
        self.thoughts = ""
        """The thoughts so far, without tags."""
        self.text = ""
        """The reply so far."""
        self._is_thinking = begins_with_thoughts
        self._pending = ""
        """Text that may be thoughts or the reply: the beginning of the reply, or all of open thoughts."""
        self._has_begun = False
        """Whether the reply has begun with other text than white space or a tag."""
        self._has_thoughts = False
        """Whether thoughts have ended. The white space between them and the reply belongs to neither."""

    def add(self, piece: str) -> str:
        """Add a piece of the text; return what it adds to the reply."""
        if self._has_begun:
            return self._add_to_reply(piece)
        self._pending += piece
        if self._has_thoughts:
            self._pending = self._pending.lstrip()
        if THINK_END in self._pending:
            thoughts, _, reply = self._pending.rpartition(THINK_END)
            self._end_thoughts(thoughts, reply)
        elif self._is_thinking:
            return ""
        elif self._pending.lstrip().startswith(THINK_START):
            self._is_thinking = True
            return ""
        if THINK_START.startswith(self._pending.lstrip()[: len(THINK_START)]):
            # The reply is empty so far, or the tag may still be incomplete.
            return ""
        return self._begin_reply()

    def finish(self, *, is_complete: bool) -> str:
        """End the text; return what is still missing of the reply.

        `is_complete`: the checkpoint ended the text itself. Thoughts without an end are then the reply, because some checkpoints
        write the first tag alone before each reply. Otherwise they are thoughts.
        """
        if self._has_begun:
            return ""
        if not self._is_thinking:
            return self._begin_reply()
        if is_complete:
            self._pending = self._pending.lstrip().removeprefix(THINK_START).lstrip()
            return self._begin_reply()
        self._end_thoughts(self._pending, "")
        return ""

    def _begin_reply(self) -> str:
        self._has_begun, self.text = bool(self._pending), self._pending
        return self._pending

    def _add_to_reply(self, piece: str) -> str:
        self.text += piece
        # The tag may have begun in an earlier piece.
        if THINK_END not in self.text[-len(piece) - len(THINK_END) :]:
            return piece
        thoughts, _, reply = self.text.rpartition(THINK_END)
        self.text, self._has_begun = "", False
        self._end_thoughts(thoughts, reply)
        return self.add("")

    def _end_thoughts(self, thoughts: str, reply: str) -> None:
        parts = [self.thoughts, *(part.strip() for part in _TAG.split(thoughts))]
        self.thoughts = "\n\n".join(filter(None, parts))
        self._is_thinking, self._has_thoughts, self._pending = False, True, reply.lstrip()
