"""Tests of the measured speed: what it measures, where it is kept, and what estimates make of it."""

import json
import re
import threading
import time
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from longview.core.progress import Cancelled, Progress
from longview.model.engine import loading, local
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.costs import number_formats
from longview.model.engine.costs.calibration import machine_key
from longview.model.engine.costs.format_times import FormatTimes
from longview.model.engine.costs.machine_cache import SPEEDS_FILE
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.number_formats import format_times
from longview.model.engine.costs.speed_cache import load_speed, save_speed
from longview.model.engine.costs.speed_meter import SpeedMeter
from longview.model.engine.execution.prefill import Prefill
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.model.engine.execution.test_prefill import QUESTION, open_session, random_frames
from tests.support.cancelling import cancel_during
from tests.support.random_checkpoints import save_random_checkpoint

SPEED = Speed(flops_per_s=1e9, attention_flops_per_s=5e8, step_s=0.01, step_s_per_token=1e-6)


def test_speed_is_measured_once_for_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_random_checkpoint(tmp_path / "checkpoint", "hybrid")
    checkpoint = find_checkpoint(str(tmp_path / "checkpoint"))
    first = LocalEngine(checkpoint, device="cpu", cpu_threads=1, cache=tmp_path / "cache")
    speed = first.speed()
    assert (
        speed is not None
        and speed.flops_per_s > 0
        and speed.attention_flops_per_s > 0
        and 0 < speed.step_s < 1
        and speed.step_s_per_token >= 0
    )

    def fail(*_: object, **__: object) -> Speed:
        raise AssertionError("measured again")

    monkeypatch.setattr(local, "measure_speed", fail)
    assert first.speed() == speed
    assert LocalEngine(checkpoint, device="cpu", cpu_threads=1, cache=tmp_path / "cache").speed() == speed
    # Another number of threads is another speed, and without a folder nothing is kept.
    with pytest.raises(AssertionError, match="measured again"):
        LocalEngine(checkpoint, device="cpu", cpu_threads=2, cache=tmp_path / "cache").speed()
    with pytest.raises(AssertionError, match="measured again"):
        LocalEngine(checkpoint, device="cpu", cpu_threads=1).speed()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [SPEEDS_FILE]


def speed_text(**values: object) -> str:
    return json.dumps({"key": asdict(SPEED) | values})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "[]",
        "[" * 100_000,
        '{"key": {"flops_per_s": 1}}',
        '{"key": []}',
        speed_text(step_s="0.01"),
        speed_text(step_s=0.0),
        speed_text(flops_per_s=float("nan")),
        speed_text(attention_flops_per_s=float("inf")),
        speed_text(flops_per_s=10**400),
        speed_text(step_s=None),
        speed_text(step_s=True),
        speed_text(other=1.0),
        speed_text(filler="x" * (1 << 20)),
    ],
)
def test_damaged_file_of_speeds_is_measured_again_and_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / SPEEDS_FILE).write_text(content)
    assert load_speed(tmp_path, "key") is None
    save_speed(tmp_path, "key", SPEED)
    assert load_speed(tmp_path, "key") == SPEED
    save_speed(tmp_path, "other", SPEED)
    assert set(json.loads((tmp_path / SPEEDS_FILE).read_text())) >= {"key", "other"}


def test_number_formats_are_measured_once_for_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number_formats._measure.cache_clear()
    times = format_times(tmp_path)
    assert min(astuple(times)) > 0 and times.float32_rows_s > times.float32_row_s
    # Another process on this machine has nothing in its memory. The kept times decide.
    number_formats._measure.cache_clear()
    assert format_times(tmp_path) == times
    document = json.loads((tmp_path / SPEEDS_FILE).read_text())
    ((key, kept),) = document.items()
    kept["bfloat16_rows_s"] = kept["bfloat16_row_s"] = 1e-9
    (tmp_path / SPEEDS_FILE).write_text(json.dumps(document))
    assert format_times(tmp_path).is_bfloat16_faster and format_times(tmp_path).is_bfloat16_faster_than_int8
    # Loading uses them, too.
    monkeypatch.setattr(loading, "MIN_LARGE_BYTES", 0)
    save_random_checkpoint(tmp_path / "checkpoint", "dense")
    checkpoint = find_checkpoint(str(tmp_path / "checkpoint"))
    assert LocalEngine(checkpoint, device="cpu", cpu_threads=1, cache=tmp_path).model.dtype == torch.bfloat16
    # Without a folder a process measures once.
    assert format_times() is format_times()


@pytest.mark.parametrize("time_s", [-1.0, 0.0, "fast", None, True])
def test_times_of_formats_that_cannot_be_true_are_measured_again(tmp_path: Path, time_s: object) -> None:
    format_times(tmp_path)
    document = json.loads((tmp_path / SPEEDS_FILE).read_text())
    ((_, kept),) = document.items()
    kept["bfloat16_rows_s"] = time_s
    (tmp_path / SPEEDS_FILE).write_text(json.dumps(document))
    assert min(astuple(format_times(tmp_path))) > 0


def test_formats_follow_the_times() -> None:
    # Without AMX bfloat16 may win by its decoding steps alone. A prefill is then faster in 8 bits.
    times = FormatTimes(float32_rows_s=0.06, float32_row_s=0.005, bfloat16_rows_s=0.09, bfloat16_row_s=0.003)
    assert times.is_bfloat16_faster and not times.is_bfloat16_faster_than_int8
    amx = replace(times, bfloat16_rows_s=0.01)
    assert amx.is_bfloat16_faster and amx.is_bfloat16_faster_than_int8


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    save_speed(tmp_path / "file", "key", SPEED)
    assert load_speed(tmp_path / "file", "key") is None


def test_estimate_adds_prefill_attention_and_replies(engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo) -> None:
    plan = SessionPool(engine, decoder, memory_bytes=1 << 30).planner.plan(shapes_video)
    estimates = engine.estimates
    seconds = estimates.seconds_for(plan, SPEED, reply_tokens=0)
    visual, tokens = plan.visual_tokens, plan.visual_tokens + plan.timestamp_tokens
    dense, attention = estimates.flops(tokens, visual, plan.tokens_per_patch)
    assert seconds == pytest.approx(dense / 1e9 + attention / 5e8)
    reply = estimates.seconds_for(plan, SPEED, reply_tokens=100) - seconds
    assert reply == pytest.approx(100 * (0.01 + 1e-6 * tokens))
    assert estimates.seconds_for(plan, SPEED, reply_tokens=0, transcript_tokens=500) > seconds


@pytest.mark.bench
def test_estimate_is_within_a_factor_of_the_truth(engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo) -> None:
    pool = SessionPool(engine, decoder, memory_bytes=1 << 30)
    plan = pool.planner.plan(shapes_video)
    estimate = engine.estimated_seconds(plan, reply_tokens=0)
    assert estimate is not None
    start = time.perf_counter()
    pool.session(shapes_video, plan, plan.windows[0])
    assert 1 / 1.5 < estimate / (time.perf_counter() - start) < 1.5


def test_measurement_without_memory_leaves_the_time_unknown(
    engine: LocalEngine, decoder: Decoder, shapes_video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = SpeedMeter("demo", engine._measure_speed, engine.replies, engine._chunk_lock)
    monkeypatch.setattr(engine, "_speed_meter", meter)
    monkeypatch.setattr(engine, "_cache", None)
    calls = []

    def run_out_of_memory(*_: object, **__: object) -> Speed:
        calls.append(1)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(local, "measure_speed", run_out_of_memory)
    plan = SessionPool(engine, decoder, memory_bytes=1 << 30).planner.plan(shapes_video)
    assert engine.estimated_seconds(plan, reply_tokens=10) is None
    assert engine.estimated_seconds(plan, reply_tokens=10) is None
    # It is not tried for every estimate.
    assert calls == [1]


@pytest.fixture
def new_engine(tmp_path: Path) -> LocalEngine:
    """An engine whose speed is not known."""
    save_random_checkpoint(tmp_path / "checkpoint", "dense")
    return LocalEngine(find_checkpoint(str(tmp_path / "checkpoint")), device="cpu", cpu_threads=1, cache=tmp_path / "cache")


def test_cancelled_measurement_ends_before_its_next_step(new_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, append_frames = Progress(), Prefill.append_frames
    chunks = []

    def append_and_cancel(self: Prefill, *frames: Any) -> None:
        chunks.append(len(frames[0]))
        append_frames(self, *frames)
        progress.cancel()

    monkeypatch.setattr(Prefill, "append_frames", append_and_cancel)
    with pytest.raises(Cancelled):
        new_engine.speed(progress)
    assert len(chunks) == 1
    monkeypatch.undo()
    # Nothing was kept, and the next estimate measures.
    assert new_engine.speed(Progress()) is not None


def test_replies_and_the_measurement_wait_for_each_other(new_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(new_engine, [random_frames(8, 64, 96)])
    has_begun, may_end = threading.Event(), threading.Event()

    def measure(*_: object, **__: object) -> Speed:
        has_begun.set()
        may_end.wait(60)
        return SPEED

    monkeypatch.setattr(local, "measure_speed", measure)
    reply = session.tokens(QUESTION, GenerationConfig(4))
    next(reply)
    cancel_during(new_engine.speed)
    assert not has_begun.is_set()
    list(reply)
    speeds: list[Speed | None] = []
    measuring = threading.Thread(target=lambda: speeds.append(new_engine.speed()))
    measuring.start()
    try:
        assert has_begun.wait(30)
        cancel_during(lambda progress: list(session.tokens(QUESTION, GenerationConfig(4), progress=progress)))
    finally:
        may_end.set()
        measuring.join()
    assert speeds == [SPEED]
    assert list(session.tokens(QUESTION, GenerationConfig(4)))


def test_slow_measurement_is_stated_before_it_begins(
    new_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new_engine.speed()
    # A small checkpoint takes a second.
    assert not caplog.records
    texts: list[str] = []

    def measure(*_: object, **__: object) -> Speed:
        texts.append(caplog.text)
        return SPEED

    monkeypatch.setattr(local, "measure_speed", measure)
    # As if it were a large checkpoint, in two new processes: with the kept speed, and without.
    monkeypatch.setattr(new_engine, "saves_tokens", True)
    for cache in (new_engine._cache, None):
        meter = SpeedMeter("large", new_engine._measure_speed, new_engine.replies, new_engine._chunk_lock)
        monkeypatch.setattr(new_engine, "_speed_meter", meter)
        monkeypatch.setattr(new_engine, "_cache", cache)
        assert not texts
        new_engine.speed()
    assert new_engine.speed() == SPEED
    (text,) = texts
    assert re.search(r"the speed of large on this machine is measured now, once.* about \d+ s", text)


def test_key_names_all_that_changes_the_speed(engine: LocalEngine) -> None:
    key = machine_key("demo@1", engine.model)
    assert key.startswith("demo@1 | cpu ") and "float32" in key and "thread" in key and "torch" in key
