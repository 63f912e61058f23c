"""JSON grammars that constrain a reply token by token."""

import functools
import json
from typing import Any

import torch
from pydantic import BaseModel, TypeAdapter


class Grammars:
    """A cache of compiled JSON grammars over one tokenizer."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        """`vocab_size`: width of the model's logits, which may be larger than the tokenizer's vocabulary."""
        self._tokenizer, self._vocab_size = tokenizer, vocab_size

    @functools.cached_property
    def _compiler(self) -> Any:
        import xgrammar  # The import takes two seconds and is not needed for free text.

        return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocab_size))

    @functools.cache  # noqa: B019 (one instance per engine, and few types)
    def _compile(self, schema: type[BaseModel]) -> Any:
        document = TypeAdapter(list[schema]).json_schema()  # type: ignore[valid-type]
        # With `any_whitespace`, a model can generate spaces without end.
        return self._compiler.compile_json_schema(json.dumps(document), any_whitespace=False)

    def matcher(self, schema: type[BaseModel]) -> "GrammarState":
        """Create the state of a new reply."""
        import xgrammar

        return GrammarState(xgrammar.GrammarMatcher(self._compile(schema)), xgrammar, self._vocab_size)


class GrammarState:
    """The state of one reply under a grammar: which tokens may follow."""

    def __init__(self, matcher: Any, library: Any, vocab_size: int) -> None:
        self._matcher, self._library = matcher, library
        self._mask = library.allocate_token_bitmask(1, vocab_size)

    def mask_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Set the logits of forbidden tokens to minus infinity."""
        if not self._matcher.fill_next_token_bitmask(self._mask):
            return logits
        masked = logits.float().unsqueeze(0)
        self._library.apply_token_bitmask_inplace(masked, self._mask.to(logits.device))
        return masked[0]

    def accept(self, token: int) -> None:
        """Advance the state by `token`."""
        self._matcher.accept_token(token)
