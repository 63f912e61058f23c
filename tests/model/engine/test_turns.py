"""Two checkpoints on a device that holds only one: whose weights are there, who waits, and that replies stay the same."""

import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longview.model.engine.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.engine.turns import DeviceTurns, needs_turns
from longview.model.errors import OutOfMemory
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo
from longview.video.progress import NO_PROGRESS, Cancelled, Progress

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
    turns, first, second = DeviceTurns(), Weights(moves, "first"), Weights(moves, "second")
    for engine in (first, first, second, second, first):
        with turns.turn(engine, NO_PROGRESS), turns.turn(engine, NO_PROGRESS):
            pass
    assert moves == ["+first", "-first", "+second", "-second", "+first"]


def test_an_engine_that_waits_goes_before_new_users_of_the_other(moves: list[str]) -> None:
    turns, first, second = DeviceTurns(), Weights(moves, "first"), Weights(moves, "second")
    order: list[str] = []

    def use(engine: Weights, name: str) -> None:
        with turns.turn(engine, NO_PROGRESS):
            order.append(name)

    with turns.turn(first, NO_PROGRESS):
        waiting = [
            in_thread(threading.Thread(target=use, args=(second, "second"))),
            in_thread(threading.Thread(target=use, args=(first, "new user"))),
        ]
        # A thread that has the turn goes on, or both would wait for each other.
        use(first, "holder")
    for thread in waiting:
        thread.join(10)
    assert order == ["holder", "second", "new user"]


def test_waiting_for_a_turn_can_be_cancelled(moves: list[str]) -> None:
    turns, first, second = DeviceTurns(), Weights(moves, "first"), Weights(moves, "second")
    progress, errors = Progress(), []

    def wait() -> None:
        try:
            with turns.turn(second, progress):
                pass
        except Cancelled as error:
            errors.append(error)

    with turns.turn(first, NO_PROGRESS):
        thread = in_thread(threading.Thread(target=wait))
        progress.cancel()
        thread.join(10)
    assert len(errors) == 1 and moves == ["+first"]


def test_a_device_without_room_is_free_for_the_other_again(moves: list[str]) -> None:
    turns, first, large = DeviceTurns(), Weights(moves, "first"), Weights(moves, "large", fits=False)
    with turns.turn(first, NO_PROGRESS):
        pass
    with pytest.raises(OutOfMemory), turns.turn(large, NO_PROGRESS):
        pass
    with turns.turn(first, NO_PROGRESS):
        pass
    assert moves == ["+first", "-first", "+first"]


@pytest.fixture(scope="module")
def engines() -> tuple[LocalEngine, LocalEngine]:
    turns, checkpoint = DeviceTurns(), find_checkpoint("demo")
    first = turns.load(lambda: LocalEngine(checkpoint, device="cpu", turns=turns))
    return first, turns.load(lambda: LocalEngine(checkpoint, device="cpu", turns=turns))


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


@pytest.mark.gpu
def test_weights_leave_the_memory_of_a_gpu(engines: tuple[LocalEngine, LocalEngine]) -> None:
    turns, checkpoint = DeviceTurns(), find_checkpoint("demo")
    before = torch.cuda.memory_allocated()
    first = turns.load(lambda: LocalEngine(checkpoint, device="cuda", turns=turns))
    one = torch.cuda.memory_allocated() - before
    second = turns.load(lambda: LocalEngine(checkpoint, device="cuda", turns=turns))
    assert torch.cuda.memory_allocated() - before < 1.2 * one
    with first.turn():
        assert next(first.model.parameters()).device.type == "cuda"
        assert next(second.model.parameters()).device.type == "cpu"
        assert torch.cuda.memory_allocated() - before < 1.2 * one


@pytest.mark.parametrize(
    ("device_type", "device_bytes", "expected"),
    [("cuda", [24 * GB], True), ("cuda", [80 * GB], False), ("cuda", [24 * GB] * 2, False), ("cpu", [24 * GB], False)],
)
def test_checkpoints_take_turns_where_one_gpu_cannot_hold_both(device_type: str, device_bytes: list[int], expected: bool) -> None:
    large = replace(find_checkpoint("demo"), weight_bytes=12 * GB, max_context_tokens=1 << 18, kv_bytes_per_token=1 << 16)
    assert needs_turns((large, large), device_type, device_bytes) is expected
