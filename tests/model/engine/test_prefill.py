"""Streamed prefill against one pass of plain transformers, on random checkpoints of the real layouts."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from longview.model.engine import prefill
from longview.model.engine.checkpoints import DEMO, find_checkpoint
from longview.model.engine.generation import GenerationConfig
from longview.model.engine.local import LocalEngine, LocalSession
from longview.model.engine.prefill import rope_positions
from longview.video.decoder import TimedFrames
from longview.video.timeline import Span
from tests.hf_reference import Plain

QUESTION = "What happens at 2.5 seconds?"


def layouts() -> dict[str, tuple[Any, Any]]:
    """Small models with what the published ones have: grouped queries, three DeepStack layers, experts."""
    vision = {
        "depth": 4, "hidden_size": 48, "num_heads": 3, "intermediate_size": 96, "out_hidden_size": 64, "patch_size": 16,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "deepstack_visual_indexes": [0, 1, 2], "num_position_embeddings": 64,
    }  # fmt: skip
    text = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 24, "vocab_size": 562, "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 4, 4], "mrope_interleaved": True},
    }  # fmt: skip
    experts = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
    return {
        "dense": (Qwen3VLConfig(vision_config=vision, text_config=text), Qwen3VLForConditionalGeneration),
        "tied": (
            Qwen3VLConfig(vision_config=vision, text_config=text, tie_word_embeddings=True),
            Qwen3VLForConditionalGeneration,
        ),
        "mixture of experts": (
            Qwen3VLMoeConfig(vision_config=vision, text_config=text | experts),
            Qwen3VLMoeForConditionalGeneration,
        ),
    }


@pytest.fixture(scope="module", params=["dense", "tied", "mixture of experts"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalEngine, Plain]:
    """The engine and plain transformers over one random checkpoint, with the bundled one's tokenizer and template."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config, kind = layouts()[request.param]
    bundled = AutoProcessor.from_pretrained(DEMO)
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, name, getattr(bundled, name, getattr(config, name)))
    torch.manual_seed(5)
    model = kind(config)
    # As they come, random weights hardly look at anything: with larger ones every part of the prompt counts.
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            weight.data.normal_(std=0.15 if "embed" not in name else 0.5)
    model.generation_config.eos_token_id = bundled.tokenizer.eos_token_id
    model.save_pretrained(folder)
    bundled.save_pretrained(folder)
    return LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1), Plain(folder)


def film(frames: int, height: int, width: int, *, first_s: float = 0.0) -> TimedFrames:
    chance = np.random.default_rng(frames * height)
    times_s = first_s + np.cumsum(chance.uniform(0.1, 0.9, frames))
    return TimedFrames(chance.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), times_s)


def opened(engine: LocalEngine, chunks: list[TimedFrames], **options: Any) -> LocalSession:
    last_s = float(chunks[-1].times_s[-1])
    return engine.open_session(chunks, Span(0, last_s + 1), capacity_tokens=6000, **options)


@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(2, 64, 64), (40, 96, 160), (18, 32, 320), (7, 160, 96), (1, 64, 96)],
    ids=["one patch", "many", "wide", "odd number", "one frame"],
)
@pytest.mark.parametrize("chunk_tokens", [1, 37, 1024])
def test_logits_are_those_of_one_pass(
    both: tuple[LocalEngine, Plain], monkeypatch: pytest.MonkeyPatch, frames: int, height: int, width: int, chunk_tokens: int
) -> None:
    engine, plain = both
    monkeypatch.setitem(prefill.CHUNK_TOKENS, "cpu", chunk_tokens)
    whole = film(frames, height, width)
    # As the decoder gives them: in pieces that do not fall on patches.
    pieces = [TimedFrames(whole.frames[at : at + 5], whole.times_s[at : at + 5]) for at in range(0, frames, 5)]
    session = opened(engine, pieces)
    if frames == 1:
        # transformers refuses a single frame; the engine shows it twice.
        whole = TimedFrames(np.repeat(whole.frames, 2, axis=0), np.repeat(whole.times_s, 2))
    elif frames % 2:
        # The processor repeats a last odd frame, but only after it was told the times.
        whole = TimedFrames(np.concatenate([whole.frames, whole.frames[-1:]]), np.append(whole.times_s, whole.times_s[-1]))
    expected = plain.logits(whole, QUESTION)
    assert expected.std() > 0.5
    assert (session.first_logits(QUESTION) - expected).abs().max() <= 1e-4
    assert torch.equal(
        torch.cat([session.prefix_ids, engine.question_ids(QUESTION)], 1), plain.inputs(whole, QUESTION)["input_ids"]
    )


def test_greedy_replies_are_the_same_and_do_not_depend_on_what_was_asked_before(both: tuple[LocalEngine, Plain]) -> None:
    engine, plain = both
    whole = film(12, 64, 96)
    session = opened(engine, [whole])
    questions = [QUESTION, "How many events are in the video?", QUESTION]
    for question in questions:
        said = list(session.tokens(question, GenerationConfig(24)))
        expected = plain.model.generate(**plain.inputs(whole, question), do_sample=False, max_new_tokens=24)
        assert said == expected[0, -len(said) :].tolist()


def test_two_windows_of_one_video_each_keep_their_own(both: tuple[LocalEngine, Plain]) -> None:
    engine, plain = both
    first, second = film(10, 64, 64), film(14, 64, 64, first_s=5000.0)
    sessions = [
        opened(engine, [first]),
        engine.open_session([second], Span(5000, 5010), capacity_tokens=6000, clock_offset_s=5000.0),
    ]
    local = TimedFrames(second.frames, second.times_s - 5000.0)
    for _ in range(2):
        for session, shown in zip(sessions, (first, local), strict=True):
            assert (session.first_logits(QUESTION) - plain.logits(shown, QUESTION)).abs().max() <= 1e-4
    assert sessions[1].patches[0].first_frame_s == second.times_s[0]


def test_a_context_beyond_the_checkpoints_own_is_stretched_by_yarn(both: tuple[LocalEngine, Plain]) -> None:
    folder = both[0].checkpoint.folder
    checkpoint = find_checkpoint(str(folder), context_tokens=20_000)
    assert (checkpoint.max_context_tokens, checkpoint.yarn_factor) == (20_000, 3.0)
    assert find_checkpoint(str(folder), context_tokens=1_000_000).max_context_tokens == 4 * 8192
    stretched = LocalEngine(checkpoint, device="cpu", cpu_threads=1)
    whole = film(12, 64, 96)
    config = AutoConfig.from_pretrained(folder)
    config.text_config.rope_parameters |= {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 8192}
    plain = Plain.of(both[1].processor, AutoModelForImageTextToText.from_pretrained(folder, config=config, dtype=torch.float32))
    expected = plain.logits(whole, QUESTION)
    assert (opened(stretched, [whole]).first_logits(QUESTION) - expected).abs().max() <= 1e-4
    assert (both[1].logits(whole, QUESTION) - expected).abs().max() > 1e-2


@pytest.mark.parametrize(("rows", "columns", "patches"), [(1, 1, 3), (3, 5, 4), (7, 2, 2)])
def test_positions_are_those_that_transformers_computes(engine: LocalEngine, rows: int, columns: int, patches: int) -> None:
    plain = Plain(DEMO)
    inputs = plain.inputs(film(2 * patches, rows * 32, columns * 32), QUESTION)
    ids = inputs["input_ids"][0]
    expected, delta = plain.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], video_grid_thw=inputs["video_grid_thw"]
    )
    found, end = rope_positions(ids == engine.processor.video_token_id, rows, columns, start=0)
    assert torch.equal(found, expected[:, 0])
    assert end - len(ids) == int(delta)


def test_frames_are_read_while_the_rest_is_still_to_come(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a chunk is held: the first is in the cache before the third is asked for."""
    monkeypatch.setitem(prefill.CHUNK_TOKENS, "cpu", 64)
    whole = film(48, 64, 96)
    filled: list[int] = []

    def coming() -> Any:
        for at in range(0, 48, 8):
            # What has gone through the vision tower so far.
            filled.append(len(seen))
            yield TimedFrames(whole.frames[at : at + 8], whole.times_s[at : at + 8])

    seen: list[int] = []
    visual = engine.model.model.visual
    handle = visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        engine.open_session(coming(), Span(0, 60), capacity_tokens=6000)
    finally:
        handle.remove()
    # Ten patches of six tokens are a chunk: 20 frames.
    assert filled == [0, 0, 0, 1, 1, 2]
    assert max(seen) <= 64 * 4
