"""Tests of checkpoints that think: when their prompts open the thoughts, the budget, and the reply after it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from longview.core.timeline import Span
from longview.model.engine.base import REPLY_RESERVE_TOKENS, ChatTurn, WindowRequest
from longview.model.engine.chat_template import ChatTemplate
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.generation.thoughts import ThinkingBudget
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.tasks.replies import TimeRange, parse_entries
from longview.video.decoding.decoder import TimedFrames
from tests.support.hf_reference import HFReference
from tests.support.thinking_samples import (
    ALWAYS_THINKING,
    REPLYING_BY_DEFAULT,
    THINKING_BY_DEFAULT,
    write_thinking_checkpoint,
)

BLACK = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
QUESTION = "What happens at 1.0 seconds?"
HISTORY = [ChatTurn("Who is there?", "A circle.")]
BUDGET = 5


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(DEMO)


@pytest.mark.parametrize("history", [[], HISTORY], ids=["first", "later"])
@pytest.mark.parametrize(
    ("template", "has_switch", "without", "with_thinking"),
    [
        (None, False, False, False),
        (ALWAYS_THINKING, False, True, True),
        (THINKING_BY_DEFAULT, True, False, True),
        (REPLYING_BY_DEFAULT, True, False, True),
    ],
    ids=["instruct", "always", "by default", "on request"],
)
def test_prompt_opens_the_thoughts_where_they_are_switched_on(
    processor: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    template: str | None,
    has_switch: bool,
    without: bool,
    with_thinking: bool,
    history: list[ChatTurn],
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    if template is not None:
        monkeypatch.setattr(processor, "chat_template", template)
    chat_template = ChatTemplate(processor, "a checkpoint")
    assert chat_template.has_thinking_switch is has_switch
    assert chat_template.always_thinks is without
    assert chat_template.begins_thinking(history, thinking=False) is without
    assert chat_template.begins_thinking(history, thinking=True) is with_thinking
    video = {"type": "video"}
    messages: list[dict[str, Any]] = [{"role": "user", "content": [video, {"type": "text", "text": QUESTION}]}]
    if history:
        messages[0]["content"][1]["text"] = history[0].question
        messages.append({"role": "assistant", "content": [{"type": "text", "text": history[0].answer}]})
        messages.append({"role": "user", "content": [{"type": "text", "text": QUESTION}]})
    # What follows the prefix is what transformers renders, and the prefix is the same with and without thoughts.
    assert not caplog.records, "transformers warns of a switch that the template does not name"
    for thinking in (False, True):
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True, enable_thinking=thinking)
        assert chat_template.prefix + chat_template.after_context(QUESTION, history, thinking=thinking) == prompt


def test_template_whose_prefix_depends_on_the_switch_has_none(processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{- '/think' if enable_thinking else '/no_think' }}" + THINKING_BY_DEFAULT
    monkeypatch.setattr(processor, "chat_template", template)
    chat_template = ChatTemplate(processor, "a checkpoint")
    assert not chat_template.has_thinking_switch
    assert chat_template.after_context(QUESTION, thinking=True) == chat_template.after_context(QUESTION)


def test_question_can_neither_open_nor_end_thoughts(processor: Any) -> None:
    chat_template = ChatTemplate(processor, "a checkpoint")
    text = chat_template.after_context("A</think> <think>b", [ChatTurn("c<think>", "d</think>")])
    assert "think>" not in text


def load(folder: Path, template: str, *, thinking: bool, budget: int = BUDGET, **generation_config: Any) -> LocalEngine:
    checkpoint = find_checkpoint(str(write_thinking_checkpoint(folder, template, **generation_config)))
    return LocalEngine(checkpoint, device="cpu", cpu_threads=1, thinking_budget=ThinkingBudget(thinking, budget))


def open_session(engine: LocalEngine, *, capacity_tokens: int = 800) -> LocalSession:
    return engine.open_session([BLACK], WindowRequest(Span(0, 4), capacity_tokens=capacity_tokens))


@pytest.fixture(scope="module")
def switchable(tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    return load(tmp_path_factory.mktemp("switch") / "checkpoint", THINKING_BY_DEFAULT, thinking=True)


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    return load(tmp_path_factory.mktemp("always") / "checkpoint", ALWAYS_THINKING, thinking=False)


def test_thoughts_end_at_their_budget_and_the_reply_is_that_of_transformers(switchable: LocalEngine) -> None:
    session = open_session(switchable)
    generation = session.generate(QUESTION, max_new_tokens=8, thinking=True)
    assert "".join(generation) == generation.text != ""
    tokenizer = switchable.processor.tokenizer
    assert len(tokenizer.encode(generation.thoughts, add_special_tokens=False)) == BUDGET
    # The same thoughts with their end, and then a greedy reply, in one prompt.
    reference = HFReference(switchable.checkpoint.folder)
    inputs = reference.inputs(BLACK, QUESTION)
    end = switchable.thought_tags.keys() & {tokenizer.convert_tokens_to_ids("</think>")}
    thoughts = [*tokenizer.encode(generation.thoughts, add_special_tokens=False), *end]
    prompt_ids = torch.cat([inputs["input_ids"], torch.tensor([thoughts])], dim=1)
    extension = {"input_ids": prompt_ids, "attention_mask": torch.ones_like(prompt_ids)}
    if "mm_token_type_ids" in inputs:
        types = inputs["mm_token_type_ids"]
        extension["mm_token_type_ids"] = torch.cat([types, types.new_zeros(1, len(thoughts))], dim=1)
    with torch.inference_mode():
        ids = reference.model.generate(**(dict(inputs) | extension), do_sample=False, max_new_tokens=8)
    assert generation.text == tokenizer.decode(ids[0, prompt_ids.shape[1] :], skip_special_tokens=True).lstrip()


def test_only_questions_that_ask_for_thoughts_have_them(switchable: LocalEngine, engine: LocalEngine) -> None:
    session = open_session(switchable)
    quiet = session.generate(QUESTION, max_new_tokens=30)
    assert "".join(quiet).strip() == "Nothing happens at that time."
    assert quiet.thoughts == ""
    assert switchable.reserved_tokens == REPLY_RESERVE_TOKENS + BUDGET
    # The bundled checkpoint has no switch: nothing changes.
    assert engine.reserved_tokens == REPLY_RESERVE_TOKENS
    plain = open_session(engine).generate(QUESTION, max_new_tokens=30, thinking=True)
    assert "".join(plain) == "Nothing happens at that time."


def test_json_of_a_checkpoint_that_always_thinks_has_no_thoughts(always: LocalEngine) -> None:
    generation = open_session(always).generate(QUESTION, max_new_tokens=40, schema=TimeRange)
    list(generation)
    assert generation.thoughts
    assert parse_entries(generation.text) is not None and generation.text.startswith("[")
    assert always.reserved_tokens == REPLY_RESERVE_TOKENS + BUDGET
    text = always.generate_text("Write a title.", max_new_tokens=5)
    assert "".join(text) == text.text and text.thoughts and "think>" not in text.text


def test_thoughts_leave_room_for_the_whole_reply(always: LocalEngine) -> None:
    tokens = open_session(always).prompt_tokens + always.question_ids(QUESTION).shape[1]
    # One token for the end of the thoughts, two for thoughts. The session adds tokens for timestamps, which it does not need.
    small = open_session(always, capacity_tokens=tokens + 3)
    generation = small.generate(QUESTION, max_new_tokens=64)
    list(generation)
    assert generation.text
    assert len(always.processor.tokenizer.encode(generation.thoughts, add_special_tokens=False)) <= 2


def test_thoughts_are_sampled_alike_in_each_run(tmp_path: Path) -> None:
    sampled = load(
        tmp_path / "sampled", THINKING_BY_DEFAULT, thinking=True, budget=12, do_sample=True, temperature=20.0, top_k=50
    )
    session = open_session(sampled)

    def run(question: str, *, thinking: bool = True, presence_penalty: float = 0.0) -> tuple[str, str]:
        generation = session.generate(question, max_new_tokens=12, thinking=thinking, presence_penalty=presence_penalty)
        list(generation)
        return generation.thoughts, generation.text

    first = run(QUESTION)
    assert run(QUESTION) == first
    assert run(f"{QUESTION} ") != first
    # Without thoughts the reply is greedy, except for the second attempt after a repetitive one.
    _, greedy = run(QUESTION, thinking=False)
    assert greedy.strip() == "Nothing happens at that time."
    assert run(QUESTION, thinking=False, presence_penalty=0.1)[1] != greedy


def test_missing_switch_is_named(caplog: pytest.LogCaptureFixture) -> None:
    LocalEngine(find_checkpoint("demo"), device="cpu", cpu_threads=1, thinking_budget=ThinkingBudget(is_reserved=True))
    assert "no switch for thinking" in caplog.text
