"""How right the checkpoint is by itself: videos and frames as in `python -m app eval shapes`, one look, nothing of ours after it.

What this scores is the checkpoint's; what `eval` scores more, or less, is the application's: second looks, refinement, merging.

    python -m benchmarks.checkpoint_alone [--minutes 1] [--videos 6] [--seed 0] [--model demo]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from longview.app.evaluation.datasets import LabelledVideo, render_videos
from longview.app.evaluation.report import markdown
from longview.app.evaluation.runner import Scores
from longview.model.engine.checkpoints import find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.captioner import MAX_CAPTION_TOKENS
from longview.model.tasks.grounding import MAX_REPLY_TOKENS
from longview.model.tasks.prompts import DENSE_CAPTIONS, localize_prompt
from longview.model.tasks.replies import parse_events
from longview.video.decoder import Decoder
from longview.video.probe import VideoInfo, probe
from longview.video.timeline import Event


def main(arguments: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="demo")
    chosen = parser.parse_args(arguments)
    engine = LocalEngine(find_checkpoint(chosen.model))
    pool = SessionPool(engine, Decoder())
    tally = Scores()
    with tempfile.TemporaryDirectory() as folder:
        for labels in render_videos(Path(folder), minutes=chosen.minutes, videos=chosen.videos, seed=chosen.seed):
            print(labels.path.name, file=sys.stderr)
            judge(tally, labels, pool, probe(labels.path))
    facts = {"suite": "shapes, the checkpoint alone", "checkpoint": engine.checkpoint.identity, "device": engine.device}
    print(markdown(facts | {"scores": tally.summary(), "worst": []}))


def judge(tally: Scores, labels: LabelledVideo, pool: SessionPool, video: VideoInfo) -> None:
    """Add one video to the tally."""
    tally.videos += 1
    tally.seconds += labels.duration_s
    tally.add_captions(labels.events, told(pool, video, DENSE_CAPTIONS, MAX_CAPTION_TOKENS))
    for query in labels.queries:
        tally.add_localization(
            labels.truth(query), [event.span for event in told(pool, video, localize_prompt(query), MAX_REPLY_TOKENS)]
        )
    tally.absent_rejections += [not told(pool, video, localize_prompt(query), MAX_REPLY_TOKENS) for query in labels.absent]


def told(pool: SessionPool, video: VideoInfo, prompt: str, tokens: int) -> list[Event]:
    """What all windows' replies tell, as they are."""
    plan = pool.planner.plan(video, "caption")
    events: list[Event] = []
    for window in plan.windows:
        session = pool.session(video, plan, window)
        generation = session.generate(prompt, max_new_tokens=tokens)
        for _ in generation:
            pass
        events += parse_events(generation.text, session).events
    return events


if __name__ == "__main__":
    main()
