"""Decoding: logits -> the tokens of a reply, under a grammar if the reply must be JSON. Repetition ends the reply.

A checkpoint that thinks first has a budget for its thoughts. Where they exceed it, their end is fed, and the reply follows.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel

from longview.model.engine.generation.grammar import GrammarState
from longview.model.engine.generation.repetition import is_repetitive
from longview.model.engine.generation.sampling import Sampler
from longview.model.engine.generation.thoughts import MAX_THINKING_TOKENS, ThoughtEnd

NextLogits = Callable[[torch.Tensor], torch.Tensor]
"""Function that appends token ids (1, n) to the context and returns the logits (vocabulary,) of the next token."""


@dataclass(frozen=True)
class GenerationConfig:
    """Settings of one reply."""

    max_new_tokens: int
    schema: type[BaseModel] | None = None
    """Item type of the JSON list that the reply must be. None: free text."""
    max_thinking_tokens: int = MAX_THINKING_TOKENS
    """Token limit of the thoughts, for a prompt that opens them."""
    presence_penalty: float = 0.0
    """Amount subtracted from the logit of every token that the reply already contains."""
    thinking: bool = False
    """Whether the checkpoint thinks first, where its chat template has a switch for it."""
    is_sampled: bool = False
    """Whether tokens are sampled, where the checkpoint's `generation_config.json` asks for it; else the reply is greedy."""


def decode_reply(
    next_logits: NextLogits,
    question_ids: torch.Tensor,
    config: GenerationConfig,
    *,
    end_tokens: frozenset[int],
    grammar: GrammarState | None = None,
    thought_end: ThoughtEnd | None = None,
    sampler: Sampler | None = None,
) -> Iterator[int]:
    """Yield the tokens of a reply to `question_ids` (1, n): the most likely ones, or those that a sampler draws.

    The reply ends with an end token, with a repetition (`is_repetitive`), or at `config.max_new_tokens`.

    `thought_end`: for a prompt that opens the thoughts. Their tokens are yielded too, up to the one that ends them. The grammar
    does not apply to them. Thoughts end at the latest at `config.max_thinking_tokens`, with a repetition or with an end token.
    Then `thought_end.forced_tokens` are fed and yielded, and the whole reply follows.
    """
    ids = question_ids
    if thought_end is not None:
        ids = yield from _think(next_logits, ids, config, end_tokens, thought_end, sampler)
    chosen_tokens = _ChosenTokens(config.presence_penalty, sampler, grammar)
    while len(chosen_tokens.tokens) < config.max_new_tokens:
        token = chosen_tokens.choose(next_logits(ids))
        yield token
        if token in end_tokens:
            return
        chosen_tokens.add(token)
        if is_repetitive(chosen_tokens.tokens):
            return
        ids = _as_ids([token], question_ids)


def _think(
    next_logits: NextLogits,
    question_ids: torch.Tensor,
    config: GenerationConfig,
    end_tokens: frozenset[int],
    thought_end: ThoughtEnd,
    sampler: Sampler | None,
) -> Generator[int, None, torch.Tensor]:
    """Yield the tokens of the thoughts and of their end; return the ids (1, n) that are appended before the reply."""
    ids = question_ids
    chosen_tokens = _ChosenTokens(config.presence_penalty, sampler)
    while len(chosen_tokens.tokens) < config.max_thinking_tokens and not is_repetitive(chosen_tokens.tokens):
        token = chosen_tokens.choose(next_logits(ids))
        ids = _as_ids([], question_ids)
        if token in end_tokens:
            # The checkpoint would reply nothing.
            break
        yield token
        ids = _as_ids([token], question_ids)
        if token == thought_end.token:
            return ids
        chosen_tokens.add(token)
    yield from thought_end.forced_tokens
    return torch.cat([ids, _as_ids(thought_end.forced_tokens, question_ids)], dim=1)


def _as_ids(tokens: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor([tokens], dtype=like.dtype, device=like.device)


class _ChosenTokens:
    """The tokens of the thoughts or of the reply so far, and the choice of the next one."""

    def __init__(self, presence_penalty: float, sampler: Sampler | None, grammar: GrammarState | None = None) -> None:
        self.tokens: list[int] = []
        self._presence_penalty, self._sampler, self._grammar = presence_penalty, sampler, grammar
        self._is_used = torch.zeros(0)

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token, given the logits (vocabulary,) of the checkpoint."""
        if self._presence_penalty and self.tokens:
            if not len(self._is_used):
                self._is_used = torch.zeros_like(logits, dtype=torch.bool)
            self._is_used[self.tokens[-1]] = True
            logits = logits - self._presence_penalty * self._is_used
        if self._grammar is not None:
            logits = self._grammar.mask_logits(logits)
        return self._sampler.draw(logits) if self._sampler else int(logits.argmax())

    def add(self, token: int) -> None:
        """Append a token."""
        self.tokens.append(token)
        if self._grammar is not None:
            self._grammar.accept(token)
