"""Decoding steps of fixed shape against eager steps, on random checkpoints with the published layouts."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from longview.model.engine import loading
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.execution import cuda_graph
from longview.model.engine.execution.cuda_graph import MIN_EAGER_STEPS, CudaGraphDecoder
from longview.model.engine.execution.kv_cache import PreallocatedCache, PreallocatedKVCacheLayer
from longview.model.engine.execution.prefill import append_tokens
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.kernels.attention import attend_fixed
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.model.errors import ContextOverflow
from tests.model.engine.execution.test_prefill import QUESTION, both, open_session, random_frames  # noqa: F401 (a fixture)
from tests.model.engine.kernels.test_attention import definition, states
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import ROPE, random_model, save_random_checkpoint
from tests.support.tensor_memory import TensorMemory


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
    # The end of what is read is moved during a reply.
    monkeypatch.setattr(cuda_graph, "READ_STEP_TOKENS", 16)
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
        # Slots that nothing was written to may hold anything, NaN included, which is not equal to itself.
        last = full_layers[0].keys[:, :, -1].normal_().clone()
        with pytest.raises(ContextOverflow):
            step(torch.zeros((1, 1), dtype=torch.long))
    assert torch.equal(full_layers[0].keys[:, :, -1], last)


class FakeCuda:
    """What `torch.cuda` offers for a capture, on the CPU. `torch.cuda.graph` itself is that of torch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = threading.local()
        self.begin: Callable[[], object] = lambda: None
        self.end: Callable[[], object] = lambda: None
        self.replay: Callable[[], object] = lambda: None
        self.capturing_pools: list[tuple[int, int]] = []
        pool_numbers = count(1)
        for name, replacement in {
            "CUDAGraph": lambda: SimpleNamespace(
                capture_begin=self._capture_begin, capture_end=lambda: self.end(), replay=lambda: self.replay()
            ),
            "Stream": lambda *_: "capture stream",
            "stream": self._stream,
            "synchronize": lambda *_: None,
            "current_device": lambda: 0,
            "graph_pool_handle": lambda: (0, next(pool_numbers)),
        }.items():
            monkeypatch.setattr(torch.cuda, name, replacement)
        monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda _, pool: self.capturing_pools.remove(pool), raising=False)
        cuda_graph._capture_stream.cache_clear()

    @property
    def current_stream(self) -> str:
        return getattr(self.current, "stream", "default stream")

    @contextmanager
    def _stream(self, stream: str) -> Iterator[None]:
        previous, self.current.stream = self.current_stream, stream
        try:
            yield
        finally:
            self.current.stream = previous

    def _capture_begin(self, pool: tuple[int, int], **_: object) -> None:
        self.capturing_pools.append(pool)
        self.begin()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    yield FakeCuda(monkeypatch)
    cuda_graph._capture_stream.cache_clear()


@pytest.fixture(scope="module", params=["dense", "hybrid"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalSession:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_random_checkpoint(folder, request.param)
    return open_session(LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1), [random_frames(4, 64, 96)])


@torch.inference_mode()
def decode_steps(session: LocalSession, *, captures: bool) -> list[torch.Tensor]:
    """Decode some tokens, the last ones after the capture, and return the logits of each step."""
    cache = session.cache.cache
    decoder = CudaGraphDecoder(session.engine.model, cache, prefix=session.prompt_tokens, rope_delta=0)
    decoder._can_capture = captures
    logits = [decoder(torch.tensor([[token]])).clone() for token in range(10, 14 + MIN_EAGER_STEPS)]
    cache.crop_to(session.prompt_tokens)
    return logits


def assert_decodes_as_without_a_capture(session: LocalSession) -> None:
    eager = decode_steps(session, captures=False)
    assert all(map(torch.equal, decode_steps(session, captures=True), eager))


def test_a_replayed_graph_continues_as_eager_steps(
    session: LocalSession, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = CudaGraphDecoder._forward
    decoders: list[CudaGraphDecoder] = []
    outputs: list[torch.Tensor] = []
    captured: list[torch.Tensor] = []

    def record(decoder: CudaGraphDecoder) -> torch.Tensor:
        decoders.append(decoder)
        outputs.append(forward(decoder))
        return outputs[-1]

    monkeypatch.setattr(CudaGraphDecoder, "_forward", record)
    cuda.end = lambda: captured.append(outputs[-1])
    # As a graph does, repeat the step with what is in its tensors now, and write the logits to those of the capture.
    cuda.replay = lambda: captured[0].copy_(forward(decoders[-1]))
    assert_decodes_as_without_a_capture(session)
    # Eager steps, and the last ones by replay: one eager step and one capture precede them.
    assert len(outputs) == len(decode_steps(session, captures=False)) + MIN_EAGER_STEPS + 2
    assert len(captured) == 1


def test_a_graph_is_captured_again_where_a_reply_reaches_the_end_of_what_it_reads(
    session: LocalSession, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graph, "READ_STEP_TOKENS", MIN_EAGER_STEPS + 2)
    forward = CudaGraphDecoder._forward
    calls: list[tuple[CudaGraphDecoder, torch.Tensor]] = []
    captured: list[torch.Tensor] = []

    def record(decoder: CudaGraphDecoder) -> torch.Tensor:
        calls.append((decoder, forward(decoder)))
        return calls[-1][1]

    monkeypatch.setattr(CudaGraphDecoder, "_forward", record)
    cuda.end = lambda: captured.append(calls[-1][1])
    cuda.replay = lambda: captured[-1].copy_(forward(calls[-1][0]))
    assert_decodes_as_without_a_capture(session)
    assert len(captured) == 2


@torch.inference_mode()
def test_a_step_does_not_read_what_a_session_reserves_for_later() -> None:
    model = random_model(
        "dense",
        head_dim=128,
        num_attention_heads=8,
        num_key_value_heads=8,
        rope_parameters=ROPE | {"mrope_section": [24, 20, 20]},
    ).to(torch.bfloat16)
    model.set_attn_implementation(dict(loading.ATTENTION))
    prefix = 300
    cache = PreallocatedCache(read_layer_types(model.config.get_text_config(), "random"), prefix + 40_000)
    append_tokens(model, torch.full((1, prefix), 7), cache, 0)
    decoder = CudaGraphDecoder(model, cache, prefix=prefix, rope_delta=0)
    decoder(torch.tensor([[5]]))
    with TensorMemory() as memory:
        decoder(torch.tensor([[6]]))
    assert memory.peak_bytes < 20e6


def test_a_failed_capture_restores_stream_allocator_and_states(
    session: LocalSession, cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    streams: list[str] = []

    def fail() -> None:
        streams.append(cuda.current_stream)
        raise RuntimeError("operation failed due to a previous error during capture")

    cuda.end = fail
    assert_decodes_as_without_a_capture(session)
    assert streams == ["capture stream"] and cuda.current_stream == "default stream"
    assert cuda.capturing_pools == []
    assert "no graph can be captured: operation failed" in caplog.text


def test_a_graph_that_gives_nan_is_not_used(session: LocalSession, cuda: FakeCuda, caplog: pytest.LogCaptureFixture) -> None:
    outputs: list[torch.Tensor] = []
    cuda.replay = lambda: outputs[-1].fill_(torch.nan)
    handle = session.engine.model.lm_head.register_forward_hook(lambda _, __, logits: outputs.append(logits))
    try:
        assert_decodes_as_without_a_capture(session)
    finally:
        handle.remove()
    assert "differs by nan" in caplog.text


def test_two_sessions_do_not_capture_at_once(engine: LocalEngine, cuda: FakeCuda) -> None:
    sessions = [open_session(engine, [random_frames(4, 64, 96)]) for _ in range(2)]
    both_capturing = threading.Barrier(2)
    outcomes: list[str] = []

    def begin() -> None:
        try:
            both_capturing.wait(timeout=0.5)
            outcomes.append("together")
        except threading.BrokenBarrierError:
            outcomes.append("alone")

    cuda.begin = begin
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda session: decode_steps(session, captures=True), sessions))
    assert outcomes == ["alone", "alone"]


@pytest.mark.gpu
def test_captured_graph_equals_eager_steps() -> None:
    from longview.model.engine.checkpoints.checkpoints import find_checkpoint

    engine = LocalEngine(find_checkpoint("demo"), device="cuda")
    session = open_session(engine, [random_frames(40, 96, 160)])
    captured = list(session.tokens(QUESTION, GenerationConfig(64)))
    replayed = list(session.tokens(QUESTION, GenerationConfig(64)))
    assert session.cache.decoder is not None and session.cache.decoder._graph is not None
    engine.uses_cuda_graph = False
    assert captured == replayed == list(session.tokens(QUESTION, GenerationConfig(64)))
