"""Decoding steps of fixed shape against steps as they come, on random checkpoints of the real layouts."""

from collections.abc import Iterator

import pytest
import torch

from longview.model.engine.attention import attend_fixed
from longview.model.engine.cuda_graph import CudaGraphDecoder
from longview.model.engine.generation import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.errors import ContextOverflow
from tests.hf_reference import Plain
from tests.model.engine.test_attention import definition, states
from tests.model.engine.test_prefill import QUESTION, both, film, opened  # noqa: F401 (a fixture)


@pytest.fixture
def fixed(both: tuple[LocalEngine, Plain]) -> Iterator[LocalEngine]:  # noqa: F811
    """The engine with steps of fixed shape, as on a GPU."""
    engine, _ = both
    engine.uses_cuda_graph = True
    yield engine
    engine.uses_cuda_graph = False


@pytest.mark.parametrize(("prefix", "filled", "capacity"), [(0, 1, 30), (40, 41, 60), (5000, 5013, 5100), (5000, 5100, 5100)])
def test_attention_over_a_whole_cache_sees_only_what_is_filled(prefix: int, filled: int, capacity: int) -> None:
    query, key, value = states(8, 2, 1, capacity)
    key[:, :, filled:], value[:, :, filled:] = 1e4, 1e4
    threads = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        found = attend_fixed(query, key, value, prefix=prefix, write_slot=torch.tensor([filled - 1]), scale=0.3)
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(found, definition(query, key[:, :, :filled], value[:, :, :filled], 0.3), atol=1e-5)


def test_replies_are_the_same_whatever_was_asked_before(fixed: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = film(12, 64, 96)
    session = opened(fixed, [whole])
    ran: list[int] = []
    run = CudaGraphDecoder.__call__

    def counted(self: CudaGraphDecoder, ids: torch.Tensor) -> torch.Tensor:
        ran.append(ids.shape[1])
        return run(self, ids)

    monkeypatch.setattr(CudaGraphDecoder, "__call__", counted)
    questions = ["How many events are in the video? Tell me at length, please.", QUESTION, QUESTION]
    replies = [list(session.tokens(question, GenerationConfig(24))) for question in questions]
    assert set(ran) == {1} and len(ran) >= 60
    fixed.uses_cuda_graph = False
    for question, reply in zip(questions, replies, strict=True):
        assert reply == list(session.tokens(question, GenerationConfig(24)))
        assert len(reply) == 24


def test_a_parked_session_steps_on_in_its_new_memory(fixed: LocalEngine) -> None:
    session = opened(fixed, [film(12, 64, 96)])
    before = list(session.tokens(QUESTION, GenerationConfig(12)))
    session.offload()
    assert session._decoder is None
    assert list(session.tokens(QUESTION, GenerationConfig(12))) == before


def test_a_full_cache_is_said_and_nothing_is_overwritten(fixed: LocalEngine) -> None:
    session = opened(fixed, [film(12, 64, 96)])
    cache = session._cache
    with torch.inference_mode():
        step = CudaGraphDecoder(fixed.model, cache, prefix=session.prompt_tokens, rope_delta=0)
        for layer in cache.layers:
            layer.length = cache.capacity
        last = cache.layers[0].keys[:, :, -1].clone()
        with pytest.raises(ContextOverflow):
            step(torch.zeros((1, 1), dtype=torch.long))
    assert torch.equal(cache.layers[0].keys[:, :, -1], last)


@pytest.mark.gpu
def test_a_recorded_graph_gives_what_steps_give() -> None:
    from longview.model.engine.checkpoints import find_checkpoint

    engine = LocalEngine(find_checkpoint("demo"), device="cuda")
    session = opened(engine, [film(40, 96, 160)])
    recorded = list(session.tokens(QUESTION, GenerationConfig(64)))
    again = list(session.tokens(QUESTION, GenerationConfig(64)))
    assert session._decoder is not None and session._decoder._graph is not None
    engine.uses_cuda_graph = False
    assert recorded == again == list(session.tokens(QUESTION, GenerationConfig(64)))
