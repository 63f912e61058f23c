"""The chat template of a checkpoint, split at the video and at the question.

The video comes first in the prompt and the question last, so everything up to the end of the video is one prefix for every
question. Token ids of the prefix are prefilled once, then those of a context that several questions share, then those of a
question. Each part is tokenised alone, and together they are the ids of the whole prompt.
"""

import re
from collections.abc import Sequence
from typing import Any

from longview.model.engine.base import ChatTurn
from longview.model.errors import InvalidCheckpoint

CONTEXT_END = "\n\n"
"""End of a context. A tokenizer that splits words from white space joins a line break with what precedes it. A text that begins
with another character therefore keeps its tokens."""
QUESTION_PLACEHOLDER = "QUESTION-GOES-HERE"
THINK_BEGIN = "<think>"


class ChatTemplate:
    """The texts around the video and the question, as transformers' processor renders them."""

    def __init__(self, processor: Any, checkpoint_name: str) -> None:
        """Render the template once and find the places of the video and the question.

        Raises:
            InvalidCheckpoint: the template does not put the question after the video.
        """
        self._processor = processor
        video, end, rest = self._render(QUESTION_PLACEHOLDER).rpartition(processor.vision_end_token)
        before_video, video_token, after_video = (video + end).partition(processor.video_token)
        before_question, question, after_question = rest.partition(QUESTION_PLACEHOLDER)
        if not (end and question and video_token):
            raise InvalidCheckpoint(f"The chat template of {checkpoint_name} does not put the question after the video.")
        self.before_video = before_video
        self.after_video = after_video
        self.prefix = before_video + processor.video_token + after_video
        """Everything up to the end of the video, with one video token."""
        self._before_question, self._after_question = before_question, after_question

    @property
    def before_text(self) -> str:
        """The text before a prompt without a video."""
        return self.before_video.removesuffix(self._processor.vision_start_token)

    @property
    def begins_thinking(self) -> bool:
        """Whether the prompt ends by opening the checkpoint's thoughts."""
        return self._after_question.rstrip().endswith(THINK_BEGIN)

    def after_context(self, question: str, history: Sequence[ChatTurn] = ()) -> str:
        """Return the text that follows video and context: earlier turns, the question, and the template up to the reply."""
        if history:
            return self._render(question, history).removeprefix(self.prefix)
        return self._before_question + _question_text(question) + self._after_question

    def _render(self, question: str, history: Sequence[ChatTurn] = ()) -> str:
        messages: list[dict[str, Any]] = []
        for turn in history:
            messages.append({"role": "user", "content": [{"type": "text", "text": _question_text(turn.question)}]})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": _strip_special_tokens(turn.answer)}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": _question_text(question)}]})
        messages[0]["content"].insert(0, {"type": "video"})
        text: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text


def clean_context(context: str) -> str:
    """Return a context without special tokens, with the end that keeps the tokens of the question; "" without a context."""
    context = _strip_special_tokens(context).strip()
    return context + CONTEXT_END if context else ""


def _question_text(question: str) -> str:
    """Return a question without white space before it, which would join the line break at the end of a context."""
    return _strip_special_tokens(question).lstrip()


def _strip_special_tokens(text: str) -> str:
    """Remove special tokens, so that a text can neither end its turn nor begin a video."""
    return re.sub(r"<\|.*?\|>", " ", text)
