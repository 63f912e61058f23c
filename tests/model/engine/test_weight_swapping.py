"""Two checkpoints on a device that holds only one: whose weights are there, who waits, and that replies stay the same."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from longview.core.progress import NO_PROGRESS, Cancelled, Progress
from longview.model.engine import movable_weights
from longview.model.engine import weight_swapping as turns_module
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.movable_weights import MovableWeights
from longview.model.engine.sessions import SessionPool
from longview.model.engine.weight_swapping import DeviceScheduler, can_swap_weights, fit_together
from longview.model.errors import DeviceBusy, OutOfMemory
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo

GB = 10**9
QUESTION = "What happens at 3.0 seconds?"


class Weights:
    """An engine that only notes its moves."""

    def __init__(self, moves: list[str], name: str, *, fits: bool = True) -> None:
        self.moves, self.name, self.fits = moves, name, fits

    def leave_device(self) -> None:
        self.moves.append(f"-{self.name}")

    def enter_device(self) -> None:
        if not self.fits:
            raise OutOfMemory("no room")
        self.moves.append(f"+{self.name}")


@pytest.fixture
def moves() -> list[str]:
    return []


def in_thread(run: threading.Thread) -> threading.Thread:
    run.start()
    time.sleep(0.1)
    return run


def test_weights_move_only_when_another_engine_needs_the_device(moves: list[str]) -> None:
    scheduler, first, second = DeviceScheduler(), Weights(moves, "first"), Weights(moves, "second")
    for engine in (first, first, second, second, first):
        with scheduler.hold(engine, NO_PROGRESS), scheduler.hold(engine, NO_PROGRESS):
            pass
    assert moves == ["+first", "-first", "+second", "-second", "+first"]


def test_an_engine_that_waits_goes_before_new_users_of_the_other(moves: list[str]) -> None:
    scheduler, first, second = DeviceScheduler(), Weights(moves, "first"), Weights(moves, "second")
    order: list[str] = []

    def use(engine: Weights, name: str) -> None:
        with scheduler.hold(engine, NO_PROGRESS):
            order.append(name)

    with scheduler.hold(first, NO_PROGRESS):
        waiting = [
            in_thread(threading.Thread(target=use, args=(second, "second"))),
            in_thread(threading.Thread(target=use, args=(first, "new user"))),
        ]
        # A thread that holds the device continues, or both would wait for each other.
        use(first, "holder")
    for thread in waiting:
        thread.join(10)
    assert order == ["holder", "second", "new user"]


def test_waiting_for_a_turn_can_be_cancelled(moves: list[str]) -> None:
    scheduler, first, second = DeviceScheduler(), Weights(moves, "first"), Weights(moves, "second")
    progress, errors = Progress(), []

    def wait() -> None:
        try:
            with scheduler.hold(second, progress):
                pass
        except Cancelled as error:
            errors.append(error)

    with scheduler.hold(first, NO_PROGRESS):
        thread = in_thread(threading.Thread(target=wait))
        progress.cancel()
        thread.join(10)
    assert len(errors) == 1 and moves == ["+first"]


def test_a_device_without_room_is_free_for_the_other_again(moves: list[str]) -> None:
    scheduler, first, large = DeviceScheduler(), Weights(moves, "first"), Weights(moves, "large", fits=False)
    with scheduler.hold(first, NO_PROGRESS):
        pass
    with pytest.raises(OutOfMemory), scheduler.hold(large, NO_PROGRESS):
        pass
    with scheduler.hold(first, NO_PROGRESS):
        pass
    assert moves == ["+first", "-first", "+first"]


@pytest.fixture(scope="module")
def engines() -> tuple[LocalEngine, LocalEngine]:
    scheduler, checkpoint = DeviceScheduler(), find_checkpoint("demo")
    first = scheduler.load(lambda: LocalEngine(checkpoint, device="cpu", scheduler=scheduler))
    return first, scheduler.load(lambda: LocalEngine(checkpoint, device="cpu", scheduler=scheduler))


def test_sessions_and_replies_survive_the_turns_of_the_other(
    engines: tuple[LocalEngine, LocalEngine],
    shapes_video: VideoInfo,
    decoder: Decoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decodings: Counter[Path] = Counter()
    decode = Decoder.frames_played_at

    def count_and_decode(decoder: Decoder, video: VideoInfo, *arguments: object, **keywords: object) -> object:
        decodings[video.path] += 1
        return decode(decoder, video, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "frames_played_at", count_and_decode)
    pools = [SessionPool(engine, decoder, memory_bytes=GB, host_bytes=GB) for engine in engines]
    for engine, pool in zip(engines, pools, strict=True):
        engine.before_leaving = pool.vacate
    plan = pools[0].planner.plan(shapes_video)

    def reply(pool: SessionPool) -> str:
        session = pool.session(shapes_video, plan, plan.windows[0])
        return "".join(session.generate(QUESTION, max_new_tokens=20))

    first_reply = reply(pools[0])
    weights = next(engines[0].model.parameters()).data_ptr()
    assert first_reply.startswith("A ") and reply(pools[1]) == first_reply
    # The first engine's weights are the host's copy meanwhile, and its session is not on the device.
    assert next(engines[0].model.parameters()).data_ptr() != weights
    assert [reply(pools[0]), reply(pools[1]), reply(pools[0])] == [first_reply] * 3
    # Each engine has decoded the video once.
    assert decodings == {shapes_video.path: 2}
    # Replies of both at once wait for each other, and the speed can be measured between them.
    replies: list[str] = []
    threads = [threading.Thread(target=lambda pool=pool: replies.append(reply(pool))) for pool in pools * 3]
    for thread in threads:
        thread.start()
    assert engines[1].speed() is not None
    for thread in threads:
        thread.join(60)
    assert replies == [first_reply] * 6


def test_a_turn_that_does_not_come_leaves_the_context_as_it_is(
    engines: tuple[LocalEngine, LocalEngine], shapes_video: VideoInfo, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = engines
    pool = SessionPool(second, decoder, memory_bytes=GB)
    plan, context_tokens = pool.planner.plan(shapes_video), pool.planner.context_tokens
    monkeypatch.setattr(turns_module, "MAX_WAIT_S", 0.1)
    with first.hold_device():
        other = ThreadPoolExecutor(1)
        with pytest.raises(DeviceBusy, match="ask again"):
            other.submit(pool.session, shapes_video, plan, plan.windows[0]).result(30)
    assert pool.planner.context_tokens == context_tokens
    assert pool.session(shapes_video, plan, plan.windows[0]).prompt_tokens > 0


def test_weights_stay_where_the_host_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = torch.nn.Linear(4, 4)
    model.device = torch.device("cpu")
    weights, before = MovableWeights(model), model.weight.data_ptr()
    monkeypatch.setattr(movable_weights, "MAX_HOST_COPY_SHARE", 0.0)
    with pytest.raises(DeviceBusy, match="--grounding-server"):
        weights.leave()
    assert model.weight.data_ptr() == before


@pytest.mark.gpu
def test_replies_are_the_same_after_weights_and_caches_have_left_a_gpu(shapes_video: VideoInfo, decoder: Decoder) -> None:
    scheduler, checkpoint = DeviceScheduler(), find_checkpoint("demo")
    before = torch.cuda.memory_allocated()
    first = scheduler.load(lambda: LocalEngine(checkpoint, device="cuda", scheduler=scheduler))
    one = torch.cuda.memory_allocated() - before
    second = scheduler.load(lambda: LocalEngine(checkpoint, device="cuda", scheduler=scheduler))
    assert torch.cuda.memory_allocated() - before < 1.2 * one
    pools = [SessionPool(engine, decoder, memory_bytes=GB, host_bytes=GB) for engine in (first, second)]
    for engine, pool in zip((first, second), pools, strict=True):
        engine.before_leaving = pool.vacate
    plan = pools[0].planner.plan(shapes_video)
    # Longer than the eager steps before a CUDA graph is captured, and again after it was dropped.
    replies = [
        "".join(pool.session(shapes_video, plan, plan.windows[0]).generate("List all events.", max_new_tokens=64))
        for pool in pools * 2
    ]
    assert len(set(replies)) == 1
    assert next(first.model.parameters()).device.type == "cpu"
    assert next(second.model.parameters()).device.type == "cuda"


@pytest.mark.parametrize(("gigabytes", "expected"), [(24, False), (80, True)])
def test_checkpoints_take_turns_where_one_gpu_cannot_hold_both(gigabytes: int, expected: bool) -> None:
    assert fit_together([12 * GB, 9 * GB], [32_768, 147_456], gigabytes * GB) is expected
    assert [can_swap_weights(*machine) for machine in (("cuda", 1), ("cuda", 2), ("cpu", 1), ("mps", 1))] == [
        True, False, False, False,
    ]  # fmt: skip
