"""Accuracy of the checkpoint alone: the videos and frames of `longview eval shapes`, one reply per window, nothing after it.

The difference to the scores of `eval` is the application's: verification, refinement and merging.

    python -m benchmarks.bench_checkpoint [--minutes 1] [--videos 6] [--seed 0] [--model demo]
"""

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from longview.app.evaluation.datasets import LabelledVideo, render_video
from longview.app.evaluation.report import markdown
from longview.app.evaluation.runner import Scores
from longview.core.timeline import Event
from longview.model.engine.base import VideoSession
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import MAX_CAPTION_TOKENS
from longview.model.tasks.grounding import MAX_GROUNDING_TOKENS
from longview.model.tasks.replies import parse_events
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe


def main(arguments: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="demo")
    options = parser.parse_args(arguments)
    engine = LocalEngine(find_checkpoint(options.model))
    pool = SessionPool(engine, Decoder())
    scores = Scores()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.videos):
            labels = render_video(Path(folder), minutes=options.minutes, number=number, seed=options.seed)
            print(labels.path.name, file=sys.stderr)
            score_video(scores, labels, pool, probe(labels.path))
    facts = {"suite": "shapes, the checkpoint alone", "checkpoint": engine.checkpoint.identity, "device": engine.device}
    print(markdown(facts | {"scores": scores.summary(), "worst": []}))


def score_video(scores: Scores, labels: LabelledVideo, pool: SessionPool, video: VideoInfo) -> None:
    """Add one video to the scores."""
    scores.videos += 1
    scores.seconds += labels.duration_s
    prompts = pool.engine.checkpoint.profile.prompts
    scores.add_captions(labels.events, reply_events(pool, video, prompts.captions, MAX_CAPTION_TOKENS))
    for query in labels.queries:
        ask = functools.partial(prompts.locate, query=query)
        events = reply_events(pool, video, ask, MAX_GROUNDING_TOKENS)
        scores.add_localization(labels.truth(query), [event.span for event in events])
    scores.absent_rejections += [
        not reply_events(pool, video, functools.partial(prompts.locate, query=query), MAX_GROUNDING_TOKENS)
        for query in labels.absent
    ]


def reply_events(pool: SessionPool, video: VideoInfo, ask: Callable[[VideoSession], str], max_new_tokens: int) -> list[Event]:
    """Return the events of the replies about all windows, unchanged. `ask`: returns the prompt for a session."""
    plan = pool.planner.plan(video, "caption")
    events: list[Event] = []
    for window in plan.windows:
        session = pool.session(video, plan, window)
        generation = session.generate(ask(session), max_new_tokens=max_new_tokens)
        for _ in generation:
            pass
        events += parse_events(generation.text, session).events
    return events


if __name__ == "__main__":
    main()
