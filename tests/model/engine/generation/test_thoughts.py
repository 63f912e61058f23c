"""Tests of the splitter of thoughts and reply, and of the tokens that end thoughts."""

from typing import Any

import pytest
from transformers import AutoTokenizer

from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.generation.thoughts import EARLY_END, THINK_END, THINK_START, ThoughtSplitter, thought_end_of

SPLIT = [
    # (whether the prompt opened the thoughts, whether the reply is complete, text, thoughts, reply)
    (False, True, "A dog runs.", "", "A dog runs."),
    (False, True, " <b>A dog</b> < a cat.", "", " <b>A dog</b> < a cat."),
    (False, True, "<think>\nA dog? Yes.\n</think>\n\nA dog.", "A dog? Yes.", "A dog."),
    (False, True, "<think>\n\n</think>\n\nA dog.", "", "A dog."),
    (True, True, "A dog? Yes.\n</think>\n\nA dog.", "A dog? Yes.", "A dog."),
    (True, True, "<think>A dog?</think>A dog.", "A dog?", "A dog."),
    (True, False, "A dog? Yes. No.", "A dog? Yes. No.", ""),
    (False, False, "<think>A dog? Yes.", "A dog? Yes.", ""),
    # The first tag alone, as some checkpoints write it before each reply.
    (False, True, "<think>\nFrom 1.2 to 3.4.", "", "From 1.2 to 3.4."),
    (True, True, "From 1.2 to 3.4.", "", "From 1.2 to 3.4."),
    # The last tag alone.
    (False, True, "A dog? Yes.\n</think>\n\nA dog.", "A dog? Yes.", "A dog."),
    (False, False, "A dog? </think>", "A dog?", ""),
    (True, True, "A?</think>\n\nB?\n</think>\n\nA dog.", "A?\n\nB?", "A dog."),
    (False, True, "<think>A?</think><think>B?</think> A dog.", "A?\n\nB?", "A dog."),
    (False, True, "A dog <think> of it.", "", "A dog <think> of it."),
    (False, True, "", "", ""),
    (False, False, "<thi", "", "<thi"),
]


@pytest.mark.parametrize("length", [1, 3, 1000])
@pytest.mark.parametrize(("is_open", "is_complete", "text", "thoughts", "reply"), SPLIT)
def test_thoughts_are_split_from_the_reply(
    is_open: bool, is_complete: bool, text: str, thoughts: str, reply: str, length: int
) -> None:
    splitter = ThoughtSplitter(begins_with_thoughts=is_open)
    shown = "".join(splitter.add(text[start : start + length]) for start in range(0, len(text), length))
    shown += splitter.finish(is_complete=is_complete)
    assert (splitter.thoughts, splitter.text) == (thoughts, reply)
    # Before the last tag, a text may have been shown as the reply.
    assert shown.endswith(reply)
    if text.count(THINK_END) == 0 or (text.count(THINK_END) == 1 and (is_open or text.startswith(THINK_START))):
        assert shown == reply


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(DEMO)


def test_tokenizer_without_the_tag_ends_no_thoughts(tokenizer: Any) -> None:
    assert thought_end_of(tokenizer) is None


def test_thoughts_end_with_the_sentence_that_the_tokenizer_knows(tokenizer: Any) -> None:
    tokenizer.add_tokens([THINK_START, THINK_END])
    tag = tokenizer.convert_tokens_to_ids(THINK_END)
    end = thought_end_of(tokenizer)
    # This tokenizer would spell the sentence.
    assert end is not None and (end.token, end.forced_tokens) == (tag, (tag,))
    tokenizer.add_tokens([f" {word}" for word in EARLY_END.split()])
    end = thought_end_of(tokenizer)
    assert end is not None and end.token == tag
    assert tokenizer.decode(end.forced_tokens).split() == EARLY_END.split()
