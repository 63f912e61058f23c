"""A reply of the local engine while it is generated: token ids -> text, thoughts and their state."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tokenizers.decoders import DecodeStream

from longview.model.engine.generation.repetition import is_repetitive
from longview.model.engine.generation.thoughts import ThoughtSplitter


class LocalGeneration:
    """See `longview.model.engine.base.Generation`."""

    has_read_prompt = True

    def __init__(
        self,
        tokens: Callable[[], Iterator[int]],
        tokenizer: Any,
        *,
        end_tokens: frozenset[int],
        thought_tags: Mapping[int, str],
        begins_with_thoughts: bool = False,
    ) -> None:
        """`tokens`: starts the reply and yields its ids. Only the iteration holds that iterator, so its end frees the session.

        `thought_tags`: texts of the tokens that begin and end thoughts. `begins_with_thoughts`: whether the prompt has opened
        them.
        """
        self.text = ""
        self.thoughts = ""
        self.is_complete = False
        self.is_repetitive = False
        self.first_token_s = 0.0
        self.total_s = 0.0
        self._tokens, self._tokenizer = tokens, tokenizer
        self._end_tokens, self._thought_tags = end_tokens, thought_tags
        self._begins_with_thoughts = begins_with_thoughts

    def __iter__(self) -> Iterator[str]:
        start = time.perf_counter()
        reply: list[int] = []
        splitter = ThoughtSplitter(begins_with_thoughts=self._begins_with_thoughts)
        # Decoding the whole reply again for every token takes quadratic time: 2.3 s for 1,792 tokens, instead of 2 ms.
        detokenizer = DecodeStream(skip_special_tokens=True)
        for token in self._tokens():
            self.total_s = time.perf_counter() - start
            self.first_token_s = self.first_token_s or self.total_s
            if token in self._end_tokens:
                self.is_complete = True
                break
            reply.append(token)
            # Some tokenizers have the tags of the thoughts among their special tokens.
            piece = self._thought_tags.get(token) or detokenizer.step(self._tokenizer.backend_tokenizer, token)
            # None: the token ends within a character, whose other bytes come with the next token.
            new_text = splitter.add(piece) if piece else ""
            self.text, self.thoughts = splitter.text, splitter.thoughts
            if new_text:
                yield new_text
        else:
            self.is_repetitive = is_repetitive(reply)
        new_text = splitter.finish(is_complete=self.is_complete)
        self.text, self.thoughts = splitter.text, splitter.thoughts
        if new_text:
            yield new_text
