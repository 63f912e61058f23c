"""From logits to a reply: greedy tokens, under a grammar where the reply must be JSON, stopped when they go round in circles."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel

from longview.model.engine.grammar import GrammarState

MAX_REPETITION_PERIOD = 64
"""Tokens: longer passages that repeat are caught when their parts do."""
MIN_REPETITION_TOKENS = 32
"""So many tokens of mere repetition, and at least `LOOP_REPEATS`, are a loop."""
MIN_REPETITIONS = 4
RETRY_PRESENCE_PENALTY = 1.5
"""Presence penalty with which a reply that went in circles is tried once more; what Qwen advises against repetition
(Qwen3-VL model cards). transformers has none."""
THINK_END = "</think>"
MAX_THINKING_TOKENS = 8192
"""Room to think before a reply under a grammar; what a checkpoint thinks is not part of its reply."""

NextLogits = Callable[[torch.Tensor], torch.Tensor]
"""Appends token ids (1, n) to the context; returns the logits (vocabulary,) of the token after them."""


@dataclass(frozen=True)
class GenerationConfig:
    """How a reply may run."""

    max_new_tokens: int
    schema: type[BaseModel] | None = None
    """The reply is a JSON list of these; None: free text."""
    max_thinking_tokens: int = MAX_THINKING_TOKENS
    """Of a checkpoint that thinks first."""
    presence_penalty: float = 0.0
    """Taken off the logit of every token that the reply already has."""


def greedy_decode(
    next_logits: NextLogits,
    question: torch.Tensor,
    config: GenerationConfig,
    *,
    end_tokens: frozenset[int],
    grammar: GrammarState | None = None,
    think_end: int | None = None,
) -> Iterator[int]:
    """Greedy tokens of a reply to `question` (1, n), ended by an end token, a loop (`is_looping`) or `rules.tokens_max`.

    `think_end`: the token that ends the thinking of a checkpoint whose prompt begins it. Thoughts are yielded like all tokens,
    but are free of the grammar and have `rules.thoughts_max` of their own.
    """
    said: list[int] = []
    used = torch.zeros(0)
    thinking = think_end is not None
    left = config.max_thinking_tokens if thinking else config.max_new_tokens
    ids = question
    while left > 0:
        logits = next_logits(ids)
        if config.presence_penalty and said:
            used = used if len(used) else torch.zeros_like(logits, dtype=torch.bool)
            used[said[-1]] = True
            logits = logits - config.presence_penalty * used
        if grammar is not None and not thinking:
            logits = grammar.mask_logits(logits)
        token = int(logits.argmax())
        left -= 1
        yield token
        if token in end_tokens:
            return
        said.append(token)
        if thinking:
            if token == think_end:
                thinking, left, said, used = False, config.max_new_tokens, [], torch.zeros(0)
        elif grammar is not None:
            grammar.accept(token)
        if is_repetitive(said):
            return
        ids = torch.tensor([[token]], device=question.device)


def is_repetitive(tokens: Sequence[object]) -> bool:
    """Whether a reply ends in the same passage over and over."""
    for period in range(1, min(MAX_REPETITION_PERIOD, len(tokens) // MIN_REPETITIONS) + 1):
        length = max(MIN_REPETITIONS * period, MIN_REPETITION_TOKENS)
        # All of it equals itself one period earlier.
        if len(tokens) >= length and tokens[-length:-period] == tokens[period - length :]:
            return True
    return False
