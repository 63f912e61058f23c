"""JSON grammars that constrain a reply token by token."""

import functools
import json
from typing import Any

import torch
from pydantic import BaseModel, TypeAdapter

from longview.model.engine.torch_packages import require_xgrammar

MASK_BACKEND = "torch_native"
"""The implementation of masks in xgrammar that needs only torch, so it works on every device. On a CPU core, it takes 1.5 ms for
151,936 tokens instead of 0.3 ms, which is about a hundredth of a decoding step of such a checkpoint."""


class Grammars:
    """A cache of compiled JSON grammars over one tokenizer."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        """`vocab_size`: width of the model's logits, which may be larger than the tokenizer's vocabulary."""
        self._tokenizer, self._vocab_size = tokenizer, vocab_size

    @functools.cached_property
    def _compiler(self) -> Any:
        require_xgrammar()  # It takes two seconds and is not needed for free text.
        import xgrammar

        return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocab_size))

    @functools.cache  # noqa: B019 (one instance per engine, and few types)
    def _compile(self, schema: type[BaseModel]) -> Any:
        document = TypeAdapter(list[schema]).json_schema()  # type: ignore[valid-type]
        # With `any_whitespace`, a model can generate spaces without end.
        return self._compiler.compile_json_schema(json.dumps(document), any_whitespace=False)

    def matcher(self, schema: type[BaseModel]) -> "GrammarState":
        """Create the state of a new reply.

        Raises:
            LocalEngineUnavailable: xgrammar cannot be imported.
        """
        import xgrammar

        return GrammarState(xgrammar.GrammarMatcher(self._compile(schema)), xgrammar, self._vocab_size)


class GrammarState:
    """The state of one reply under a grammar: which tokens may follow."""

    def __init__(self, matcher: Any, library: Any, vocab_size: int) -> None:
        self._matcher, self._library = matcher, library
        self._mask = library.allocate_token_bitmask(1, vocab_size)

    def mask_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Return a float32 copy of the logits (vocabulary,), with those of forbidden tokens at minus infinity."""
        if not self._matcher.fill_next_token_bitmask(self._mask):
            return logits
        # A copy, because the logits may be a tensor of the inference mode, which cannot be changed outside of it.
        masked_logits = logits.to(torch.float32, copy=True).unsqueeze(0)
        # The default on a GPU is compiled by a C compiler at the first call, and many machines have none.
        self._library.apply_token_bitmask_inplace(masked_logits, self._mask.to(logits.device), backend=MASK_BACKEND)
        return masked_logits[0]

    def accept(self, token: int) -> None:
        """Advance the state by `token`."""
        self._matcher.accept_token(token)
