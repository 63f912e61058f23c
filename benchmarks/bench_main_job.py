"""The main job on rendered videos with known events: how right, how exact, and how fast against plain transformers.

    python -m benchmarks.bench_main_job [--videos N]

Prints a Markdown table. Times are shown as they are and as ratios to plain transformers (`processor(...)` +
`model.generate(...)` on the same frames) in the same run.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch

from longview.model.demo import prober_for
from longview.model.engine.checkpoints import DEMO, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import caption
from longview.model.tasks.localizer import locate
from longview.model.tasks.prompts import localize_prompt
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.synthetic import ACTIONS, COLORS, SHAPES, ShapesEvent, render, sample_events
from tests.hf_reference import HFReference

SESSION_MEMORY_BYTES = 1 << 30
LENGTHS = ((60.0, 5), (300.0, 12))
ABSENT_QUERIES = 15


def absent_queries(events: tuple[ShapesEvent, ...], seed: int) -> list[str]:
    """Queries for coloured shapes that the video does not show."""
    rng = random.Random(seed)
    shown = {(event.color, event.shape) for event in events}
    looks = [(color, shape) for color in COLORS for shape in SHAPES if (color, shape) not in shown]
    return [
        rng.choice([f"{color} {shape}", f"a {color} {shape} {rng.choice(ACTIONS)}"])
        for color, shape in rng.sample(looks, ABSENT_QUERIES)
    ]


def plain_seconds(plain: HFReference, video: VideoInfo, pool: SessionPool, question: str) -> tuple[float, str]:
    """Seconds and reply of plain transformers for one question, decoding included, as it would be asked every time."""
    begun = time.perf_counter()
    plan = pool.planner.plan(video, "watch")
    (window,) = plan.windows
    (frames,) = pool.decoder.frames_played_at(video, window.times_s, plan.height, plan.width, chunk_frames=4096)
    reply = plain.reply(frames, question, max_new_tokens=200)
    return time.perf_counter() - begun, reply


def session_seconds(pool: SessionPool, video: VideoInfo, question: str) -> tuple[float, float, str]:
    """Seconds to the first token and to the end, and the reply, through a session."""
    begun = time.perf_counter()
    plan = pool.planner.plan(video, "watch")
    generation = pool.session(video, plan, plan.windows[0]).generate(question, max_new_tokens=200)
    opened_s = time.perf_counter() - begun
    for _ in generation:
        pass
    return opened_s + generation.first_token_s, opened_s + generation.total_s, generation.text


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=3, help="videos of each length")
    parser.add_argument("--device", default=None)
    options = parser.parse_args()
    engine = LocalEngine(find_checkpoint("demo"), device=options.device)
    decoder = Decoder()
    overlaps, edges, told, refused, caption_s = [], [], [], [], []
    first, again, whole, plain = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for duration_s, count in LENGTHS:
            for seed in range(options.videos):
                events = sample_events(duration_s, count, seed=1000 + seed)
                video = probe(render(Path(folder) / f"{duration_s:.0f}-{seed}.mp4", events, duration_s, seed=seed))
                pool = SessionPool(engine, decoder, memory_bytes=SESSION_MEMORY_BYTES)
                if duration_s == LENGTHS[0][0]:
                    question = localize_prompt(events[0].text)
                    first_s, _, _ = session_seconds(pool, video, question)
                    again_s, whole_s, reply = session_seconds(pool, video, question)
                    plain_s, plain_reply = plain_seconds(HFReference(DEMO), video, pool, question)
                    if reply != plain_reply:
                        raise SystemExit(f"replies differ: {reply!r} and {plain_reply!r}")
                    first.append(first_s)
                    again.append(again_s)
                    whole.append(whole_s)
                    plain.append(plain_s)
                begun = time.perf_counter()
                captions = caption(pool, prober_for(pool.engine.checkpoint), video, pool.planner.plan(video, "caption"))
                caption_s.append((time.perf_counter() - begun) / duration_s)
                for event in events:
                    same = [item.span.iou(event.event.span) for item in captions.events if item.text == event.text]
                    told.append(max(same, default=0.0))
                    hints = [item.span for item in captions.events if item.text == event.text]
                    found = locate(pool, prober_for(pool.engine.checkpoint), video, event.text, candidates=hints).occurrences
                    best = max(found, key=lambda item: item.span.iou(event.event.span), default=None)
                    overlaps.append(best.span.iou(event.event.span) if best else 0.0)
                    if best:
                        edges += [abs(best.span.start_s - event.start_s), abs(best.span.end_s - event.end_s)]
                refused += [
                    not locate(pool, prober_for(pool.engine.checkpoint), video, query).occurrences
                    for query in absent_queries(events, seed)
                ]
    print(f"{engine.device}, {torch.get_num_threads()} thread(s), checkpoint {engine.checkpoint.identity}\n")
    print("| what | figure |\n|---|---|")
    print(f"| localisation of {len(overlaps)} events | mean tIoU {statistics.mean(overlaps):.3f}, least {min(overlaps):.2f} |")
    most = sorted(edges)[int(len(edges) * 0.9)]
    print(f"| their edges | median error {statistics.median(edges):.2f} s, 90 % within {most:.2f} s |")
    print(f"| absent queries refused | {sum(refused)} of {len(refused)} |")
    print(f"| captions in the right words at tIoU 0.5 or more | {sum(iou >= 0.5 for iou in told)} of {len(told)} |")
    print(f"| captioning, seconds a minute of video | {60 * statistics.median(caption_s):.1f} |")
    print(f"| first token of the first question to 60 s of video | {statistics.median(first):.2f} s |")
    print(f"| first token of the second | {statistics.median(again):.3f} s |")
    ratio = statistics.median(b / a for a, b in zip(plain, whole, strict=True))
    print(f"| second question, whole reply, against plain transformers | {ratio:.3f}x of {statistics.median(plain):.2f} s |")


if __name__ == "__main__":
    main()
