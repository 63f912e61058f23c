"""Tests of the session pool: reuse, eviction, offloading, and out-of-memory handling."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.execution.kv_cache import PreallocatedKVCacheLayer
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampling_plan import Purpose
from longview.video.synthetic import SHAPES, ShapesEvent, render
from tests.support.fakes import RecordedProgress
from tests.support.hf_reference import HFReference

PLENTY = 1 << 30


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[VideoInfo]:
    """Three short videos of the same length and size, so that their sessions take the same memory."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        probe(render(folder / f"{shape}.mp4", [ShapesEvent(1, 5, "red", shape, "grows")], 6.0, fps=10)) for shape in SHAPES[:3]
    ]


@pytest.fixture(scope="module")
def plain() -> HFReference:
    return HFReference(DEMO)


@pytest.fixture
def decode_counts(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """The number of times that each file was decoded."""
    counts: Counter[Path] = Counter()
    frames_played_at = decoder.frames_played_at

    def counting(video: VideoInfo, times_s: Sequence[float], *size: int, **options: Any) -> Iterator[TimedFrames]:
        counts[video.path] += 1
        return frames_played_at(video, times_s, *size, **options)

    monkeypatch.setattr(decoder, "frames_played_at", counting)
    return counts


def open_session(pool: SessionPool, video: VideoInfo, span: Span | None = None, *, pin: bool = True) -> VideoSession:
    plan = pool.planner.plan(video, "qa", span=span)
    return pool.session(video, plan, plan.windows[0], pin=pin)


def reply_text(session: VideoSession, question: str) -> str:
    return "".join(session.generate(question, max_new_tokens=100))


def test_second_question_does_not_decode_again(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    assert reply_text(open_session(pool, videos[0]), "What happens at 3.0 seconds?") == "A red circle grows."
    assert reply_text(open_session(pool, videos[0]), "How many events are in the video?") == "1."
    assert decode_counts == {videos[0].path: 1}


def test_other_frames_of_the_same_video_get_another_session(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    assert open_session(pool, videos[0]) is not open_session(pool, videos[0], Span(0, 3))
    assert decode_counts == {videos[0].path: 2}


def test_least_recently_used_session_is_evicted_first(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    one_bytes = open_session(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    decode_counts.clear()
    pool = SessionPool(engine, decoder, memory_bytes=int(2.5 * one_bytes))
    first, second, third = videos
    for video in (first, second, first, third, first):
        open_session(pool, video)
    assert decode_counts == {first.path: 1, second.path: 1, third.path: 1}
    open_session(pool, second)
    assert decode_counts[second.path] == 2
    open_session(pool, first)
    assert decode_counts[first.path] == 1


def test_session_above_the_memory_limit_stays_until_the_next(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=0)
    for video in (videos[0], videos[0], videos[1], videos[0]):
        open_session(pool, video)
    assert decode_counts == {videos[0].path: 2, videos[1].path: 1}


def test_released_session_is_freed_and_decoded_again(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    reference = weakref.ref(first := open_session(pool, videos[0], pin=False))
    other = open_session(pool, videos[1])
    pool.release(first)
    del first
    gc.collect()
    assert reference() is None
    assert open_session(pool, videos[1]) is other
    open_session(pool, videos[0])
    assert decode_counts == {videos[0].path: 2, videos[1].path: 1}


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_pinned_session_is_not_released_by_another_user(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder, order: tuple[bool, bool]
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    first, second = (open_session(pool, videos[0], pin=pin) for pin in order)
    assert first is second
    pool.release(first)
    assert open_session(pool, videos[0]) is first
    assert decode_counts == {videos[0].path: 1}


def test_text_without_room_evicts_the_sessions(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    open_session(pool, videos[0])
    generate_text = LocalEngine.generate_text
    full = [True]

    def full_once(self: LocalEngine, prompt: str, **options: Any) -> Any:
        if full and full.pop():
            raise OutOfMemory("There is no room.")
        return generate_text(self, prompt, **options)

    expected = pool.generate_text("How many events are in the video?", max_new_tokens=10)
    monkeypatch.setattr(LocalEngine, "generate_text", full_once)
    assert pool.generate_text("How many events are in the video?", max_new_tokens=10) == expected
    open_session(pool, videos[0])
    assert decode_counts == {videos[0].path: 2}


def test_concurrent_users_open_a_window_once(
    engine: LocalEngine, videos: list[VideoInfo], decode_counts: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    barrier = threading.Barrier(3)
    sessions: list[VideoSession] = []

    def use() -> None:
        barrier.wait()
        sessions.append(open_session(pool, videos[0]))

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(sessions) == 3 and len({id(session) for session in sessions}) == 1
    assert decode_counts == {videos[0].path: 1}


def test_failed_opening_is_retried_on_the_next_request(
    engine: LocalEngine, videos: list[VideoInfo], monkeypatch: pytest.MonkeyPatch, decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)

    def failing(*_: object, **__: object) -> Iterator[TimedFrames]:
        raise UnreadableVideo("the disk is not available")

    with monkeypatch.context() as patched:
        patched.setattr(decoder, "frames_played_at", failing)
        with pytest.raises(UnreadableVideo):
            open_session(pool, videos[0])
    assert reply_text(open_session(pool, videos[0]), "What happens at 3.0 seconds?") == "A red circle grows."


def test_opening_reports_the_decoding_progress(engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder) -> None:
    progress = RecordedProgress()
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    plan = pool.planner.plan(videos[0], "qa")
    pool.session(videos[0], plan, plan.windows[0], progress=progress)
    progress.check_complete()


def test_context_limits_the_plan_up_to_that_of_the_engine(engine: LocalEngine, shapes_video: VideoInfo, decoder: Decoder) -> None:
    whole = SessionPool(engine, decoder, memory_bytes=PLENTY).planner.plan(shapes_video)
    beyond = SessionPool(engine, decoder, memory_bytes=PLENTY, context_tokens=10**9).planner.plan(
        shapes_video, context_tokens=10**9
    )
    assert beyond == whole
    for small in (
        SessionPool(engine, decoder, memory_bytes=PLENTY, context_tokens=2500).planner.plan(shapes_video),
        SessionPool(engine, decoder, memory_bytes=PLENTY).planner.plan(shapes_video, context_tokens=2500),
    ):
        assert small.total_tokens <= 2500 < whole.total_tokens


@pytest.mark.parametrize("purpose", ["qa", "caption", "refine"])
@pytest.mark.parametrize(
    ("duration_s", "width", "height", "context"),
    [
        (0.3, 64, 64, 4096),
        (20.0, 320, 192, 3000),
        (61.7, 1080, 1920, 30_000),
        (900.0, 1280, 720, 9000),
        (5000.0, 640, 480, 60_000),
    ],
)
def test_planned_tokens_equal_those_of_the_processor(
    engine: LocalEngine,
    plain: HFReference,
    decoder: Decoder,
    shapes_video: VideoInfo,
    purpose: Purpose,
    duration_s: float,
    width: int,
    height: int,
    context: int,
) -> None:
    video = replace(shapes_video, duration_s=duration_s, width=width, height=height)
    plan = SessionPool(engine, decoder, memory_bytes=PLENTY).planner.plan(video, purpose, context_tokens=context)
    tokenizer = engine.processor.tokenizer
    # The rest of the prompt is the template and the outer pair of vision tokens.
    template = len(
        tokenizer.encode(engine.chat_template.prefix.replace(engine.processor.video_token, ""), add_special_tokens=False)
    )
    windows = list(zip(plan.windows, plan.window_timestamp_tokens, plan.window_tokens, strict=True))
    for window, timestamp_tokens, planned_tokens in {0: windows[0], len(windows) - 1: windows[-1]}.values():
        black = np.zeros((len(window.times_s), plan.height, plan.width, 3), np.uint8)
        times_s = np.asarray(window.times_s) - window.clock_offset_s
        if len(times_s) % 2:
            black, times_s = np.concatenate([black, black[-1:]]), np.append(times_s, times_s[-1])
        frames = TimedFrames(black, times_s)
        ids = plain.inputs(frames, "?")["input_ids"][0, : -engine.question_ids("?").shape[1]]
        visual = int((ids == engine.processor.video_token_id).sum())
        assert visual == window.temporal_patches * plan.tokens_per_patch
        assert len(ids) == visual + timestamp_tokens + template
        assert len(ids) < planned_tokens <= context


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


def test_concurrent_users_of_several_videos_get_their_replies(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    answers: dict[tuple[int, int], str] = {}
    barrier = threading.Barrier(3)

    def use(number: int) -> None:
        barrier.wait()
        for turn in range(4):
            answers[number, turn] = reply_text(open_session(pool, videos[number]), "What happens at 3.0 seconds?")

    users = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert answers == {(number, turn): f"A red {SHAPES[number]} grows." for number in range(3) for turn in range(4)}


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
