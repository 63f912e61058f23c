"""A checkpoint, checked on this machine: exact against plain transformers, and ten questions to a video with a known truth.

    make check-real MODEL=Qwen/Qwen3-VL-8B-Instruct
    python -m benchmarks.check_real --model MODEL [--device cuda|cpu]

Renders a video of a minute, reads it once through the engine and once through transformers' own processor and attention
on the same weights, and compares tokens, logits and greedy replies. Then asks ten fixed questions and prints each with its
time to the first word. Exit code 1 if the engine is not exact: logits further apart than the rounding of the number type
allows, or other tokens.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from longview.model.demo import prober_for
from longview.model.engine import attention
from longview.model.engine.checkpoints import find_checkpoint
from longview.model.engine.generation import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.tasks.answerer import VideoAnswerStream
from longview.model.tasks.prompts import DENSE_CAPTIONS, localize_prompt
from longview.model.tasks.replies import TimedCaption
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo
from longview.video.synthetic import ShapesEvent, render
from tests.hf_reference import HFReference

DURATION_S = 60.0
EVENTS = (
    ShapesEvent(3.0, 9.0, "red", "circle", "moves to the right"),
    ShapesEvent(12.0, 18.0, "green", "square", "stays still"),
    ShapesEvent(22.0, 29.0, "blue", "star", "grows"),
    ShapesEvent(33.0, 40.0, "yellow", "cross", "moves up"),
    ShapesEvent(45.0, 54.0, "purple", "diamond", "shrinks"),
)
QUESTIONS = (
    ("What happens at 0:06?", "a red circle moves to the right"),
    ("What happens at 15 seconds?", "a green square stays still"),
    ("What is in the video at 0:25?", "a blue star grows"),
    ("What happens between 33 and 40 seconds?", "a yellow cross moves up"),
    ("When does the purple diamond appear?", "45 to 54 seconds"),
    ("When does the red circle appear?", "3 to 9 seconds"),
    ("When does a white ring appear?", "not in this video"),
    ("How many events are in the video?", "5"),
    ("What happens after the green square?", "a blue star grows"),
    ("What happens at 0:50?", "a purple diamond shrinks"),
)
ALLOWED = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""How far logits may lie apart, as a part of their spread: eight bits of mantissa, added up over some dozen layers."""
COMPARED_TOKENS = 48


def exactness(engine: LocalEngine, video: VideoInfo, pool: SessionPool) -> bool:
    """Print how the engine compares with transformers; whether it is exact."""
    plan = pool.planner.plan(video, "caption")
    window = plan.windows[0]
    chunks = list(pool.decoder.frames_played_at(video, window.times_s, plan.height, plan.width))
    whole = TimedFrames(np.concatenate([c.frames for c in chunks]), np.concatenate([c.times_s for c in chunks]))
    if len(whole) % 2:
        whole = TimedFrames(np.concatenate([whole.frames, whole.frames[-1:]]), np.append(whole.times_s, whole.times_s[-1]))
    session = engine.open_session(chunks, window.span, capacity_tokens=plan.window_tokens[0])
    plain = HFReference.from_loaded(engine.processor, engine.model)
    is_exact = True
    print("| question | tokens | same tokens | logits apart, of their spread | greedy reply |\n|---|---|---|---|---|")
    for question in (DENSE_CAPTIONS, localize_prompt("a red circle"), "What happens at 15.0 seconds?"):
        engine.model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
        inputs = plain.inputs(whole, question)
        expected = plain.logits(whole, question)
        theirs = engine.model.generate(**inputs, do_sample=False, max_new_tokens=COMPARED_TOKENS)
        said = theirs[0, inputs["input_ids"].shape[1] :].tolist()
        engine.model.set_attn_implementation(
            {"text_config": attention.TEXT_ATTENTION, "vision_config": attention.VISION_ATTENTION}
        )
        ids = torch.cat([session.prefix_ids, engine.question_ids(question).cpu()], dim=1)
        same = torch.equal(ids, inputs["input_ids"].cpu())
        apart = float((session.first_logits(question) - expected).abs().max() / expected.float().std())
        ours = list(session.tokens(question, GenerationConfig(COMPARED_TOKENS)))
        alike = next((place for place, pair in enumerate(zip(ours, said, strict=False)) if pair[0] != pair[1]), len(ours))
        is_same = bool(ours) and len(ours) == len(said) == alike
        replied = "the same" if is_same else f"the same for {alike} of {len(said)} tokens"
        print(f"| {question[:40]} | {ids.shape[1]:,} | {'yes' if same else 'NO'} | {apart:.2g} | {replied} |")
        # In bfloat16 two words that are equally likely may change places; in float32 nothing may.
        is_exact = is_exact and same and apart <= ALLOWED[engine.model.dtype]
        is_exact = is_exact and (is_same or engine.model.dtype != torch.float32)
    return is_exact


def questions(video: VideoInfo, pool: SessionPool) -> None:
    """Ask, and print answers beside the truth."""
    print("\n| question | truth | answer | first word, s | whole, s |\n|---|---|---|---|---|")
    for question, truth in QUESTIONS:
        answering = VideoAnswerStream(pool, prober_for(pool.engine.checkpoint), video, question)
        for _ in answering:
            pass
        answer = answering.answer
        text = " ".join(answer.text.split())
        print(f"| {question} | {truth} | {text[:90]} | {answer.first_token_s:.2f} | {answer.total_s:.2f} |")


def main() -> None:
    """Check, and leave with 1 if the engine is not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    options = parser.parse_args()
    begun = time.perf_counter()
    engine = LocalEngine(find_checkpoint(options.model), device=options.device)
    card = torch.cuda.get_device_name() if engine.device == "cuda" else "CPU"
    print(f"{engine.checkpoint.identity} on {card}, {engine.model.dtype}, loaded in {time.perf_counter() - begun:.1f} s;")
    print(f"context {engine.context_tokens:,} tokens, {engine.kv_bytes_per_token / 1024:.0f} KiB of KV cache a token\n")
    decoder = Decoder()
    with tempfile.TemporaryDirectory() as folder:
        video = decoder.probe(render(Path(folder) / "truth.mp4", EVENTS, DURATION_S, width=640, height=384))
        pool = SessionPool(engine, decoder, memory_bytes=8 << 30)
        is_exact = exactness(engine, video, pool)
        questions(video, pool)
        plan = pool.planner.plan(video, "caption")
        generation = pool.session(video, plan, plan.windows[0]).generate(DENSE_CAPTIONS, max_new_tokens=1024, schema=TimedCaption)
        print(f"\nCaptions: {''.join(generation)}")
    decoder.close()
    print("\nThe engine is exact." if is_exact else "\nNOT EXACT: the engine and transformers differ more than rounding allows.")
    sys.exit(0 if is_exact else 1)


if __name__ == "__main__":
    main()
