"""Three hours of video on two cores: indexed in constant memory, and nothing lost or doubled at the windows' borders."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render, sample_scene
from longview.video.timeline import Event, Span

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

HOURS = 3
DURATION_S = HOURS * 3600.0
SCENE = sample_scene(DURATION_S, HOURS * 60 * 5, seed=77)
GROWTH_MAX_BYTES = 150 << 20
"""Between the first hour's highest use of memory and that of the rest: allocators keep a little more now and then."""
BORDERS_MIN = 100


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("hours") / "three hours.mp4", SCENE, DURATION_S, fps=10.0, seed=77)


@pytest.fixture(scope="module")
def run(film: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[float, int]], list[Event]]:
    """Memory of the application and its decoders over the time of indexing, and the captions."""
    environment = os.environ | {"LONGVIEW_LIBRARY": str(tmp_path_factory.mktemp("home")), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "app", "index", str(film), "--model", "demo", "--json"]
    used: list[tuple[float, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        begun = time.monotonic()
        watcher = threading.Thread(target=watch, args=(process, begun, used))
        watcher.start()
        said, _ = process.communicate()
        watcher.join()
    assert process.returncode == 0
    (row,) = json.loads(said)["videos"]
    captions = subprocess.run(
        [sys.executable, "-m", "app", "caption", row["video_id"], "--model", "demo", "--json"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(captions.stdout)
    assert document["incomplete"] == []
    return used, [Event(Span(one["start_s"], one["end_s"]), one["text"]) for one in document["events"]]


def watch(process: "subprocess.Popen[str]", begun: float, used: list[tuple[float, int]]) -> None:
    """Note the memory of a process and its children, once a second."""
    while process.poll() is None:
        total = 0
        try:
            parent = psutil.Process(process.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            break
        for one in family:
            with contextlib.suppress(psutil.Error):
                # Proportional: pages that parent and children share count once.
                total += one.memory_full_info().pss
        used.append((time.monotonic() - begun, total))
        time.sleep(1.0)


def test_memory_does_not_grow(run: tuple[list[tuple[float, int]], list[Event]]) -> None:
    used, _ = run
    end_s = used[-1][0]
    first = max(size for at_s, size in used if at_s < end_s / HOURS)
    rest = max(size for at_s, size in used if at_s >= end_s / HOURS)
    log.info(
        "%s",
        f"three hours indexed in {end_s:.0f} s; memory {first / 1e6:.0f} MB in the first third, {rest / 1e6:.0f} MB after it",
    )
    assert rest - first < GROWTH_MAX_BYTES


def test_events_on_borders_are_neither_lost_nor_doubled(
    run: tuple[list[tuple[float, int]], list[Event]], film: Path, engine: LocalEngine, decoder: Decoder
) -> None:
    _, told = run
    video: VideoInfo = probe(film)
    windows = SessionPool(engine, decoder, memory_bytes=1 << 28).planner.plan(video, "caption").windows
    borders = [(before.span.end_s, after.span.start_s) for before, after in zip(windows, windows[1:], strict=False)]
    assert len(borders) >= BORDERS_MIN
    crossing = [true for true in SCENE if any(true.event.span.overlap_s(Span(start_s, end_s)) > 0 for end_s, start_s in borders)]
    lost, doubled, split = sort_out(crossing, told)
    everywhere = sort_out(list(SCENE), told)
    log.info("%s", f"{len(borders)} borders, {len(crossing)} events on them: lost {lost}, doubled {doubled}, split {split}")
    log.info("%s", f"of all {len(SCENE)} events: lost {everywhere[0]}, doubled {everywhere[1]}, split {everywhere[2]}")
    assert doubled == 0 and split == 0
    # The checkpoint's own: 5 of 209 were lost when this was last measured, and 11 of the other 691.
    assert lost <= 0.04 * len(crossing)
    assert everywhere[0] <= 0.03 * len(SCENE)


def sort_out(true: list[ShapesEvent], told: list[Event]) -> tuple[int, int, int]:
    """How many true events are told by no caption in the right words, by several that overlap, or in pieces."""
    lost = doubled = split = 0
    for event in true:
        twins = [one.event.span for one in SCENE if one.text == event.text and one is not event]
        own = [
            one.span
            for one in told
            if one.text == event.text
            and one.span.overlap_s(event.event.span) > 0
            and all(one.span.iou(event.event.span) >= one.span.iou(twin) for twin in twins)
        ]
        lost += not own or max(span.iou(event.event.span) for span in own) < 0.5
        doubled += any(first.overlap_s(second) > 0 for index, first in enumerate(own) for second in own[index + 1 :])
        split += len(own) > 1 and not any(first.overlap_s(second) > 0 for first in own for second in own if first is not second)
    return lost, doubled, split
