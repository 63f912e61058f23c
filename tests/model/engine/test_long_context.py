"""The engine at 262,144 tokens, and at 1,000,000 by YaRN, on a CPU; see `tests.support.long_sessions`.

All tests took 5.8 minutes with one thread on two shared cores (5.5 minutes of CPU time). To fill a context up to the first logits
took 87 s (dense) and 62 s (hybrid) at 262,144 tokens, and 35 s and 47 s at 1,000,000.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from longview.core.progress import NO_PROGRESS
from longview.model.engine.base import PrecedingText
from longview.model.engine.chat_template import clean_context
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.local import MIN_REPLY_TOKENS, TIMESTAMP_SLACK_TOKENS, LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.probing.probe import VideoInfo
from tests.support.long_sessions import (
    EXTENDED_TOKENS,
    HEIGHT_PX,
    NATIVE_TOKENS,
    QUESTION,
    WIDTH_PX,
    Case,
    noise,
    open_case,
    plain_model,
    write_transcript,
)
from tests.support.random_checkpoints import LAYOUTS, save_random_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OTHER_QUESTION = "How many events are in the video?"
REPLY_TOKENS = 8


@pytest.fixture(
    scope="module",
    params=[(layout, tokens) for tokens in (NATIVE_TOKENS, EXTENDED_TOKENS) for layout in ("dense", "hybrid")],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shapes_video: VideoInfo, decoder: Decoder
) -> Iterator[Case]:
    layout, context_tokens = request.param
    folder = tmp_path_factory.mktemp("checkpoint")
    # The measurement takes longer than the computation where there are many small operations.
    measured = request.param == ("dense", NATIVE_TOKENS)
    with open_case(layout, context_tokens, folder, shapes_video, decoder, measured=measured) as case:
        yield case


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_at_8192_tokens_equal_those_of_one_pass(
    tmp_path: Path, shapes_video: VideoInfo, decoder: Decoder, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    save_random_checkpoint(tmp_path, layout, max_position_embeddings=NATIVE_TOKENS)
    engine = LocalEngine(find_checkpoint(str(tmp_path)), device="cpu", cpu_threads=1)
    pool = SessionPool(engine, decoder, takes_transcript=True, context_tokens=8192 + engine.reserved_tokens)
    video = replace(shapes_video, duration_s=600.0, width=WIDTH_PX, height=HEIGHT_PX)
    plan = pool.planner.plan(video)
    times_s = np.asarray(plan.windows[0].times_s)
    monkeypatch.setattr(decoder, "frames_played_at", lambda _, __, height, width, **___: noise(times_s, height, width))
    session = pool.session(video, plan, plan.windows[0])
    assert isinstance(session, LocalSession)
    words = write_transcript(engine, plan.window_transcript_tokens[0])
    chunks = list(noise(times_s, plan.height, plan.width))
    frames = TimedFrames(np.concatenate([chunk.frames for chunk in chunks]), times_s)
    expected = plain_model(tmp_path, engine).logits(frames, clean_context(words) + QUESTION)
    assert (session.first_logits(QUESTION, words) - expected).abs().max() <= 1e-4
    assert 0.95 * 8192 < session.cache.fixed_tokens <= 8192


def test_plan_fills_the_context_with_what_is_prefilled(case: Case) -> None:
    (planned_tokens,) = case.plan.window_tokens
    context_tokens = case.engine.context_tokens
    assert context_tokens in (NATIVE_TOKENS, EXTENDED_TOKENS)
    assert 0.99 * context_tokens < planned_tokens <= context_tokens
    used_tokens = case.session.cache.fixed_tokens
    assert 0 <= planned_tokens - case.plan.reserved_tokens - used_tokens < 100
    assert torch.equal(case.session.prefix_ids, case.prompt_ids[:, : case.session.prompt_tokens])
    assert case.session.frames == len(case.times_s) == case.plan.frames


def test_timestamps_are_the_true_times(case: Case) -> None:
    ids = case.session.prefix_ids[0]
    text = case.engine.processor.tokenizer.decode(ids[ids != case.engine.processor.video_token_id])
    stated_s = [float(number) for number in re.findall(r"<(\d+\.\d) seconds>", text)]
    assert stated_s == [patch.timestamp_s for patch in case.session.patches]
    true_s = case.times_s.reshape(-1, 2).mean(axis=1)
    # The processor gets whole milliseconds.
    assert np.abs(np.array(stated_s) - true_s).max() <= 0.0505
    assert stated_s[-1] > 7190 and np.diff(stated_s).min() > 3


def test_positions_and_rotations_equal_those_of_the_whole_prompt(case: Case) -> None:
    recorder = case.recorder
    assert np.array_equal(np.concatenate(recorder.positions, axis=1), case.positions.numpy())
    language = case.plain.model.model.language_model
    with torch.inference_mode():
        expected = torch.cat(language.rotary_emb(torch.zeros(1), case.positions.unsqueeze(1)), dim=-1)[0]
    assert np.abs(np.concatenate(recorder.rotations) - expected.numpy()).max() <= 1e-6
    assert case.engine.checkpoint.yarn_factor == (3.0 if case.engine.context_tokens == EXTENDED_TOKENS else 1.0)


def test_memory_is_that_of_the_cache_and_one_chunk(case: Case) -> None:
    capacity = case.plan.window_tokens[0] + TIMESTAMP_SLACK_TOKENS
    assert case.session.cache.cache.capacity == capacity
    assert case.session.cache.cache.size_bytes <= case.engine.session_bytes(capacity)
    if case.peak_bytes is not None:
        assert case.peak_bytes <= case.engine.session_bytes(capacity) + case.engine.estimates.chunk_bytes


def test_attention_equals_its_definition_at_all_depths(case: Case) -> None:
    rows = case.recorder.rows
    # The words and the question are in the cache, as when the rows were recorded.
    assert torch.equal(case.session.first_logits(QUESTION, case.words), case.logits)
    assert len(rows) > 20 and max(row.length for row in rows) > 0.95 * case.engine.context_tokens
    assert max(row.error(case.session.cache.cache) for row in rows) <= 1e-4


def test_logits_equal_those_of_transformers_over_the_same_cache(case: Case) -> None:
    past = copy.deepcopy(case.session.cache.cache)
    length = past.get_seq_length()
    language = case.plain.model.model.language_model
    with torch.inference_mode():
        states = language(
            input_ids=case.prompt_ids[:, length:], position_ids=case.positions[:, None, length:], past_key_values=past
        ).last_hidden_state
        expected = case.plain.model.lm_head(states[0, -1])
    assert expected.std() > 0.5
    assert (case.logits - expected).abs().max() <= 1e-4
    assert (case.session.first_logits(OTHER_QUESTION, case.words) - expected).abs().max() > 0.1


def test_states_of_linear_layers_equal_those_of_one_pass(case: Case) -> None:
    linear = case.session.cache.cache._linear
    if not linear or case.engine.context_tokens != NATIVE_TOKENS:
        pytest.skip("There are no linear layers, or one pass takes too much memory.")
    embeddings = torch.from_numpy(np.concatenate(case.recorder.embeddings)).unsqueeze(0)
    video_end = case.session.prompt_tokens
    assert embeddings.shape[1] == video_end
    language = case.plain.model.model.language_model
    past = DynamicCache(config=language.config)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        # Only the layers before the one with full attention, which is compared row by row.
        patch.setattr(language.config, "num_hidden_layers", len(linear))
        language(inputs_embeds=embeddings, position_ids=case.positions[:, None, :video_end], past_key_values=past, use_cache=True)
    for layer, reference in zip(linear, past.layers[: len(linear)], strict=True):
        expected = reference.conv_states[0], reference.recurrent_states[0]
        for states, expected_states in zip(layer._snapshots[video_end], expected, strict=True):
            assert expected_states.norm() > 1
            assert (states - expected_states).norm() <= 1e-5 * expected_states.norm()


def test_later_questions_equal_those_of_a_session_without_the_first(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engine = case.session, case.engine
    reply = list(session.tokens(QUESTION, GenerationConfig(REPLY_TOKENS), PrecedingText(case.words)))
    assert int(case.logits.argmax()) == reply[0]
    with_words = session.first_logits(OTHER_QUESTION, case.words)
    # The same with steps of fixed shape, as on a GPU.
    monkeypatch.setattr(engine, "uses_cuda_graph", True)
    assert list(session.tokens(QUESTION, GenerationConfig(REPLY_TOKENS), PrecedingText(case.words))) == reply
    monkeypatch.setattr(engine, "uses_cuda_graph", False)
    assert torch.equal(session.first_logits(OTHER_QUESTION, case.words), with_words)
    # The session moves to the host and back, as from a GPU: PyTorch keeps "cpu:0" apart from "cpu".
    home = torch.device("cpu", 0)
    for layer in session.cache.cache.layers:
        layer.device = home
    session.offload()
    assert {layer.device for layer in session.cache.cache.layers} == {torch.device("cpu")}
    assert torch.equal(session.first_logits(OTHER_QUESTION, case.words), with_words)
    assert {layer.device for layer in session.cache.cache.layers} == {home}
    # Cropped to the end of the video.
    without_words = session.first_logits(OTHER_QUESTION)
    assert torch.equal(without_words, case.twin.first_logits(OTHER_QUESTION))
    assert (without_words - with_words).abs().max() > 1e-3
    assert torch.equal(with_words, case.twin.first_logits(OTHER_QUESTION, case.words))


def test_reply_fills_the_reserve_to_the_end(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engine = case.twin, case.engine
    session.cache.use_context(engine.context_ids(case.words), NO_PROGRESS)
    free_tokens = session.cache.free_tokens
    monkeypatch.setattr(engine, "end_tokens", frozenset())
    # With this penalty no token comes twice, so that the reply is not ended as a repetition.
    config = GenerationConfig(engine.reserved_tokens, presence_penalty=1e6)
    question_tokens = engine.question_ids("?").shape[1]
    event_tokens = engine.question_ids("? event").shape[1] - question_tokens
    question = "?" + " event" * ((free_tokens - MIN_REPLY_TOKENS - question_tokens) // event_tokens)
    reply = list(session.tokens(question, config, PrecedingText(case.words)))
    assert len(reply) == free_tokens - engine.question_ids(question).shape[1] >= MIN_REPLY_TOKENS
    with pytest.raises(InvalidQuestion, match="do not fit into the context"):
        list(session.tokens(question + " event", config, PrecedingText(case.words)))
    assert session.cache.cache.get_seq_length() == session.cache.fixed_tokens
