"""What was read once is not read again, until the memory is needed."""

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

from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints import DEMO
from longview.model.engine.kv_cache import PreallocatedKVCacheLayer
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.video.decoder import Decoder, TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.probe import VideoInfo, probe
from longview.video.sampler import Purpose
from longview.video.synthetic import SHAPES, ShapesEvent, render
from longview.video.timeline import Span
from tests.hf_reference import Plain

PLENTY = 1 << 30


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[VideoInfo]:
    """Three short videos of one length and size, so that their sessions take the same memory."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        probe(render(folder / f"{shape}.mp4", [ShapesEvent(1, 5, "red", shape, "grows")], 6.0, fps=10)) for shape in SHAPES[:3]
    ]


@pytest.fixture(scope="module")
def plain() -> Plain:
    return Plain(DEMO)


@pytest.fixture
def reads(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each file was decoded; the frames are the real ones."""
    counted: Counter[Path] = Counter()
    read = decoder.frames_played_at

    def counting(video: VideoInfo, times_s: Sequence[float], *size: int, **options: Any) -> Iterator[TimedFrames]:
        counted[video.path] += 1
        return read(video, times_s, *size, **options)

    monkeypatch.setattr(decoder, "read", counting)
    return counted


def opened(pool: SessionPool, video: VideoInfo, span: Span | None = None, *, keep: bool = True) -> VideoSession:
    plan = pool.plan(video, "watch", span=span)
    return pool.session(video, plan, plan.windows[0], pin=keep)


def said(session: VideoSession, question: str) -> str:
    return "".join(session.generate(question, max_new_tokens=100))


def test_a_second_question_decodes_nothing_again(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    assert said(opened(pool, videos[0]), "What happens at 3.0 seconds?") == "A red circle grows."
    assert said(opened(pool, videos[0]), "How many events are in the video?") == "1."
    assert reads == {videos[0].path: 1}


def test_other_frames_of_the_same_video_are_another_session(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    assert opened(pool, videos[0]) is not opened(pool, videos[0], Span(0, 3))
    assert reads == {videos[0].path: 2}


def test_the_least_recently_used_goes_first_when_memory_runs_short(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    one_bytes = opened(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    reads.clear()
    pool = SessionPool(engine, decoder, memory_bytes=int(2.5 * one_bytes))
    first, second, third = videos
    for video in (first, second, first, third, first):
        opened(pool, video)
    assert reads == {first.path: 1, second.path: 1, third.path: 1}
    opened(pool, second)
    assert reads[second.path] == 2
    opened(pool, first)
    assert reads[first.path] == 1


def test_a_session_larger_than_the_memory_is_kept_until_the_next_one(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=0)
    for video in (videos[0], videos[0], videos[1], videos[0]):
        opened(pool, video)
    assert reads == {videos[0].path: 2, videos[1].path: 1}


def test_what_is_let_go_takes_no_memory_and_is_read_again(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    gone = weakref.ref(first := opened(pool, videos[0], keep=False))
    kept = opened(pool, videos[1])
    pool.release(first)
    del first
    gc.collect()
    assert gone() is None
    assert opened(pool, videos[1]) is kept
    opened(pool, videos[0])
    assert reads == {videos[0].path: 2, videos[1].path: 1}


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_what_someone_wants_kept_is_not_let_go_by_another(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder, order: tuple[bool, bool]
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    first, second = (opened(pool, videos[0], keep=keep) for keep in order)
    assert first is second
    pool.release(first)
    assert opened(pool, videos[0]) is first
    assert reads == {videos[0].path: 1}


def test_a_text_for_which_there_is_no_room_lets_the_videos_go_and_is_told(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    opened(pool, videos[0])
    tell = LocalEngine.generate
    full = [True]

    def full_once(self: LocalEngine, prompt: str, **options: Any) -> Any:
        if full and full.pop():
            raise OutOfMemory("There is no room.")
        return tell(self, prompt, **options)

    expected = pool.generate("How many events are in the video?", max_new_tokens=10)
    monkeypatch.setattr(LocalEngine, "tell", full_once)
    assert pool.generate("How many events are in the video?", max_new_tokens=10) == expected
    opened(pool, videos[0])
    assert reads == {videos[0].path: 2}


def test_two_users_of_one_window_open_it_once(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    together = threading.Barrier(3)
    got: list[VideoSession] = []

    def use() -> None:
        together.wait()
        got.append(opened(pool, videos[0]))

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(got) == 3 and len({id(session) for session in got}) == 1
    assert reads == {videos[0].path: 1}


def test_a_file_that_could_not_be_read_is_tried_again(
    engine: LocalEngine, videos: list[VideoInfo], monkeypatch: pytest.MonkeyPatch, decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)

    def failing(*_: object, **__: object) -> Iterator[TimedFrames]:
        raise UnreadableVideo("the disk was away")

    with monkeypatch.context() as patched:
        patched.setattr(decoder, "read", failing)
        with pytest.raises(UnreadableVideo):
            opened(pool, videos[0])
    assert said(opened(pool, videos[0]), "What happens at 3.0 seconds?") == "A red circle grows."


def test_opening_tells_how_far_the_decoding_has_come(engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder) -> None:
    parts: list[float] = []
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    plan = pool.plan(videos[0], "watch")
    pool.session(videos[0], plan, plan.windows[0], on_part=parts.append)
    assert parts == sorted(parts) and parts[-1] == 1.0


def test_a_smaller_context_makes_a_smaller_plan_and_a_larger_one_none_beyond_the_engine(
    engine: LocalEngine, shapes_video: VideoInfo, decoder: Decoder
) -> None:
    whole = SessionPool(engine, decoder, memory_bytes=PLENTY).plan(shapes_video)
    beyond = SessionPool(engine, decoder, memory_bytes=PLENTY, context_tokens=10**9).plan(shapes_video, context_tokens=10**9)
    assert beyond == whole
    for small in (
        SessionPool(engine, decoder, memory_bytes=PLENTY, context_tokens=2500).plan(shapes_video),
        SessionPool(engine, decoder, memory_bytes=PLENTY).plan(shapes_video, context_tokens=2500),
    ):
        assert small.total_tokens <= 2500 < whole.total_tokens


@pytest.mark.parametrize("purpose", ["watch", "caption", "look"])
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
def test_planned_tokens_are_what_the_processor_then_makes(
    engine: LocalEngine,
    plain: Plain,
    decoder: Decoder,
    shapes_video: VideoInfo,
    purpose: Purpose,
    duration_s: float,
    width: int,
    height: int,
    context: int,
) -> None:
    video = replace(shapes_video, duration_s=duration_s, width=width, height=height)
    plan = SessionPool(engine, decoder, memory_bytes=PLENTY).plan(video, purpose, context_tokens=context)
    tokenizer = engine.processor.tokenizer
    # All of the prompt that is neither picture nor time: template, and the outer pair of vision marks.
    template = len(tokenizer.encode(engine.prefix_text.replace(engine.processor.video_token, ""), add_special_tokens=False))
    windows = list(zip(plan.windows, plan.window_timestamp_tokens, plan.window_tokens, strict=True))
    for window, stamps, budgeted in {0: windows[0], len(windows) - 1: windows[-1]}.values():
        black = np.zeros((len(window.times_s), plan.height, plan.width, 3), np.uint8)
        times_s = np.asarray(window.times_s) - window.clock_offset_s
        if len(times_s) % 2:
            black, times_s = np.concatenate([black, black[-1:]]), np.append(times_s, times_s[-1])
        frames = TimedFrames(black, times_s)
        ids = plain.inputs(frames, "?")["input_ids"][0, : -engine.question_ids("?").shape[1]]
        visual = int((ids == engine.processor.video_token_id).sum())
        assert visual == window.temporal_patches * plan.tokens_per_patch
        assert len(ids) == visual + stamps + template
        assert len(ids) < budgeted <= context


def test_what_no_longer_fits_waits_in_the_hosts_memory(
    engine: LocalEngine, videos: list[VideoInfo], reads: Counter[Path], decoder: Decoder
) -> None:
    one_bytes = opened(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    reads.clear()
    first, second, third = videos
    pool = SessionPool(engine, decoder, memory_bytes=int(1.5 * one_bytes), host_bytes=int(1.5 * one_bytes))
    question = "What happens at 3.0 seconds?"
    answers = [said(opened(pool, video), question) for video in (first, second)]
    assert [said(opened(pool, video), question) for video in (first, second)] == answers
    assert reads == {first.path: 1, second.path: 1}
    # Only one more fits there: the oldest is read anew.
    opened(pool, third)
    opened(pool, second)
    assert said(opened(pool, first), question) == answers[0]
    assert reads == {first.path: 2, second.path: 1, third.path: 1}


def test_a_session_that_is_answering_is_not_parked(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    monkeypatch.setattr(PreallocatedKVCacheLayer, "move_to", lambda _, device, length: moved.append(str(device)))
    session = opened(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0])
    pieces = iter(session.generate("What happens at 3.0 seconds?", max_new_tokens=20))
    next(pieces)
    moved.clear()
    session.offload()
    assert moved == []
    list(pieces)
    session.offload()
    assert moved
    assert said(session, "How many events are in the video?") == "1."


def test_running_out_of_memory_lowers_the_budget_and_the_next_request_works(
    engine: LocalEngine,
    videos: list[VideoInfo],
    shapes_video: VideoInfo,
    decoder: Decoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    room = max(pool.plan(shapes_video).window_tokens)
    opened(pool, videos[1])
    allocate = PreallocatedKVCacheLayer.lazy_initialization
    tried: list[int] = []

    def with_little_memory(layer: PreallocatedKVCacheLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        """A device that has room for a little less than the plan wants."""
        tried.append(layer.capacity)
        if layer.capacity >= room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        allocate(layer, keys, values)

    monkeypatch.setattr(PreallocatedKVCacheLayer, "lazy_initialization", with_little_memory)
    with pytest.raises(OutOfMemory, match=r"at most \d+ tokens are read at once: ask again"):
        opened(pool, shapes_video)
    # Once more after all other videos were let go, and then no more.
    assert len(tried) == 2
    assert max(pool.plan(shapes_video).window_tokens) < room - 100
    assert said(opened(pool, shapes_video), "What happens at 4.2 seconds?").startswith("A red circle")


def test_a_session_that_was_parked_while_someone_was_about_to_ask_answers_all_the_same(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    move = PreallocatedKVCacheLayer.move_to

    def noting(layer: PreallocatedKVCacheLayer, device: torch.device, length: int) -> None:
        moved.append(str(device))
        move(layer, device, length)

    monkeypatch.setattr(PreallocatedKVCacheLayer, "move_to", noting)
    one_bytes = opened(SessionPool(engine, decoder, memory_bytes=PLENTY), videos[0]).size_bytes
    pool = SessionPool(engine, decoder, memory_bytes=int(1.2 * one_bytes), host_bytes=PLENTY)
    held = opened(pool, videos[0])
    opened(pool, videos[1])
    assert moved  # the other one needed its room
    moved.clear()
    assert said(held, "What happens at 3.0 seconds?") == "A red circle grows."
    assert moved and set(moved) == {engine.device}


def test_what_is_filled_moves_to_another_device_and_room_for_the_rest_is_made_there() -> None:
    layer = PreallocatedKVCacheLayer(10)
    layer.update(torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 4))
    layer.move_to(torch.device("meta"), 4)
    assert layer.keys is not None and layer.values is not None
    assert layer.keys.device.type == layer.values.device.type == "meta"
    assert layer.keys.shape == layer.values.shape == (1, 2, 10, 4)
    assert layer.capacity == 10


def test_two_users_ask_about_two_videos_at_once_and_each_gets_the_right_answer(
    engine: LocalEngine, videos: list[VideoInfo], decoder: Decoder
) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=PLENTY)
    answers: dict[tuple[int, int], str] = {}
    together = threading.Barrier(3)

    def use(number: int) -> None:
        together.wait()
        for turn in range(4):
            answers[number, turn] = said(opened(pool, videos[number]), "What happens at 3.0 seconds?")

    users = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert answers == {(number, turn): f"A red {SHAPES[number]} grows." for number in range(3) for turn in range(4)}
