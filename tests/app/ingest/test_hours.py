"""Three hours of video on two cores: indexed in constant memory, and no event missed or duplicated at window boundaries."""

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from longview.core.timeline import Event, Span
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render, sample_scene
from tests.support.shell import environment

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

HOURS = 3
DURATION_S = HOURS * 3600.0
SCENE = sample_scene(DURATION_S, HOURS * 60 * 5, seed=77)
MAX_GROWTH_BYTES = 150 << 20
"""Maximum difference between the peak memory of the first hour and that of the rest; allocators keep a little more at times."""
MIN_BOUNDARIES = 100


@pytest.fixture(scope="module")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("hours") / "three hours.mp4", SCENE, DURATION_S, fps=10.0, seed=77)


@pytest.fixture(scope="module")
def run(video_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[float, int]], list[Event]]:
    """Memory of the application and its decoders over the time of indexing, and the captions."""
    variables = environment(tmp_path_factory.mktemp("library"))
    # Captions that take long are not made unless they are asked for.
    command = [sys.executable, "-m", "app", "index", str(video_path), "--sources", "captions", "--model", "demo", "--json"]
    samples: list[tuple[float, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        sampler = threading.Thread(target=sample_memory, args=(process, time.monotonic(), samples))
        sampler.start()
        output, _ = process.communicate()
        sampler.join()
    assert process.returncode == 0
    (row,) = json.loads(output)["videos"]
    captions = subprocess.run(
        [sys.executable, "-m", "app", "caption", row["video_id"], "--model", "demo", "--json"],
        capture_output=True, text=True, env=variables, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(captions.stdout)
    assert document["incomplete"] == []
    return samples, [Event(Span(event["start_s"], event["end_s"]), event["text"]) for event in document["events"]]


def sample_memory(process: "subprocess.Popen[str]", start: float, samples: list[tuple[float, int]]) -> None:
    """Append the memory of a process and its children, once per second."""
    while process.poll() is None:
        total_bytes = 0
        try:
            parent = psutil.Process(process.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            break
        for member in family:
            with contextlib.suppress(psutil.Error):
                # Proportional: pages that parent and children share count once.
                total_bytes += member.memory_full_info().pss
        samples.append((time.monotonic() - start, total_bytes))
        time.sleep(1.0)


def test_memory_does_not_grow(run: tuple[list[tuple[float, int]], list[Event]]) -> None:
    samples, _ = run
    end_s = samples[-1][0]
    first_bytes = max(size_bytes for time_s, size_bytes in samples if time_s < end_s / HOURS)
    rest_bytes = max(size_bytes for time_s, size_bytes in samples if time_s >= end_s / HOURS)
    log.info(
        "three hours indexed in %.0f s; memory %.0f MB in the first third, %.0f MB after it",
        *(end_s, first_bytes / 1e6, rest_bytes / 1e6),
    )
    assert rest_bytes - first_bytes < MAX_GROWTH_BYTES


def test_events_at_boundaries_are_not_missed_or_duplicated(
    run: tuple[list[tuple[float, int]], list[Event]], video_path: Path, engine: LocalEngine, decoder: Decoder
) -> None:
    _, captions = run
    video: VideoInfo = probe(video_path)
    windows = SessionPool(engine, decoder, memory_bytes=1 << 28).planner.plan(video, "caption").windows
    boundaries = [Span(after.span.start_s, before.span.end_s) for before, after in zip(windows, windows[1:], strict=False)]
    assert len(boundaries) >= MIN_BOUNDARIES
    crossing = [event for event in SCENE if any(event.event.span.overlap_s(boundary) > 0 for boundary in boundaries)]
    missed, duplicated, split = count_errors(crossing, captions)
    totals = count_errors(list(SCENE), captions)
    log.info("%d boundaries, %d events at them: missed %d, duplicated %d, split %d",
             len(boundaries), len(crossing), missed, duplicated, split)  # fmt: skip
    log.info("all %d events: missed %d, duplicated %d, split %d", len(SCENE), *totals)
    assert duplicated == 0 and split == 0
    # The checkpoint's own errors: when this was last measured, it missed 5 of 209 events, and 11 of the other 691.
    assert missed <= 0.04 * len(crossing)
    assert totals[0] <= 0.03 * len(SCENE)


def count_errors(events: list[ShapesEvent], captions: list[Event]) -> tuple[int, int, int]:
    """Count the events without a caption of the same text, with several that overlap, and with a caption in pieces."""
    missed = duplicated = split = 0
    for event in events:
        twins = [other.event.span for other in SCENE if other.text == event.text and other is not event]
        spans = [
            caption.span
            for caption in captions
            if caption.text == event.text
            and caption.span.overlap_s(event.event.span) > 0
            and all(caption.span.iou(event.event.span) >= caption.span.iou(twin) for twin in twins)
        ]
        missed += not spans or max(span.iou(event.event.span) for span in spans) < 0.5
        duplicated += any(first.overlap_s(second) > 0 for index, first in enumerate(spans) for second in spans[index + 1 :])
        split += len(spans) > 1 and not any(
            first.overlap_s(second) > 0 for first in spans for second in spans if first is not second
        )
    return missed, duplicated, split
