"""Check of a checkpoint on the local hardware: exactness against plain transformers, and ten questions with known answers.

    make check-real MODEL=Qwen/Qwen3-VL-8B-Instruct
    python -m benchmarks.check_real --model MODEL [--device cuda|cpu]

Renders a video of one minute. The engine and transformers' own processor and attention prefill it with the same weights; tokens,
logits and greedy replies are compared. Then ten fixed questions are asked, and each answer is printed with the time to its first
token. The exit code is 1 if the engine is not exact: if tokens differ, or logits differ by more than the rounding of the dtype.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from longview.model.engine import attention
from longview.model.engine.checkpoints import find_checkpoint
from longview.model.engine.generation import GenerationConfig
from longview.model.engine.local import LocalEngine
from longview.model.engine.sessions import SessionPool
from longview.model.probers import prober_for
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.events import run_to_end
from longview.model.tasks.prompts import DENSE_CAPTIONS, localize_prompt
from longview.model.tasks.replies import TimedCaption
from longview.video.decoder import Decoder, TimedFrames
from longview.video.probe import VideoInfo
from longview.video.synthetic import ShapesEvent, render
from tests.fakes import ANSWER_CHECKS
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
LOGITS_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Maximum difference of the logits, in standard deviations of the logits. bfloat16 has eight bits of mantissa, and its rounding
errors add up over the layers."""
COMPARED_TOKENS = 48


def check_exactness(engine: LocalEngine, video: VideoInfo, pool: SessionPool) -> bool:
    """Print a comparison of the engine with transformers. Returns whether the engine is exact."""
    plan = pool.planner.plan(video, "caption")
    window = plan.windows[0]
    chunks = list(pool.decoder.frames_played_at(video, window.times_s, plan.height, plan.width))
    frames = TimedFrames(np.concatenate([c.frames for c in chunks]), np.concatenate([c.times_s for c in chunks]))
    if len(frames) % 2:
        frames = TimedFrames(np.concatenate([frames.frames, frames.frames[-1:]]), np.append(frames.times_s, frames.times_s[-1]))
    session = engine.open_session(chunks, window.span, capacity_tokens=plan.window_tokens[0])
    reference = HFReference.from_loaded(engine.processor, engine.model)
    is_exact = True
    print("| question | tokens | same tokens | difference of logits (std) | greedy reply |\n|---|---|---|---|---|")
    for question in (DENSE_CAPTIONS, localize_prompt("a red circle"), "What happens at 15.0 seconds?"):
        engine.model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
        inputs = reference.inputs(frames, question)
        expected_logits = reference.logits(frames, question)
        output = engine.model.generate(**inputs, do_sample=False, max_new_tokens=COMPARED_TOKENS)
        expected = output[0, inputs["input_ids"].shape[1] :].tolist()
        engine.model.set_attn_implementation(
            {"text_config": attention.TEXT_ATTENTION, "vision_config": attention.VISION_ATTENTION}
        )
        ids = torch.cat([session.prefix_ids, engine.question_ids(question).cpu()], dim=1)
        has_same_tokens = torch.equal(ids, inputs["input_ids"].cpu())
        difference = float((session.first_logits(question) - expected_logits).abs().max() / expected_logits.float().std())
        config = GenerationConfig(COMPARED_TOKENS, max_thinking_tokens=COMPARED_TOKENS)
        # The reply follows the thoughts of a checkpoint that thinks, of which only as many are compared.
        tokens = list(session.tokens(question, config))[:COMPARED_TOKENS]
        pairs = enumerate(zip(tokens, expected, strict=False))
        common = next((position for position, (ours, theirs) in pairs if ours != theirs), len(tokens))
        has_same_reply = bool(tokens) and len(tokens) == len(expected) == common
        reply = "same" if has_same_reply else f"same for {common} of {len(expected)} tokens"
        same_tokens = "yes" if has_same_tokens else "NO"
        print(f"| {question[:40]} | {ids.shape[1]:,} | {same_tokens} | {difference:.2g} | {reply} |")
        # In bfloat16 two equally likely tokens may change places; in float32 the replies must be equal.
        is_exact = is_exact and has_same_tokens and difference <= LOGITS_TOLERANCE[engine.model.dtype]
        is_exact = is_exact and (has_same_reply or engine.model.dtype != torch.float32)
    return is_exact


def print_answers(video: VideoInfo, pool: SessionPool) -> None:
    """Print the answers to the questions beside the known ones."""
    print("\n| question | known answer | answer | first token, s | total, s |\n|---|---|---|---|---|")
    for question, known_answer in QUESTIONS:
        answer = run_to_end(answer_question(pool, prober_for(pool.engine.checkpoint), video, question, ANSWER_CHECKS))
        text = " ".join(answer.text.split())
        print(f"| {question} | {known_answer} | {text[:90]} | {answer.first_token_s:.2f} | {answer.total_s:.2f} |")


def main() -> None:
    """Run the check; exit with 1 if the engine is not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    options = parser.parse_args()
    start = time.perf_counter()
    engine = LocalEngine(find_checkpoint(options.model), device=options.device)
    device = torch.cuda.get_device_name() if engine.device == "cuda" else "CPU"
    print(f"{engine.checkpoint.identity} on {device}, {engine.model.dtype}, loaded in {time.perf_counter() - start:.1f} s;")
    kv_kib = engine.estimates.kv_bytes_per_token / 1024
    print(f"context {engine.context_tokens:,} tokens, {kv_kib:.0f} KiB of KV cache per token\n")
    decoder = Decoder()
    with tempfile.TemporaryDirectory() as folder:
        video = decoder.probe(render(Path(folder) / "truth.mp4", EVENTS, DURATION_S, width=640, height=384))
        pool = SessionPool(engine, decoder, memory_bytes=8 << 30)
        is_exact = check_exactness(engine, video, pool)
        print_answers(video, pool)
        plan = pool.planner.plan(video, "caption")
        generation = pool.session(video, plan, plan.windows[0]).generate(DENSE_CAPTIONS, max_new_tokens=1024, schema=TimedCaption)
        print(f"\nCaptions: {''.join(generation)}")
    decoder.close()
    print("\nThe engine is exact." if is_exact else "\nNOT EXACT: the engine and transformers differ by more than rounding.")
    sys.exit(0 if is_exact else 1)


if __name__ == "__main__":
    main()
