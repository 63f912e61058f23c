"""JSON grammars that constrain a reply token by token."""

import functools
import json
from typing import Any

import torch
from pydantic import BaseModel, TypeAdapter


class Grammars:
    """JSON grammars over one tokenizer, compiled once each."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        """`vocabulary`: the width of the model's logits, which may be larger than the tokenizer."""
        self._tokenizer, self._vocab_size = tokenizer, vocab_size

    @functools.cached_property
    def _compiler(self) -> Any:
        import xgrammar  # two seconds to import, and not needed for free text

        return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocab_size))

    @functools.cache  # noqa: B019 (one instance an engine, a handful of types)
    def _compile(self, schema: type[BaseModel]) -> Any:
        document = TypeAdapter(list[schema]).json_schema()  # type: ignore[valid-type]
        # With any whitespace a model could go on with spaces for ever.
        return self._compiler.compile_json_schema(json.dumps(document), any_whitespace=False)

    def matcher(self, schema: type[BaseModel]) -> "GrammarState":
        """A new reply's state."""
        import xgrammar

        return GrammarState(xgrammar.GrammarMatcher(self._compile(schema)), xgrammar, self._vocab_size)


class GrammarState:
    """What a reply under a grammar may say next."""

    def __init__(self, matcher: Any, library: Any, vocabulary: int) -> None:
        self._matcher, self._library = matcher, library
        self._mask = library.allocate_token_bitmask(1, vocabulary)

    def mask_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits with those of impossible tokens at minus infinity."""
        if not self._matcher.fill_next_token_bitmask(self._mask):
            return logits
        allowed = logits.float().unsqueeze(0)
        self._library.apply_token_bitmask_inplace(allowed, self._mask.to(logits.device))
        return allowed[0]

    def accept(self, token: int) -> None:
        """The reply goes on with `token`."""
        self._matcher.accept_token(token)
