"""Tests of decoding: limits, repetition, presence penalty, sampling, grammars, thoughts, and early exit."""

import json
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from transformers import GenerationConfig as GenerationFile
from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.generation.decoding import GenerationConfig, decode_reply
from longview.model.engine.generation.repetition import MIN_REPETITION_TOKENS, is_repetitive
from longview.model.engine.generation.sampling import Sampler, SamplingConfig, sampling_config_of
from longview.model.engine.generation.thoughts import ThoughtEnd
from longview.model.engine.local import TIMESTAMP_SLACK_TOKENS, LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.errors import InvalidCheckpoint, InvalidQuestion, UnreadableReplies
from longview.model.tasks.captioner import MAX_CAPTION_TOKENS
from longview.model.tasks.replies import TimedCaption, TimeRange
from longview.model.training.questions import PROMPTS
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo

END = 9
VOCABULARY = 12


def scripted(logits_at: Callable[[int], list[float]]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model whose logits at each step are `logits_at(step)`."""
    steps = count()
    return lambda ids: torch.tensor(logits_at(next(steps)))


def generating(*tokens: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model that generates these tokens, and then repeats the last one."""

    def logits_at(step: int) -> list[float]:
        logits = [0.0] * VOCABULARY
        logits[tokens[min(step, len(tokens) - 1)]] = 5.0
        return logits

    return scripted(logits_at)


QUESTION = torch.tensor([[1, 2, 3]])


def run(
    model: Callable[[torch.Tensor], torch.Tensor],
    config: GenerationConfig,
    thought_end: ThoughtEnd | None = None,
    sampler: Sampler | None = None,
) -> list[int]:
    return list(decode_reply(model, QUESTION, config, end_tokens=frozenset({END}), thought_end=thought_end, sampler=sampler))


def test_reply_ends_with_an_end_token_or_at_its_limit() -> None:
    assert run(generating(1, 2, END, 4), GenerationConfig(10)) == [1, 2, END]
    assert run(generating(1, 2, 3, 4, 5, 6, END), GenerationConfig(4)) == [1, 2, 3, 4]


@pytest.mark.parametrize("period", [1, 2, 7, 64])
def test_repetitive_reply_is_stopped(period: int) -> None:
    tokens = run(scripted(lambda step: np.eye(100)[10 + step % period].tolist()), GenerationConfig(5000))
    assert len(tokens) == max(MIN_REPETITION_TOKENS, 4 * period)
    assert is_repetitive(tokens)


def test_similar_sentences_are_not_repetitive() -> None:
    # Captions are often the same sentence with a different number.
    captions = [token for number in range(60) for token in (1, 2, 3, 10 + number, 4, 5)]
    assert not is_repetitive(captions)
    assert not any(is_repetitive(captions[:length]) for length in range(len(captions)))
    assert is_repetitive([*captions, *[7, 8] * 40])


def test_presence_penalty_prefers_unused_tokens() -> None:
    model = scripted(lambda step: [0.0, 3.0, 2.0, 1.0, *[0.0] * 8])
    assert run(model, GenerationConfig(3)) == [1, 1, 1]
    model = scripted(lambda step: [0.0, 3.0, 2.0, 1.0, *[0.0] * 8])
    assert run(model, GenerationConfig(4, presence_penalty=1.5)) == [1, 2, 1, 1]


TAG = 7
THOUGHT_END = ThoughtEnd(TAG, (8, TAG, 8))
"""The tag that ends the thoughts, and the tokens that force their end."""


def test_thoughts_have_their_own_limit() -> None:
    thoughts = [1, 2, 3, 1, 2, 3, TAG]
    assert run(generating(*thoughts, 4, 5, 6, END), GenerationConfig(3), THOUGHT_END) == [*thoughts, 4, 5, 6]
    assert run(generating(*thoughts, 4, END), GenerationConfig(3), THOUGHT_END) == [*thoughts, 4, END]


@pytest.mark.parametrize(
    ("thought_at", "budget", "thoughts"),
    [
        (lambda step: 20 + step, 30, 30),
        (lambda step: 20 + step, 0, 0),
        (lambda step: 20 + step % 2, 5000, MIN_REPETITION_TOKENS),
        (lambda step: END if step == 4 else 20 + step, 30, 4),
    ],
    ids=["budget", "no budget", "repetition", "end token"],
)
def test_endless_thoughts_are_ended_and_the_whole_reply_follows(
    thought_at: Callable[[int], int], budget: int, thoughts: int
) -> None:
    read: list[int] = []

    def next_logits(ids: torch.Tensor) -> torch.Tensor:
        """Think until the tag is read, and then reply 4 5 6."""
        read.extend(ids[0].tolist())
        replied = len(read) - len(QUESTION[0]) - thoughts - len(THOUGHT_END.forced_tokens)
        token = [4, 5, 6, END][replied] if TAG in read else thought_at(len(read) - len(QUESTION[0]))
        return torch.nn.functional.one_hot(torch.tensor(token), 100).float()

    tokens = run(next_logits, GenerationConfig(4, max_thinking_tokens=budget), THOUGHT_END)
    assert tokens == [*map(thought_at, range(thoughts)), *THOUGHT_END.forced_tokens, 4, 5, 6, END]
    # The checkpoint has read each token once, in order.
    assert read == [*QUESTION[0].tolist(), *tokens[:-1]]


DRAWS = 2000
CHI_SQUARE_QUANTILES = (1e-9, 10.8, 13.8, 16.3, 18.5)
"""Values that the chi-square statistic exceeds once in a thousand times, by degrees of freedom; with none it is zero."""
LIKELY = torch.tensor([0.0, 4.0, 3.0, 2.0, 1.0, *[-50.0] * (VOCABULARY - 5)])


def sampling(**values: object) -> SamplingConfig | None:
    return sampling_config_of(GenerationFile(do_sample=True, **values), "a checkpoint")


@pytest.mark.parametrize(
    ("values", "possible"),
    [
        ({}, 5),
        ({"top_k": 3}, 3),
        ({"top_k": 4, "top_p": 0.7}, 2),
        ({"temperature": 2.0, "top_k": 4}, 4),
        ({"top_p": 0.7}, 2),
        ({"min_p": 0.1}, 3),
        ({"temperature": 0.01}, 1),
    ],
)
def test_sample_is_drawn_as_transformers_does(values: dict[str, float], possible: int) -> None:
    config = sampling(**values)
    assert config is not None
    warpers = {
        "temperature": TemperatureLogitsWarper, "top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper,
    }  # fmt: skip
    scores = LIKELY[None]
    for name, value in values.items():
        scores = warpers[name](value)(torch.empty(1, 0, dtype=torch.long), scores)
    probabilities = scores.softmax(-1)[0].double()
    sampler = Sampler(config, QUESTION)
    counts = torch.bincount(torch.tensor([sampler.draw(LIKELY) for _ in range(DRAWS)]), minlength=VOCABULARY)
    is_likely = probabilities > 1e-9
    assert int(is_likely.sum()) == possible and int(counts[~is_likely].sum()) == 0
    expected = DRAWS * probabilities[is_likely]
    assert float(((counts[is_likely] - expected) ** 2 / expected).sum()) < CHI_SQUARE_QUANTILES[possible - 1]


def test_logits_that_are_no_numbers_draw_no_token() -> None:
    for values in ({}, {"top_k": 3}):
        config = sampling(**values)
        assert config is not None
        for logits in (torch.full((VOCABULARY,), torch.nan), torch.full((VOCABULARY,), -torch.inf)):
            with pytest.raises(UnreadableReplies, match="no numbers"):
                Sampler(config, QUESTION).draw(logits)
        masked = torch.full((VOCABULARY,), -torch.inf)
        masked[7] = 1.0
        assert Sampler(config, QUESTION).draw(masked) == 7


def test_sampling_needs_a_file_that_asks_for_it_and_is_valid() -> None:
    assert sampling_config_of(GenerationFile(), "a checkpoint") is None
    assert sampling_config_of(GenerationFile(do_sample=False, top_k=20), "a checkpoint") is None
    for values in ({"temperature": 0.0}, {"temperature": "hot"}, {"top_k": -1}, {"top_k": 0.5}, {"top_p": 2.0}, {"min_p": -1.0}):
        with pytest.raises(InvalidCheckpoint, match=r"generation_config\.json of a checkpoint"):
            sampling(**values)


@pytest.fixture(scope="module")
def session(engine: LocalEngine, shapes_video: VideoInfo, decoder: Decoder) -> LocalSession:
    frames = decoder.frames_played_at(shapes_video, [index * 0.5 for index in range(40)], 96, 160)
    return engine.open_session(frames, WindowRequest(Span(0, 20), capacity_tokens=4096))


def reply_text(session: LocalSession, question: str, schema: type[BaseModel] | None = None) -> str:
    generation = session.generate(question, max_new_tokens=MAX_CAPTION_TOKENS, schema=schema)
    assert "".join(generation) == generation.text
    assert generation.is_complete and not generation.is_repetitive
    return generation.text


@pytest.mark.parametrize(
    ("question", "schema"),
    [
        (PROMPTS.dense_captions, TimedCaption),
        (PROMPTS.localization.format(query="a red circle"), TimeRange),
        (PROMPTS.localization.format(query="a white cross grows"), TimeRange),
    ],
)
def test_grammar_does_not_change_valid_replies(session: LocalSession, question: str, schema: type[BaseModel]) -> None:
    assert reply_text(session, question, schema) == reply_text(session, question)


def test_grammar_turns_any_reply_into_json(session: LocalSession) -> None:
    question = "What happens at 4.2 seconds?"
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(reply_text(session, question))
    generation = session.generate(question, max_new_tokens=MAX_CAPTION_TOKENS, schema=TimedCaption)
    for _ in generation:
        pass
    if generation.is_complete:
        assert isinstance(json.loads(generation.text), list)
    else:
        assert generation.text.startswith("[")
    # The grammar does not apply to the next reply.
    assert reply_text(session, question).startswith("A red circle")


def test_early_exit_frees_the_session_at_once(session: LocalSession) -> None:
    expected = reply_text(session, PROMPTS.dense_captions)
    pieces = iter(session.generate(PROMPTS.dense_captions, max_new_tokens=MAX_CAPTION_TOKENS))
    next(pieces)
    assert session._lock.locked()
    pieces.close()  # type: ignore[attr-defined]
    assert not session._lock.locked()
    assert reply_text(session, PROMPTS.dense_captions) == expected


def test_question_prefills_only_its_own_tokens(session: LocalSession) -> None:
    prefill_lengths: list[int] = []
    language = session.engine.model.model.language_model
    vision_calls: list[int] = []
    handles = [
        language.register_forward_pre_hook(
            lambda _, arguments, keywords: prefill_lengths.append(keywords["input_ids"].shape[1]), with_kwargs=True
        ),
        session.engine.model.model.visual.register_forward_pre_hook(lambda *_: vision_calls.append(1)),
    ]
    try:
        tokens = list(session.tokens("What happens at 4.2 seconds?", GenerationConfig(100)))
    finally:
        for handle in handles:
            handle.remove()
    question_tokens = session.engine.question_ids("What happens at 4.2 seconds?").shape[1]
    assert prefill_lengths == [question_tokens, *[1] * (len(tokens) - 1)]
    assert vision_calls == []


def test_too_long_question_is_rejected_and_the_next_answered(engine: LocalEngine) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    small = engine.open_session([black], WindowRequest(Span(0, 4), capacity_tokens=160))
    with pytest.raises(InvalidQuestion, match="make it shorter"):
        list(small.generate("가나다라" * 100, max_new_tokens=5))
    assert "".join(small.generate("How many events are in the video?", max_new_tokens=5))


def test_reply_is_truncated_at_the_capacity(engine: LocalEngine) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    question = "Where?"
    capacity_tokens = (
        engine.open_session([black], WindowRequest(Span(0, 4), capacity_tokens=100)).prompt_tokens
        + engine.question_ids(question).shape[1]
        + 20
    )
    small = engine.open_session([black], WindowRequest(Span(0, 4), capacity_tokens=capacity_tokens))
    # The grammar of an unbounded list does not let the reply end before the capacity.
    generation = small.generate(question, max_new_tokens=5000, schema=TimedCaption)
    list(generation)
    assert len(list(small.tokens(question, GenerationConfig(5000, TimedCaption)))) <= 20 + TIMESTAMP_SLACK_TOKENS


@pytest.mark.parametrize(
    "text", ["한 남자가 무대 위로 걸어간다.", "一名男子走上舞台。", "naïve 👩‍👩‍👧 \n\n  x", " leading space , and \" ' marks"]
)
def test_characters_of_several_tokens_are_yielded_whole(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    session = engine.open_session([black], WindowRequest(Span(0, 4), capacity_tokens=400))
    tokenizer = engine.processor.tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)
    for length in range(1, len(ids) + 1):
        monkeypatch.setattr(session, "tokens", lambda *_: iter(ids[:length]))  # noqa: B023 (it is consumed below)
        generation = session.generate("What?", max_new_tokens=500)
        pieces = list(generation)
        assert all(pieces) and "�" not in generation.text
        assert generation.text == "".join(pieces) == tokenizer.decode(ids[:length]).rstrip("�")
    assert generation.text == text
