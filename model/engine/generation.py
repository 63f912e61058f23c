"""Greedy decoding: logits -> the tokens of a reply, under a grammar if the reply must be JSON. Repetition ends the reply."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel

from longview.model.engine.grammar import GrammarState

MAX_REPETITION_PERIOD = 64
"""Maximum length of a repeated passage, in tokens."""
MIN_REPETITION_TOKENS = 32
"""Minimum length of a repetition, in tokens. Short repetitions occur in normal replies."""
MIN_REPETITIONS = 4
"""Minimum number of repeats of the same passage."""
RETRY_PRESENCE_PENALTY = 1.5
"""Presence penalty for the second attempt after a repetitive reply, as Qwen recommends (Qwen3-VL model cards). transformers
does not implement it."""
THINK_START, THINK_END = "<think>", "</think>"
MAX_THINKING_TOKENS = 8192
"""Maximum length of the thinking before a reply, in tokens. Thinking is not part of the reply."""

NextLogits = Callable[[torch.Tensor], torch.Tensor]
"""Function that appends token ids (1, n) to the context and returns the logits (vocabulary,) of the next token."""


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of one reply."""

    max_new_tokens: int
    schema: type[BaseModel] | None = None
    """Item type of the JSON list that the reply must be. None: free text."""
    max_thinking_tokens: int = MAX_THINKING_TOKENS
    """Token limit of the thinking, for checkpoints that think first."""
    presence_penalty: float = 0.0
    """Amount subtracted from the logit of every token that the reply already contains."""


def greedy_decode(
    next_logits: NextLogits,
    question_ids: torch.Tensor,
    config: GenerationConfig,
    *,
    end_tokens: frozenset[int],
    grammar: GrammarState | None = None,
    think_end: int | None = None,
) -> Iterator[int]:
    """Yield the greedy tokens of a reply to `question_ids` (1, n).

    The reply ends with an end token, with a repetition (`is_repetitive`), or at `config.max_new_tokens`.

    `think_end`: the token that ends the thinking, for checkpoints whose prompt starts it. Thinking tokens are yielded too, but
    the grammar does not apply to them, and their limit is `config.max_thinking_tokens`.
    """
    reply: list[int] = []
    is_used = torch.zeros(0)
    thinking = think_end is not None
    remaining_tokens = config.max_thinking_tokens if thinking else config.max_new_tokens
    ids = question_ids
    while remaining_tokens > 0:
        logits = next_logits(ids)
        if config.presence_penalty and reply:
            is_used = is_used if len(is_used) else torch.zeros_like(logits, dtype=torch.bool)
            is_used[reply[-1]] = True
            logits = logits - config.presence_penalty * is_used
        if grammar is not None and not thinking:
            logits = grammar.mask_logits(logits)
        token = int(logits.argmax())
        remaining_tokens -= 1
        yield token
        if token in end_tokens:
            return
        reply.append(token)
        if thinking:
            if token == think_end:
                thinking, remaining_tokens, reply, is_used = False, config.max_new_tokens, [], torch.zeros(0)
        elif grammar is not None:
            grammar.accept(token)
        if is_repetitive(reply):
            return
        ids = torch.tensor([[token]], device=question_ids.device)


def is_repetitive(tokens: Sequence[object]) -> bool:
    """Whether a reply ends with several repeats of the same passage."""
    for period in range(1, min(MAX_REPETITION_PERIOD, len(tokens) // MIN_REPETITIONS) + 1):
        length = max(MIN_REPETITIONS * period, MIN_REPETITION_TOKENS)
        # The passage repeats if the tail equals itself one period earlier.
        if len(tokens) >= length and tokens[-length:-period] == tokens[period - length :]:
            return True
    return False
