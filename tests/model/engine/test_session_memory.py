"""Sessions when memory is short: they are offloaded, freed, and counted while they are used."""

import threading
from collections import Counter
from pathlib import Path

import pytest
import torch

from longview.model.engine.execution.kv_cache import PreallocatedKVCacheLayer
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.support.sessions import PLENTY, open_session, reply_text


def test_evicted_sessions_are_offloaded_to_the_host(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    one_bytes = open_session(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    decode_counts.clear()
    first, second, third = videos
    pool = SessionPool(engine, decoder, memory_bytes=int(1.5 * one_bytes), host_bytes=int(1.5 * one_bytes))
    question = "What happens at 3.0 seconds?"
    answers = [reply_text(open_session(pool, video), question) for video in (first, second)]
    assert [reply_text(open_session(pool, video), question) for video in (first, second)] == answers
    assert decode_counts == {first.path: 1, second.path: 1}
    # The host has room for one session, so the oldest is decoded again.
    open_session(pool, third)
    open_session(pool, second)
    assert reply_text(open_session(pool, first), question) == answers[0]
    assert decode_counts == {first.path: 2, second.path: 1, third.path: 1}


def test_session_in_use_is_not_offloaded(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    monkeypatch.setattr(PreallocatedKVCacheLayer, "move_to", lambda _, device, length: devices.append(str(device)))
    session = open_session(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0])
    pieces = iter(session.generate("What happens at 3.0 seconds?", max_new_tokens=20))
    next(pieces)
    devices.clear()
    session.offload()
    assert devices == []
    list(pieces)
    session.offload()
    assert devices
    assert reply_text(session, "How many events are in the video?") == "1."


def test_out_of_memory_lowers_the_context_for_later_plans(
    engine: LocalEngine,
    videos: list[VideoInfo],
    shapes_video: VideoInfo,
    decoder: Decoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    planned_tokens = max(pool.planner.plan(shapes_video).window_tokens)
    open_session(pool, videos[1])
    allocate = PreallocatedKVCacheLayer.lazy_initialization
    capacities: list[int] = []

    def with_little_memory(layer: PreallocatedKVCacheLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Allocate on a device with slightly less memory than the plan needs."""
        capacities.append(layer.capacity)
        if layer.capacity >= planned_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        allocate(layer, keys, values)

    monkeypatch.setattr(PreallocatedKVCacheLayer, "lazy_initialization", with_little_memory)
    with pytest.raises(OutOfMemory, match=r"context limit is now \d+ tokens\. Ask again"):
        open_session(pool, shapes_video)
    # The pool retries once, after it has evicted all other sessions.
    assert len(capacities) == 2
    assert max(pool.planner.plan(shapes_video).window_tokens) < planned_tokens - 100
    assert reply_text(open_session(pool, shapes_video), "What happens at 4.2 seconds?").startswith("A red circle")


def test_offloaded_session_answers_a_user_that_still_holds_it(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    move = PreallocatedKVCacheLayer.move_to

    def record_and_move(layer: PreallocatedKVCacheLayer, device: torch.device, length: int) -> None:
        devices.append(str(device))
        move(layer, device, length)

    monkeypatch.setattr(PreallocatedKVCacheLayer, "move_to", record_and_move)
    one_bytes = open_session(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    pool = SessionPool(engine, decoder, memory_bytes=int(1.2 * one_bytes), host_bytes=PLENTY)
    session = open_session(pool, videos[0])
    open_session(pool, videos[1])
    assert devices  # The other session needs its memory.
    devices.clear()
    assert reply_text(session, "What happens at 3.0 seconds?") == "A red circle grows."
    assert devices and set(devices) == {engine.device}


def test_cache_layer_moves_to_another_device() -> None:
    layer = PreallocatedKVCacheLayer(10)
    layer.update(torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 4))
    layer.move_to(torch.device("meta"), 4)
    assert layer.keys is not None and layer.values is not None
    assert layer.keys.device.type == layer.values.device.type == "meta"
    assert layer.keys.shape == layer.values.shape == (1, 2, 10, 4)
    assert layer.capacity == 10


def test_session_that_is_answering_stays_in_the_accounts(engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder) -> None:
    one_bytes = open_session(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    pool = SessionPool(engine, decoder, memory_bytes=int(1.2 * one_bytes), host_bytes=PLENTY)
    busy = open_session(pool, videos[0])
    pieces = iter(busy.generate("What happens at 3.0 seconds?", max_new_tokens=20))
    next(pieces)
    open_session(pool, videos[1])
    # It can be neither moved nor freed, so it counts beside the new session.
    assert pool._device_bytes() > 1.8 * one_bytes
    assert open_session(pool, videos[0]) is busy
    list(pieces)
    open_session(pool, videos[2])
    assert pool._device_bytes() <= 1.2 * one_bytes


def test_evicted_session_counts_until_its_user_drops_it(engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1)
    used = open_session(pool, videos[0])
    open_session(pool, videos[1])
    both_bytes = pool._device_bytes()
    assert both_bytes > used.size_bytes
    assert reply_text(used, "How many events are in the video?") == "1."
    del used
    assert pool._device_bytes() < both_bytes


def test_out_of_memory_waits_for_a_reply_and_keeps_the_context(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    context_tokens = pool.planner.context_tokens
    busy = [open_session(pool, videos[0])]
    pieces = [iter(busy[0].generate("What happens at 3.0 seconds?", max_new_tokens=20))]
    next(pieces[0])
    allocate = PreallocatedKVCacheLayer.lazy_initialization

    def with_memory_for_one(layer: PreallocatedKVCacheLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        if busy:
            raise torch.OutOfMemoryError("CUDA out of memory")
        allocate(layer, keys, values)

    monkeypatch.setattr(PreallocatedKVCacheLayer, "lazy_initialization", with_memory_for_one)

    def finish() -> None:
        list(pieces.pop())
        busy.clear()

    timer = threading.Timer(0.5, finish)
    timer.start()
    assert reply_text(open_session(pool, videos[1]), "How many events are in the video?") == "1."
    timer.join()
    assert pool.planner.context_tokens == context_tokens


def test_out_of_memory_beside_a_used_session_keeps_the_context(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    context_tokens = pool.planner.context_tokens
    used = open_session(pool, videos[0])

    def without_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PreallocatedKVCacheLayer, "lazy_initialization", without_memory)
    with pytest.raises(OutOfMemory, match="Other questions are using the memory now; ask again"):
        open_session(pool, videos[1])
    assert pool.planner.context_tokens == context_tokens
    assert reply_text(used, "How many events are in the video?") == "1."
