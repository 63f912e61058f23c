"""Accuracy and speed of the main tasks on rendered videos with known events, compared with plain transformers.

    python -m benchmarks.bench_main_job [--videos N]

Prints a Markdown table. Times are given in seconds, and as ratios to plain transformers (`processor(...)` and
`model.generate(...)` on the same frames) in the same run.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.localizer import locate
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, render, sample_events
from tests.support.fakes import CAPTION_CHECKS, LOCATE_CHECKS
from tests.support.hf_reference import HFReference

SESSION_MEMORY_BYTES = 1 << 30
LENGTHS = ((60.0, 5), (300.0, 12))
"""Durations in seconds, and the number of events of each video."""
ABSENT_QUERIES = 15


def absent_queries(events: tuple[ShapesEvent, ...], seed: int) -> list[str]:
    """Return queries for coloured shapes that are not in the video."""
    rng = random.Random(seed)
    present = {(event.color, event.shape) for event in events}
    absent = [(color, shape) for color in COLORS for shape in SHAPES if (color, shape) not in present]
    return [
        rng.choice([f"{color} {shape}", f"a {color} {shape} {rng.choice(ACTIONS)}"])
        for color, shape in rng.sample(absent, ABSENT_QUERIES)
    ]


def time_reference(reference: HFReference, video: VideoInfo, pool: SessionPool, question: str) -> tuple[float, str]:
    """Return the seconds that plain transformers needs for one question, including decoding, and its reply."""
    start = time.perf_counter()
    plan = pool.planner.plan(video, "qa")
    (window,) = plan.windows
    (frames,) = pool.decoder.frames_played_at(video, window.times_s, plan.height, plan.width, chunk_frames=4096)
    reply = reference.reply(frames, question, max_new_tokens=200)
    return time.perf_counter() - start, reply


def time_session(pool: SessionPool, video: VideoInfo, question: str) -> tuple[float, float, str]:
    """Return the seconds to the first token and to the end of the reply of a session, and the reply."""
    start = time.perf_counter()
    plan = pool.planner.plan(video, "qa")
    generation = pool.session(video, plan, plan.windows[0]).generate(question, max_new_tokens=200)
    open_s = time.perf_counter() - start
    for _ in generation:
        pass
    return open_s + generation.first_token_s, open_s + generation.total_s, generation.text


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=3, help="videos of each length")
    parser.add_argument("--device", default=None)
    options = parser.parse_args()
    engine = LocalEngine(find_checkpoint("demo"), device=options.device)
    verifier = verifier_for(engine.checkpoint)
    decoder = Decoder()
    ious, edge_errors_s, caption_ious, absent_rejections, caption_s = [], [], [], [], []
    first_token_s, second_question_s, session_s, reference_s = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for duration_s, count in LENGTHS:
            for seed in range(options.videos):
                events = sample_events(duration_s, count, seed=1000 + seed)
                video = probe(render(Path(folder) / f"{duration_s:.0f}-{seed}.mp4", events, duration_s, seed=seed))
                pool = SessionPool(engine, decoder, memory_bytes=SESSION_MEMORY_BYTES)
                if duration_s == LENGTHS[0][0]:
                    question = engine.checkpoint.profile.prompts.localization.format(query=events[0].text)
                    first_s, _, _ = time_session(pool, video, question)
                    second_s, total_s, reply = time_session(pool, video, question)
                    expected_s, expected_reply = time_reference(HFReference(DEMO), video, pool, question)
                    if reply != expected_reply:
                        raise SystemExit(f"replies differ: {reply!r} and {expected_reply!r}")
                    first_token_s.append(first_s)
                    second_question_s.append(second_s)
                    session_s.append(total_s)
                    reference_s.append(expected_s)
                start = time.perf_counter()
                captions = run_to_end(
                    caption(TaskContext(pool, verifier, video), pool.planner.plan(video, "caption"), CAPTION_CHECKS)
                )
                caption_s.append((time.perf_counter() - start) / duration_s)
                for event in events:
                    candidates = [item.span for item in captions.events if item.text == event.text]
                    caption_ious.append(max((span.iou(event.event.span) for span in candidates), default=0.0))
                    occurrences = locate(
                        TaskContext(pool, verifier, video), event.text, LOCATE_CHECKS, candidates=candidates
                    ).occurrences
                    best = max(occurrences, key=lambda item: item.span.iou(event.event.span), default=None)
                    ious.append(best.span.iou(event.event.span) if best else 0.0)
                    if best:
                        edge_errors_s += [abs(best.span.start_s - event.start_s), abs(best.span.end_s - event.end_s)]
                absent_rejections += [
                    not locate(TaskContext(pool, verifier, video), query, LOCATE_CHECKS).occurrences
                    for query in absent_queries(events, seed)
                ]
    print(f"{engine.device}, {torch.get_num_threads()} thread(s), checkpoint {engine.checkpoint.identity}\n")
    print("| measure | figure |\n|---|---|")
    print(f"| localisation of {len(ious)} events | mean tIoU {statistics.mean(ious):.3f}, minimum {min(ious):.2f} |")
    p90_s = sorted(edge_errors_s)[int(len(edge_errors_s) * 0.9)]
    print(f"| their starts and ends | median error {statistics.median(edge_errors_s):.2f} s, 90 % within {p90_s:.2f} s |")
    print(f"| rejected absent queries | {sum(absent_rejections)} of {len(absent_rejections)} |")
    print(f"| events with a correct caption at tIoU 0.5 | {sum(iou >= 0.5 for iou in caption_ious)} of {len(caption_ious)} |")
    print(f"| captioning, seconds per minute of video | {60 * statistics.median(caption_s):.1f} |")
    print(f"| first question about 60 s of video, first token | {statistics.median(first_token_s):.2f} s |")
    print(f"| second question, first token | {statistics.median(second_question_s):.3f} s |")
    ratio = statistics.median(ours / theirs for ours, theirs in zip(session_s, reference_s, strict=True))
    total_s = statistics.median(reference_s)
    print(f"| second question, whole reply, relative to plain transformers | {ratio:.3f}x of {total_s:.2f} s |")


if __name__ == "__main__":
    main()
