"""From logits to a reply: greedy tokens, under a grammar where the reply must be JSON, stopped when they go round in circles."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, TypeAdapter

LOOP_PERIOD_MAX = 64
"""Tokens: longer passages that repeat are caught when their parts do."""
LOOP_TOKENS_MIN = 32
"""So many tokens of mere repetition, and at least `LOOP_REPEATS`, are a loop."""
LOOP_REPEATS = 4
PENALTY_AFTER_LOOP = 1.5
"""Presence penalty with which a reply that went in circles is tried once more; what Qwen advises against repetition
(Qwen3-VL model cards). transformers has none."""
THINK_END = "</think>"
THINKING_TOKENS_MAX = 8192
"""Room to think before a reply under a grammar; what a checkpoint thinks is not part of its reply."""

NextLogits = Callable[[torch.Tensor], torch.Tensor]
"""Appends token ids (1, n) to the context; returns the logits (vocabulary,) of the token after them."""


class TimedText(BaseModel):
    """One event of a dense-caption reply."""

    start: float
    end: float
    description: str


class TimeRange(BaseModel):
    """One moment of a localisation reply."""

    start: float
    end: float


@dataclass(frozen=True)
class Rules:
    """How a reply may run."""

    tokens_max: int
    item: type[BaseModel] | None = None
    """The reply is a JSON list of these; None: free text."""
    thoughts_max: int = THINKING_TOKENS_MAX
    """Of a checkpoint that thinks first."""
    presence_penalty: float = 0.0
    """Taken off the logit of every token that the reply already has."""


class Grammars:
    """JSON grammars over one tokenizer, compiled once each."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """`vocabulary`: the width of the model's logits, which may be larger than the tokenizer."""
        self._tokenizer, self._vocabulary = tokenizer, vocabulary

    @functools.cached_property
    def _compiler(self) -> Any:
        import xgrammar  # two seconds to import, and not needed for free text

        return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocabulary))

    @functools.cache  # noqa: B019 (one instance an engine, a handful of types)
    def _compiled(self, item: type[BaseModel]) -> Any:
        schema = TypeAdapter(list[item]).json_schema()  # type: ignore[valid-type]
        # With any whitespace a model could go on with spaces for ever.
        return self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False)

    def matcher(self, item: type[BaseModel]) -> "GrammarState":
        """A new reply's state."""
        import xgrammar

        return GrammarState(xgrammar.GrammarMatcher(self._compiled(item)), xgrammar, self._vocabulary)


class GrammarState:
    """What a reply under a grammar may say next."""

    def __init__(self, matcher: Any, library: Any, vocabulary: int) -> None:
        self._matcher, self._library = matcher, library
        self._mask = library.allocate_token_bitmask(1, vocabulary)

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits with those of impossible tokens at minus infinity."""
        if not self._matcher.fill_next_token_bitmask(self._mask):
            return logits
        allowed = logits.float().unsqueeze(0)
        self._library.apply_token_bitmask_inplace(allowed, self._mask.to(logits.device))
        return allowed[0]

    def accept(self, token: int) -> None:
        """The reply goes on with `token`."""
        self._matcher.accept_token(token)


def decoded(
    next_logits: NextLogits,
    question: torch.Tensor,
    rules: Rules,
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
    left = rules.thoughts_max if thinking else rules.tokens_max
    ids = question
    while left > 0:
        logits = next_logits(ids)
        if rules.presence_penalty and said:
            used = used if len(used) else torch.zeros_like(logits, dtype=torch.bool)
            used[said[-1]] = True
            logits = logits - rules.presence_penalty * used
        if grammar is not None and not thinking:
            logits = grammar.masked(logits)
        token = int(logits.argmax())
        left -= 1
        yield token
        if token in end_tokens:
            return
        said.append(token)
        if thinking:
            if token == think_end:
                thinking, left, said, used = False, rules.tokens_max, [], torch.zeros(0)
        elif grammar is not None:
            grammar.accept(token)
        if is_looping(said):
            return
        ids = torch.tensor([[token]], device=question.device)


def is_looping(tokens: Sequence[object]) -> bool:
    """Whether a reply ends in the same passage over and over."""
    for period in range(1, min(LOOP_PERIOD_MAX, len(tokens) // LOOP_REPEATS) + 1):
        length = max(LOOP_REPEATS * period, LOOP_TOKENS_MIN)
        # All of it equals itself one period earlier.
        if len(tokens) >= length and tokens[-length:-period] == tokens[period - length :]:
            return True
    return False
