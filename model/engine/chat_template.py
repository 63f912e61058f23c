"""The chat template of a checkpoint, split at the video and at the question.

The video comes first in the prompt and the question last, so everything up to the end of the video is one prefix for every
question. Token ids of the prefix are prefilled once, then those of a context that several questions share, then those of a
question. Each part is tokenised alone, and together they are the ids of the whole prompt.
"""

import re
from collections.abc import Sequence
from typing import Any

from longview.model.engine.base import ChatTurn
from longview.model.engine.generation.thoughts import THINK_END, THINK_START, opens_thoughts
from longview.model.errors import InvalidCheckpoint

CONTEXT_END = "\n\n"
"""End of a context. A tokenizer that splits words from white space joins a line break with what precedes it. A text that begins
with another character therefore keeps its tokens."""
_SPECIAL_TOKEN = re.compile(rf"<\|.{{0,100}}?\|>|{THINK_START}|{THINK_END}")
"""A special token, or a tag of thoughts. The longest special tokens have 30 characters."""
QUESTION_PLACEHOLDER = "QUESTION-GOES-HERE"
THINKING_SWITCH = "enable_thinking"
"""Name of the variable with which templates of Qwen3.5 and later switch thinking on and off."""


class ChatTemplate:
    """The texts around the video and the question, as transformers' processor renders them."""

    def __init__(self, processor: Any, checkpoint_name: str) -> None:
        """Render the template once, or once with and without thinking, and find the places of the video and the question.

        Raises:
            InvalidCheckpoint: the template does not put the question after the video.
        """
        self._processor = processor
        # transformers warns of a variable that the template does not name.
        self._names_switch = THINKING_SWITCH in str(processor.chat_template)
        video, self._around_question = self._split(thinking=False)
        before_video, video_token, after_video = video.partition(processor.video_token)
        if not video_token:
            raise InvalidCheckpoint(f"The chat template of {checkpoint_name} does not put the question after the video.")
        self.before_video = before_video
        self.after_video = after_video
        self.prefix = before_video + processor.video_token + after_video
        """Everything up to the end of the video, with one video token. It is the same with and without thinking."""
        video, self._around_thinking_question = self._split(thinking=True)
        self.has_thinking_switch = video == self.prefix and self._around_thinking_question != self._around_question
        """Whether a question can switch thinking on, behind the same prefix."""

    @property
    def before_text(self) -> str:
        """The text before a prompt without a video."""
        return self.before_video.removesuffix(self._processor.vision_start_token)

    @property
    def always_thinks(self) -> bool:
        """Whether each prompt opens the thoughts, also those that do not ask for them."""
        return self.begins_thinking(thinking=False)

    def begins_thinking(self, history: Sequence[ChatTurn] = (), *, thinking: bool) -> bool:
        """Whether a prompt ends by opening the thoughts of the checkpoint. `thinking`: see `after_context`."""
        return opens_thoughts(self.after_context(QUESTION_PLACEHOLDER, history, thinking=thinking))

    def after_context(self, question: str, history: Sequence[ChatTurn] = (), *, thinking: bool = False) -> str:
        """Return the text that follows video and context: earlier turns, the question, and the template up to the reply.

        `thinking`: the reply begins with thoughts, where the template has a switch for them.
        """
        thinking = thinking and self.has_thinking_switch
        if history:
            return self._render(question, history, thinking=thinking).removeprefix(self.prefix)
        before_question, after_question = self._around_thinking_question if thinking else self._around_question
        return before_question + _question_text(question) + after_question

    def _split(self, *, thinking: bool) -> tuple[str, tuple[str, str]]:
        """Return the template up to the end of the video, and the texts before and after the question; "" for what is absent."""
        video, end, rest = self._render(QUESTION_PLACEHOLDER, thinking=thinking).rpartition(self._processor.vision_end_token)
        before_question, question, after_question = rest.partition(QUESTION_PLACEHOLDER)
        return (video + end if question else "", (before_question, after_question))

    def _render(self, question: str, history: Sequence[ChatTurn] = (), *, thinking: bool) -> str:
        messages: list[dict[str, Any]] = []
        for turn in history:
            messages.append({"role": "user", "content": [{"type": "text", "text": _question_text(turn.question)}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _strip_special_tokens(turn.answer)}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": _question_text(question)}]})
        messages[0]["content"].insert(0, {"type": "video"})
        switch = {THINKING_SWITCH: thinking} if self._names_switch else {}
        text: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **switch)
        return text


def clean_context(context: str) -> str:
    """Return a context without special tokens, with the end that keeps the tokens of the question; "" without a context."""
    context = _strip_special_tokens(context).strip()
    return context + CONTEXT_END if context else ""


def _question_text(question: str) -> str:
    """Return a question without white space before it, which would join the line break at the end of a context."""
    return _strip_special_tokens(question).lstrip()


def _strip_special_tokens(text: str) -> str:
    """Remove special tokens, so that a text can neither end its turn, nor begin a video, nor open or end thoughts."""
    return _SPECIAL_TOKEN.sub(" ", text)
