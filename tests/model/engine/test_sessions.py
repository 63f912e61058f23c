"""Tests of the session pool: reuse, eviction, offloading, and out-of-memory handling."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longview.core.timeline import Span
from longview.model.engine.base import VideoSession
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.errors import OutOfMemory
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.probing.probe import VideoInfo
from longview.video.sampling_plan import Purpose
from longview.video.synthetic import SHAPES
from tests.support.fakes import RecordedProgress
from tests.support.hf_reference import HFReference
from tests.support.sessions import PLENTY, open_session, reply_text


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
