"""Sessions of hybrid checkpoints (full and linear attention, as Qwen3.5) against one pass of plain transformers."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from longview.core.progress import NO_PROGRESS
from longview.model.engine.base import PrecedingText
from longview.model.engine.chat_template import clean_context
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.costs.estimates import SNAPSHOTS, Estimates
from longview.model.engine.costs.model_sizes import sizes_of
from longview.model.engine.execution import frame_batches
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.errors import InvalidCheckpoint
from longview.video.decoding.decoder import TimedFrames
from tests.model.engine.execution.test_prefill import QUESTION, open_session, random_frames
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import random_model, save_random_checkpoint

WORDS = "0.4 - 2.0: an event\n2.5 - 4.0: events in the video"
OTHER_WORDS = "1.0 - 3.0: how many events are in the video"
HEIGHT, WIDTH = 64, 96
TOKENS_PER_PATCH = HEIGHT * WIDTH // 1024
Both = tuple[LocalEngine, HFReference]


@pytest.fixture(scope="module", params=["hybrid", "hybrid mixture of experts"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_random_checkpoint(folder, request.param)
    return LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1), HFReference(folder)


def expected_reply(plain: HFReference, video: TimedFrames, words: str, question: str, tokens: int) -> list[int]:
    inputs = plain.inputs(video, clean_context(words) + question)
    ids = plain.model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
    reply: list[int] = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return reply


@pytest.mark.parametrize("patches", [1, 3, 8])
def test_hybrid_replies_equal_one_pass_in_any_order(both: Both, monkeypatch: pytest.MonkeyPatch, patches: int) -> None:
    engine, plain = both
    monkeypatch.setitem(frame_batches.CHUNK_TOKENS, "cpu", patches * TOKENS_PER_PATCH)
    video = random_frames(20, HEIGHT, WIDTH)
    session = open_session(engine, [video])
    questions = [QUESTION, "How many events are in the video?", "What happens at 1.0 seconds?"]
    expected = {
        (words, question): expected_reply(plain, video, words, question, 8)
        for words, question in itertools.product(["", WORDS, OTHER_WORDS], questions)
    }
    assert len({tuple(reply) for reply in expected.values()}) > 3
    turns = [("", 0), ("", 2), (WORDS, 1), (WORDS, 0), ("", 1), (OTHER_WORDS, 2), (WORDS, 2), (OTHER_WORDS, 0), ("", 0)]
    for words, number in turns:
        reply = list(session.tokens(questions[number], GenerationConfig(8), PrecedingText(words)))
        assert reply == expected[words, questions[number]][: len(reply)]
        assert len(reply) == 8 or reply[-1] in engine.end_tokens


def test_hybrid_session_survives_a_cancelled_reply_and_a_failed_context(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = both
    session = open_session(engine, [random_frames(12, HEIGHT, WIDTH)])
    before = session.first_logits(QUESTION), session.first_logits(QUESTION, WORDS)
    for _ in session.tokens(QUESTION, GenerationConfig(8), PrecedingText(WORDS)):
        break
    monkeypatch.setitem(frame_batches.CHUNK_TOKENS, "cpu", 2)
    calls = itertools.count()

    def fail_in_the_middle(*_: object) -> None:
        if next(calls) == 2:
            raise torch.OutOfMemoryError("out of memory")

    layer = engine.model.model.language_model.layers[-1]
    handle = layer.register_forward_pre_hook(fail_in_the_middle)
    with pytest.raises(Exception, match="enough memory for the transcript"):
        session.first_logits(QUESTION, OTHER_WORDS)
    handle.remove()
    assert torch.equal(session.first_logits(QUESTION), before[0])
    assert torch.allclose(session.first_logits(QUESTION, WORDS), before[1], atol=1e-4)


@pytest.mark.parametrize("words", ["", WORDS])
def test_offloaded_hybrid_session_gives_the_same_reply(both: Both, words: str) -> None:
    engine, _ = both
    session = open_session(engine, [random_frames(12, HEIGHT, WIDTH)])
    before = session.first_logits(QUESTION, words)
    cache = session.cache.cache
    # PyTorch keeps "cpu:0" apart from "cpu", so the cache moves as from a GPU to the host.
    home = torch.device("cpu", 0)
    for layer in cache.layers:
        layer.device = home
    states = [layer.recurrent_states[0] for layer in cache._linear]
    session.offload()
    assert {layer.device for layer in cache.layers} == {torch.device("cpu")}
    with torch.inference_mode():
        for state in states:
            state.fill_(torch.nan)
    assert torch.equal(session.first_logits(QUESTION, words), before)
    assert {layer.device for layer in cache.layers} == {home}
    # The video alone is still in the cache, too.
    assert torch.equal(
        session.first_logits(QUESTION), open_session(engine, [random_frames(12, HEIGHT, WIDTH)]).first_logits(QUESTION)
    )


def test_estimates_of_a_hybrid_equal_its_allocations(both: Both) -> None:
    engine, _ = both
    session = open_session(engine, [random_frames(12, HEIGHT, WIDTH)])
    session.cache.use_context(engine.context_ids(WORDS), NO_PROGRESS)
    assert session.cache.cache.size_bytes == engine.session_bytes(session.cache.cache.capacity)
    # Only a quarter of the layers has a KV cache.
    assert engine.estimates.kv_bytes_per_token == 2 * 2 * 2 * 32 * 4
    assert engine.estimates.state_bytes == 6 * (1 + SNAPSHOTS) * ((2 * 32 + 64) * 4 + 64 * 16) * 4
    assert engine.checkpoint.kv_bytes_per_token == engine.estimates.kv_bytes_per_token // 2
    dense = Estimates(sizes_of(random_model("dense")), "cpu")
    assert dense.state_bytes == 0 and dense.session_bytes(10) == 10 * dense.kv_bytes_per_token


def test_layers_that_cannot_be_cropped_are_named(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path, "hybrid")
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"full_attention"', '"sliding_attention"'))
    with pytest.raises(InvalidCheckpoint, match="layers with sliding attention, whose cache Longview cannot crop"):
        LocalEngine(find_checkpoint(str(tmp_path)), device="cpu")


def test_linear_layers_of_another_kind_are_refused() -> None:
    config = SimpleNamespace(layer_types=["linear_attention", "full_attention"])
    with pytest.raises(InvalidCheckpoint, match="m has layers with linear attention, whose cache Longview cannot crop"):
        read_layer_types(config, "m")


def test_a_state_returns_only_to_its_snapshots() -> None:
    cache = PreallocatedCache(["linear_attention", "full_attention"], 10)
    layer = cache.layers[0]
    layer.update_conv_state(torch.zeros(1, 2, 4), conv_kernel_size=4)
    layer.update_recurrent_state(torch.zeros(1, 1, 2, 2))
    cache.layers[1].update(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2))
    cache.snapshot()
    with pytest.raises(KeyError):
        cache.crop_to(3)
