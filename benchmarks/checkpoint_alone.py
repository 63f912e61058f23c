"""How right the checkpoint is by itself: videos and frames as in `python -m app eval shapes`, one look, nothing of ours after it.

What this scores is the checkpoint's; what `eval` scores more, or less, is the application's: second looks, refinement, merging.

    python -m benchmarks.checkpoint_alone [--minutes 1] [--videos 6] [--seed 0] [--model demo]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from app.evaluation.report import markdown
from app.evaluation.running import Tally
from app.evaluation.suites import Labelled, rendered
from model.captioner import CAPTION_TOKENS
from model.checkpoints import find_checkpoint
from model.looking import REPLY_TOKENS
from model.prompts import DENSE_CAPTIONS, localize
from model.qwen import QwenEngine
from model.replies import read_events
from model.sessions import SessionPool
from video.decoder import Decoder
from video.probe import VideoInfo, probe
from video.timeline import Event


def main(arguments: list[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="demo")
    chosen = parser.parse_args(arguments)
    engine = QwenEngine(find_checkpoint(chosen.model))
    pool = SessionPool(engine, Decoder())
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        for labels in rendered(Path(folder), minutes=chosen.minutes, videos=chosen.videos, seed=chosen.seed):
            print(labels.path.name, file=sys.stderr)
            judge(tally, labels, pool, probe(labels.path))
    facts = {"suite": "shapes, the checkpoint alone", "checkpoint": engine.checkpoint.identity, "device": engine.device}
    print(markdown(facts | {"scores": tally.scores(), "worst": []}))


def judge(tally: Tally, labels: Labelled, pool: SessionPool, video: VideoInfo) -> None:
    """Add one video to the tally."""
    tally.videos += 1
    tally.seconds += labels.duration_s
    tally.captioned(labels.events, told(pool, video, DENSE_CAPTIONS, CAPTION_TOKENS))
    for query in labels.queries:
        tally.located(labels.truth(query), [event.span for event in told(pool, video, localize(query), REPLY_TOKENS)])
    tally.refused += [not told(pool, video, localize(query), REPLY_TOKENS) for query in labels.absent]


def told(pool: SessionPool, video: VideoInfo, prompt: str, tokens: int) -> list[Event]:
    """What all windows' replies tell, as they are."""
    plan = pool.plan(video, "caption")
    events: list[Event] = []
    for window in plan.windows:
        session = pool.session(video, plan, window)
        generation = session.ask(prompt, max_new_tokens=tokens)
        for _ in generation:
            pass
        events += read_events(generation.text, session).events
    return events


if __name__ == "__main__":
    main()
