"""Chunked prefill against one pass of plain transformers, on random checkpoints with the published layouts."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from longview.core.timeline import Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.checkpoints.checkpoints import DEMO, find_checkpoint
from longview.model.engine.checkpoints.layer_types import read_layer_types
from longview.model.engine.execution import frame_batches
from longview.model.engine.execution.kv_cache import PreallocatedCache
from longview.model.engine.execution.prefill import Prefill, rope_positions
from longview.model.engine.execution.visual_inputs import use_indexed_deepstack
from longview.model.engine.generation.decoding import GenerationConfig
from longview.model.engine.kernels.patch_embedding import use_linear_patch_embedding
from longview.model.engine.loading import ATTENTION
from longview.model.engine.local import LocalEngine
from longview.model.engine.local_session import LocalSession
from longview.video.decoding.decoder import TimedFrames
from tests.support.hf_reference import HFReference
from tests.support.random_checkpoints import LAYOUTS, random_model, save_random_checkpoint

QUESTION = "What happens at 2.5 seconds?"


@pytest.fixture(scope="module", params=LAYOUTS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalEngine, HFReference]:
    """The engine and plain transformers with one random checkpoint, and the tokenizer and template of the bundled one."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_random_checkpoint(folder, request.param)
    return LocalEngine(find_checkpoint(str(folder)), device="cpu", cpu_threads=1), HFReference(folder)


def random_frames(frames: int, height: int, width: int, *, first_s: float = 0.0) -> TimedFrames:
    rng = np.random.default_rng(frames * height)
    times_s = first_s + np.cumsum(rng.uniform(0.1, 0.9, frames))
    return TimedFrames(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), times_s)


def open_session(engine: LocalEngine, chunks: list[TimedFrames], **options: Any) -> LocalSession:
    last_s = float(chunks[-1].times_s[-1])
    return engine.open_session(chunks, WindowRequest(Span(0, last_s + 1), capacity_tokens=6000), **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prefill_reads_nothing_back_from_the_device(layout: str) -> None:
    # A tensor on this device has no values, so that reading one is an error: a number, a mask's size, a copy to the host.
    with torch.device("meta"):
        model = random_model(layout).bfloat16().eval()
    model.set_attn_implementation(dict(ATTENTION))
    use_linear_patch_embedding(model)
    use_indexed_deepstack(model)
    cache = PreallocatedCache(read_layer_types(model.config.get_text_config(), layout), 200)
    prefilled = Prefill(model, AutoProcessor.from_pretrained(DEMO), cache, clock_offset_s=0.0)
    video = random_frames(8, 64, 96)
    with torch.inference_mode():
        prefilled.append_text("Look:")
        for part in (slice(0, 4), slice(4, 8)):
            prefilled.append_frames(video.frames[part], video.times_s[part])
    assert cache.get_seq_length() == prefilled.ids.shape[1] > 24


@pytest.mark.gpu
def test_host_does_not_wait_for_a_chunk_on_a_gpu() -> None:
    engine = LocalEngine(find_checkpoint("demo"), device="cuda")
    cache = PreallocatedCache(engine.layer_types, 2000)
    prefilled = Prefill(engine.model, engine.processor, cache, clock_offset_s=0.0)
    video = random_frames(24, 96, 160)
    with torch.inference_mode():
        # The first chunks choose the kernels.
        for start in range(0, 16, 8):
            prefilled.append_frames(video.frames[start : start + 8], video.times_s[start : start + 8])
        torch.cuda.set_sync_debug_mode("error")
        try:
            prefilled.append_frames(video.frames[16:], video.times_s[16:])
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    ("frames", "height", "width"),
    [(2, 64, 64), (40, 96, 160), (18, 32, 320), (7, 160, 96), (1, 64, 96)],
    ids=["one patch", "many", "wide", "odd number", "one frame"],
)
@pytest.mark.parametrize("chunk_tokens", [1, 37, 1024])
def test_logits_equal_those_of_one_pass(
    both: tuple[LocalEngine, HFReference],
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    height: int,
    width: int,
    chunk_tokens: int,
) -> None:
    engine, plain = both
    monkeypatch.setitem(frame_batches.CHUNK_TOKENS, "cpu", chunk_tokens)
    video = random_frames(frames, height, width)
    # The decoder yields chunks that do not end at patch boundaries.
    chunks = [TimedFrames(video.frames[start : start + 5], video.times_s[start : start + 5]) for start in range(0, frames, 5)]
    session = open_session(engine, chunks)
    if frames == 1:
        # transformers rejects a single frame. The engine repeats it.
        video = TimedFrames(np.repeat(video.frames, 2, axis=0), np.repeat(video.times_s, 2))
    elif frames % 2:
        # The processor repeats an odd last frame, but without its time.
        video = TimedFrames(
            np.concatenate([video.frames, video.frames[-1:]]),
            np.append(video.times_s, video.times_s[-1]),
        )
    expected = plain.logits(video, QUESTION)
    assert expected.std() > 0.5
    assert (session.first_logits(QUESTION) - expected).abs().max() <= 1e-4
    assert torch.equal(
        torch.cat([session.prefix_ids, engine.question_ids(QUESTION)], 1), plain.inputs(video, QUESTION)["input_ids"]
    )


def test_greedy_replies_equal_those_of_plain_transformers(both: tuple[LocalEngine, HFReference]) -> None:
    engine, plain = both
    video = random_frames(12, 64, 96)
    session = open_session(engine, [video])
    questions = [QUESTION, "How many events are in the video?", QUESTION]
    for question in questions:
        tokens = list(session.tokens(question, GenerationConfig(24)))
        expected = plain.model.generate(**plain.inputs(video, question), do_sample=False, max_new_tokens=24)
        assert tokens == expected[0, -len(tokens) :].tolist()


def test_two_windows_have_separate_caches(both: tuple[LocalEngine, HFReference]) -> None:
    engine, plain = both
    first, second = random_frames(10, 64, 64), random_frames(14, 64, 64, first_s=5000.0)
    sessions = [
        open_session(engine, [first]),
        engine.open_session([second], WindowRequest(Span(5000, 5010), capacity_tokens=6000, clock_offset_s=5000.0)),
    ]
    local = TimedFrames(second.frames, second.times_s - 5000.0)
    for _ in range(2):
        for session, frames in zip(sessions, (first, local), strict=True):
            assert (session.first_logits(QUESTION) - plain.logits(frames, QUESTION)).abs().max() <= 1e-4
    assert sessions[1].patches[0].first_frame_s == second.times_s[0]


def test_longer_context_is_extended_by_yarn(both: tuple[LocalEngine, HFReference]) -> None:
    folder = both[0].checkpoint.folder
    checkpoint = find_checkpoint(str(folder), context_tokens=20_000)
    assert (checkpoint.max_context_tokens, checkpoint.yarn_factor) == (20_000, 3.0)
    assert find_checkpoint(str(folder), context_tokens=1_000_000).max_context_tokens == 4 * 8192
    extended = LocalEngine(checkpoint, device="cpu", cpu_threads=1)
    video = random_frames(12, 64, 96)
    config = AutoConfig.from_pretrained(folder)
    config.text_config.rope_parameters |= {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 8192}
    plain = HFReference.from_loaded(
        both[1].processor, AutoModelForImageTextToText.from_pretrained(folder, config=config, dtype=torch.float32)
    )
    expected = plain.logits(video, QUESTION)
    assert (open_session(extended, [video]).first_logits(QUESTION) - expected).abs().max() <= 1e-4
    assert (both[1].logits(video, QUESTION) - expected).abs().max() > 1e-2


def test_patches_have_the_timestamps_of_the_prompt(engine: LocalEngine) -> None:
    # Their means are just between two tenths: 0.05, 0.25 and 99.95 seconds.
    times_s = np.array([0.009, 0.091, 0.2, 0.3, 98.231, 101.669])
    session = open_session(engine, [TimedFrames(np.zeros((6, 64, 64, 3), np.uint8), times_s)])
    text = engine.processor.tokenizer.decode(session.prefix_ids[0])
    assert re.findall(r"<([\d.]+) seconds>", text) == [f"{patch.timestamp_s:.1f}" for patch in session.patches]


@pytest.mark.parametrize(("rows", "columns", "patches"), [(1, 1, 3), (3, 5, 4), (7, 2, 2)])
def test_rope_positions_equal_those_of_transformers(engine: LocalEngine, rows: int, columns: int, patches: int) -> None:
    plain = HFReference(DEMO)
    inputs = plain.inputs(random_frames(2 * patches, rows * 32, columns * 32), QUESTION)
    ids = inputs["input_ids"][0]
    expected, delta = plain.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], video_grid_thw=inputs["video_grid_thw"]
    )
    positions, end = rope_positions(ids == engine.processor.video_token_id, rows, columns, start=0)
    assert torch.equal(positions, expected[:, 0])
    assert end - len(ids) == int(delta)


def test_frames_are_prefilled_while_later_ones_are_decoded(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one chunk is held: the first is in the cache before the third is requested."""
    monkeypatch.setitem(frame_batches.CHUNK_TOKENS, "cpu", 64)
    video = random_frames(48, 64, 96)
    encoded_chunks: list[int] = []

    def decode() -> Any:
        for start in range(0, 48, 8):
            # Count the chunks that the vision tower has encoded so far.
            encoded_chunks.append(len(chunk_patches))
            yield TimedFrames(video.frames[start : start + 8], video.times_s[start : start + 8])

    chunk_patches: list[int] = []
    visual = engine.model.model.visual
    handle = visual.register_forward_pre_hook(lambda _, inputs: chunk_patches.append(len(inputs[0])))
    try:
        engine.open_session(decode(), WindowRequest(Span(0, 60), capacity_tokens=6000))
    finally:
        handle.remove()
    # A chunk has ten patches of six tokens each, which are 20 frames.
    assert encoded_chunks == [0, 0, 0, 1, 1, 2]
    assert max(chunk_patches) <= 64 * 4
