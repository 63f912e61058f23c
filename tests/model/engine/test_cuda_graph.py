"""Decoding steps of fixed shape against eager steps, on random checkpoints with the published layouts."""

from collections.abc import Iterator

import pytest
import torch

from longview.model.engine.attention import attend_fixed
from longview.model.engine.cuda_graph import CudaGraphDecoder
from longview.model.engine.generation import GenerationConfig
from longview.model.engine.kv_cache import PreallocatedKVCacheLayer
from longview.model.engine.local import LocalEngine
from longview.model.errors import ContextOverflow
from tests.hf_reference import HFReference
from tests.model.engine.test_attention import definition, states
from tests.model.engine.test_prefill import QUESTION, both, open_session, random_frames  # noqa: F401 (a fixture)


@pytest.fixture
def fixed_engine(both: tuple[LocalEngine, HFReference]) -> Iterator[LocalEngine]:  # noqa: F811
    """The engine with decoding steps of fixed shape, as on a GPU."""
    engine, _ = both
    engine.uses_cuda_graph = True
    yield engine
    engine.uses_cuda_graph = False


@pytest.mark.parametrize(("prefix", "filled", "capacity"), [(0, 1, 30), (40, 41, 60), (5000, 5013, 5100), (5000, 5100, 5100)])
def test_attend_fixed_ignores_unfilled_positions(prefix: int, filled: int, capacity: int) -> None:
    query, key, value = states(8, 2, 1, capacity)
    key[:, :, filled:], value[:, :, filled:] = 1e4, 1e4
    threads = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        out = attend_fixed(query, key, value, prefix=prefix, write_slot=torch.tensor([filled - 1]), scale=0.3)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(out, definition(query, key[:, :, :filled], value[:, :, :filled], 0.3), atol=1e-5)


def test_replies_do_not_depend_on_earlier_questions(fixed_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(fixed_engine, [random_frames(12, 64, 96)])
    step_lengths: list[int] = []
    call = CudaGraphDecoder.__call__

    def count_and_call(self: CudaGraphDecoder, ids: torch.Tensor) -> torch.Tensor:
        step_lengths.append(ids.shape[1])
        return call(self, ids)

    monkeypatch.setattr(CudaGraphDecoder, "__call__", count_and_call)
    questions = ["How many events are in the video? Tell me at length, please.", QUESTION, QUESTION]
    replies = [list(session.tokens(question, GenerationConfig(24))) for question in questions]
    assert set(step_lengths) == {1} and len(step_lengths) >= 60
    fixed_engine.uses_cuda_graph = False
    for question, reply in zip(questions, replies, strict=True):
        assert reply == list(session.tokens(question, GenerationConfig(24)))
        assert len(reply) == 24


def test_offloaded_session_gives_the_same_reply(fixed_engine: LocalEngine) -> None:
    session = open_session(fixed_engine, [random_frames(12, 64, 96)])
    before = list(session.tokens(QUESTION, GenerationConfig(12)))
    session.offload()
    assert session.cache.decoder is None
    assert list(session.tokens(QUESTION, GenerationConfig(12))) == before


def test_full_cache_raises_and_keeps_its_content(fixed_engine: LocalEngine) -> None:
    session = open_session(fixed_engine, [random_frames(12, 64, 96)])
    cache = session.cache.cache
    with torch.inference_mode():
        step = CudaGraphDecoder(fixed_engine.model, cache, prefix=session.prompt_tokens, rope_delta=0)
        full_layers = [layer for layer in cache.layers if isinstance(layer, PreallocatedKVCacheLayer)]
        for layer in full_layers:
            layer.length = cache.capacity
        last = full_layers[0].keys[:, :, -1].clone()
        with pytest.raises(ContextOverflow):
            step(torch.zeros((1, 1), dtype=torch.long))
    assert torch.equal(full_layers[0].keys[:, :, -1], last)


@pytest.mark.gpu
def test_captured_graph_equals_eager_steps() -> None:
    from longview.model.engine.checkpoints import find_checkpoint

    engine = LocalEngine(find_checkpoint("demo"), device="cuda")
    session = open_session(engine, [random_frames(40, 96, 160)])
    captured = list(session.tokens(QUESTION, GenerationConfig(64)))
    replayed = list(session.tokens(QUESTION, GenerationConfig(64)))
    assert session.cache.decoder is not None and session.cache.decoder._graph is not None
    engine.uses_cuda_graph = False
    assert captured == replayed == list(session.tokens(QUESTION, GenerationConfig(64)))
