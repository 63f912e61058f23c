"""How replies run: greedy, under a grammar, penalised, stopped when they go in circles, and left early."""

import json
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from longview.model.engine.generation import MIN_REPETITION_TOKENS, GenerationConfig, greedy_decode, is_repetitive
from longview.model.engine.local import TIMESTAMP_SLACK_TOKENS, LocalEngine, LocalSession
from longview.model.errors import InvalidQuestion
from longview.model.tasks.captioner import MAX_CAPTION_TOKENS
from longview.model.tasks.prompts import DENSE_CAPTIONS, localize_prompt
from longview.model.tasks.replies import TimedCaption, TimeRange
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo
from longview.video.timeline import Span

END = 9
VOCABULARY = 12


def scripted(wishes: Callable[[int], list[float]]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model whose logits at each step are those of `wishes(step)`."""
    steps = count()
    return lambda ids: torch.tensor(wishes(next(steps)))


def wanting(*tokens: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model that says these tokens, and then the last of them for ever."""

    def wishes(step: int) -> list[float]:
        logits = [0.0] * VOCABULARY
        logits[tokens[min(step, len(tokens) - 1)]] = 5.0
        return logits

    return scripted(wishes)


QUESTION = torch.tensor([[1, 2, 3]])


def run(model: Callable[[torch.Tensor], torch.Tensor], rules: GenerationConfig, think_end: int | None = None) -> list[int]:
    return list(greedy_decode(model, QUESTION, rules, end_tokens=frozenset({END}), think_end=think_end))


def test_a_reply_ends_with_an_end_token_or_at_its_limit() -> None:
    assert run(wanting(1, 2, END, 4), GenerationConfig(10)) == [1, 2, END]
    assert run(wanting(1, 2, 3, 4, 5, 6, END), GenerationConfig(4)) == [1, 2, 3, 4]


@pytest.mark.parametrize("period", [1, 2, 7, 64])
def test_a_reply_that_goes_in_circles_is_stopped(period: int) -> None:
    said = run(scripted(lambda step: np.eye(100)[10 + step % period].tolist()), GenerationConfig(5000))
    assert len(said) == max(MIN_REPETITION_TOKENS, 4 * period)
    assert is_repetitive(said)


def test_what_only_resembles_itself_is_no_circle() -> None:
    # The same sentence with another number each time, as captions are.
    listed = [token for number in range(60) for token in (1, 2, 3, 10 + number, 4, 5)]
    assert not is_repetitive(listed)
    assert not any(is_repetitive(listed[:length]) for length in range(len(listed)))
    assert is_repetitive([*listed, *[7, 8] * 40])


def test_a_presence_penalty_turns_to_what_was_not_said_yet() -> None:
    model = scripted(lambda step: [0.0, 3.0, 2.0, 1.0, *[0.0] * 8])
    assert run(model, GenerationConfig(3)) == [1, 1, 1]
    model = scripted(lambda step: [0.0, 3.0, 2.0, 1.0, *[0.0] * 8])
    assert run(model, GenerationConfig(4, presence_penalty=1.5)) == [1, 2, 1, 1]


def test_thoughts_have_room_of_their_own_and_may_repeat_what_the_reply_says() -> None:
    thinking = [1, 2, 3, 1, 2, 3, 7]
    assert run(wanting(*thinking, 4, 5, 6, END), GenerationConfig(3), think_end=7) == [*thinking, 4, 5, 6]
    assert run(wanting(*thinking, 4, END), GenerationConfig(3), think_end=7) == [*thinking, 4, END]


@pytest.fixture(scope="module")
def session(engine: LocalEngine, shapes_video: VideoInfo, decoder: Decoder) -> LocalSession:
    frames = decoder.frames_played_at(shapes_video, [index * 0.5 for index in range(40)], 96, 160)
    return engine.open_session(frames, Span(0, 20), capacity_tokens=4096)


def said(session: LocalSession, question: str, item: type[BaseModel] | None = None) -> str:
    generation = session.generate(question, max_new_tokens=MAX_CAPTION_TOKENS, item=item)
    assert "".join(generation) == generation.text
    assert generation.is_complete and not generation.is_repetitive
    return generation.text


@pytest.mark.parametrize(
    ("question", "item"),
    [
        (DENSE_CAPTIONS, TimedCaption),
        (localize_prompt("a red circle"), TimeRange),
        (localize_prompt("a white cross grows"), TimeRange),
    ],
)
def test_a_grammar_changes_nothing_that_was_right(session: LocalSession, question: str, item: type[BaseModel]) -> None:
    assert said(session, question, item) == said(session, question)


def test_a_grammar_makes_json_of_any_reply(session: LocalSession) -> None:
    question = "What happens at 4.2 seconds?"
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(said(session, question))
    generation = session.generate(question, max_new_tokens=MAX_CAPTION_TOKENS, item=TimedCaption)
    for _ in generation:
        pass
    if generation.is_complete:
        assert isinstance(json.loads(generation.text), list)
    else:
        assert generation.text.startswith("[")
    # And the next reply is free again.
    assert said(session, question).startswith("A red circle")


def test_a_reply_that_is_left_early_frees_the_session_at_once(session: LocalSession) -> None:
    expected = said(session, DENSE_CAPTIONS)
    pieces = iter(session.generate(DENSE_CAPTIONS, max_new_tokens=MAX_CAPTION_TOKENS))
    next(pieces)
    assert session._lock.locked()
    pieces.close()  # type: ignore[attr-defined]
    assert not session._lock.locked()
    assert said(session, DENSE_CAPTIONS) == expected


def test_a_second_question_reads_only_its_own_tokens(session: LocalSession) -> None:
    read: list[int] = []
    language = session.engine.model.model.language_model
    seen: list[int] = []
    handles = [
        language.register_forward_pre_hook(
            lambda _, arguments, named: read.append(named["input_ids"].shape[1]), with_kwargs=True
        ),
        session.engine.model.model.visual.register_forward_pre_hook(lambda *_: seen.append(1)),
    ]
    try:
        tokens = list(session.tokens("What happens at 4.2 seconds?", GenerationConfig(100)))
    finally:
        for handle in handles:
            handle.remove()
    question = session.engine.question_ids("What happens at 4.2 seconds?").shape[1]
    assert read == [question, *[1] * (len(tokens) - 1)]
    assert seen == []


def test_a_question_that_does_not_fit_behind_the_video_is_refused_and_the_next_one_answered(engine: LocalEngine) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    small = engine.open_session([black], Span(0, 4), capacity_tokens=160)
    with pytest.raises(InvalidQuestion, match="make it shorter"):
        list(small.generate("가나다라" * 100, max_new_tokens=5))
    assert "".join(small.generate("How many events are in the video?", max_new_tokens=5))


def test_a_reply_is_cut_off_where_the_room_ends_not_broken_off(engine: LocalEngine) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    question = "Where?"
    room = (
        engine.open_session([black], Span(0, 4), capacity_tokens=100).prompt_tokens + engine.question_ids(question).shape[1] + 20
    )
    small = engine.open_session([black], Span(0, 4), capacity_tokens=room)
    # A grammar over an endless list never lets it end by itself before the room does.
    generation = small.generate(question, max_new_tokens=5000, item=TimedCaption)
    list(generation)
    assert len(list(small.tokens(question, GenerationConfig(5000, TimedCaption)))) <= 20 + TIMESTAMP_SLACK_TOKENS


def test_a_checkpoint_that_thinks_has_room_for_it_and_keeps_its_thoughts_to_itself(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = TimedFrames(np.zeros((4, 64, 64, 3), np.uint8), np.arange(4.0))
    session = engine.open_session([black], Span(0, 4), capacity_tokens=400)
    # The bundled checkpoint as if it thought: up to its first full stop.
    stop = engine.processor.tokenizer.convert_tokens_to_ids(".")
    free = session.generate("What happens at 1.0 seconds?", max_new_tokens=50)
    assert "." in "".join(free)
    monkeypatch.setattr(engine, "think_end", stop)
    generation = session.generate("What happens at 1.0 seconds?", max_new_tokens=50)
    list(generation)
    assert "." not in generation.text
    assert generation.is_complete
