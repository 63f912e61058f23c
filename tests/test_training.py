"""The training recipe at toy size: what it asks, what it trains, that it stops and goes on, and that its checkpoint is one."""

import json
import os
import random
import re
import signal
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata

from model import attention
from model.checkpoints import DEMO, FAMILIAR_FILE, find_checkpoint
from model.errors import TrainingFailed, TrainingRefused
from model.prompts import DENSE_CAPTIONS, localize
from model.qwen import QwenEngine
from model.training import ablations, loop
from model.training.__main__ import main
from model.training.auxiliary import CLASSES, frame_labels
from model.training.batches import Batch, batch_at, batches, fitting_grids, sample_shape
from model.training.building import random_model, read, trained_parameters
from model.training.generating import replies
from model.training.loop import Recipe, Run, train
from model.training.losses import answer_loss
from model.training.questions import SHARES, ask, conversation
from model.training.rendering import backdrops, draw, event_tables, patchified, pixels
from model.training.scoring import Score, held_out, overlap, read_times, scores
from model.training.sizes import FULL, SIZES, TOY
from model.training.stages import FULL_STAGES, TOY_STAGES, Stage, rate_share, stage_at
from model.training.state import STATE_FILE, forget_state, load_state, save_state
from model.training.tokens import NO_LABEL, POSITIONS_PER_SECOND, RowWriter
from model.training.world import HELD_OUT_SEEDS, RUNS, TRAINING_SEEDS, Scene, held_out_seed, sample_scene, training_seed
from model.training.writing import write_checkpoint
from video import shapes
from video.decoder import TimedFrames
from video.shapes import ShapesEvent
from video.timeline import Span

CPU = torch.device("cpu")
ATTENTION = {"text_config": "sdpa", "vision_config": attention.VISION}
RECIPE = Recipe("toy", seed=3, steps=8)
SCENE = Scene(
    (
        ShapesEvent(100.0, 106.0, "red", "circle", "moves up"),
        ShapesEvent(108.0, 115.9, "orange", "star", "grows"),
    ),
    patches=8,
    seconds_between_frames=1.0,
    start_s=100.0,
)
"""Markers at 100.5, 102.5, …, 114.5; the circle is in the patches 0 to 2, the star in 4 to 7."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def writer() -> RowWriter:
    return RowWriter()


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(DEMO, local_files_only=True)


def scenes(count: int = 200) -> list[Scene]:
    return [sample_scene(random.Random(seed), 3 + seed % 30, events_max=10) for seed in range(count)]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


# The world


def test_a_scene_is_the_same_for_the_same_seed_and_never_has_more_than_two_events_at_a_time() -> None:
    for scene, again in zip(scenes(), scenes(), strict=True):
        assert scene == again
        assert scene.seen
        for time_s in scene.frame_times_s:
            assert sum(event.start_s <= time_s < event.end_s for event in scene.events) <= shapes.DRAWN_AT_ONCE


def test_held_out_scenes_have_seeds_that_training_never_draws() -> None:
    assert TRAINING_SEEDS.stop <= HELD_OUT_SEEDS.start
    ends = [(0, 0, 0), (RUNS - 1, (1 << 32) - 1, (1 << 12) - 1), (3, 17, 5)]
    assert all(training_seed(*numbers) in TRAINING_SEEDS for numbers in ends)
    assert len({training_seed(*numbers) for numbers in [*ends, (3, 18, 5), (4, 17, 5), (3, 17, 6)]}) == 6
    lengths = {patches for size in SIZES.values() for patches, _ in size.scored}
    drawn = [held_out_seed(patches, kind, index) for patches in lengths for kind in range(6) for index in (0, 127, 65535)]
    assert all(seed in HELD_OUT_SEEDS for seed in drawn)
    assert len(set(drawn)) == len(drawn)
    with pytest.raises(ValueError, match="seed must be"):
        training_seed(RUNS, 0, 0)


def test_the_seeds_that_training_and_scoring_draw_are_those() -> None:
    drawn: list[int] = []

    class Noted(random.Random):
        def __init__(self, seed: int) -> None:
            drawn.append(seed)
            super().__init__(seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.batches.random.Random", Noted)
        batch_at(RowWriter(), TOY, "text", run=5, step=9, progress=0.1)
        trained, drawn = drawn, []
        held_out(8, "when", 4)
    assert trained and all(seed in TRAINING_SEEDS for seed in trained)
    assert len(drawn) == 4 and all(seed in HELD_OUT_SEEDS for seed in drawn)


def test_frames_are_those_that_the_project_renders() -> None:
    times = torch.tensor(SCENE.frame_times_s - SCENE.start_s, dtype=torch.float32).unsqueeze(0)
    for scene in (SCENE, *scenes(12)):
        backdrop = shapes.background(64, 96, seed=1)
        times = torch.tensor(scene.frame_times_s - scene.start_s, dtype=torch.float32).unsqueeze(0)
        ours = draw(event_tables([scene]), times, torch.tensor(backdrop).permute(2, 0, 1)[None, None])[0]
        theirs = np.stack([shapes.draw(scene.events, float(time_s), backdrop) for time_s in scene.frame_times_s])
        apart = np.abs(ours.permute(0, 2, 3, 1).numpy() - theirs)
        # Events that begin in the very moment of a frame may be rounded to either side of it.
        assert np.quantile(apart.reshape(len(theirs), -1).max(axis=1), 0.9) < 2


def test_pixels_are_in_the_order_that_the_processor_has_them(processor: Any) -> None:
    table, times = event_tables([SCENE]), torch.tensor(SCENE.frame_times_s - SCENE.start_s, dtype=torch.float32).unsqueeze(0)
    made = pixels(table, times, (2, 3), seed=4, noise=0.0)
    frames = draw(table, times, _backdrop_of(made, 2, 3))
    out = processor.video_processor(
        [frames[0].round().to(torch.uint8)], do_resize=False, do_sample_frames=False, return_tensors="pt"
    )
    assert out["video_grid_thw"].tolist() == [[8, 4, 6]]
    assert (out["pixel_values_videos"] - made).abs().max() < 0.02


def _backdrop_of(made: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    return backdrops(1, rows * 32, columns * 32, torch.Generator().manual_seed(4))


# Questions and answers


def test_answers_state_what_is_true() -> None:
    rng = random.Random(0)
    dense = ask(rng, SCENE, "dense", "seconds")
    assert dense.question == DENSE_CAPTIONS
    assert json.loads(dense.answer) == [
        {"start": 100.5, "end": 104.5, "description": "A red circle moves up."},
        {"start": 108.5, "end": 114.5, "description": "An orange star grows."},
    ]
    assert json.loads(ask(rng, SCENE, "dense", "hms").answer)[0]["start"] == "0:01:40.5"
    assert ask(rng, SCENE, "count", "seconds").answer == "2."
    star = "An orange star grows."
    for _ in range(30):
        when, after, at = (ask(rng, SCENE, kind, "seconds") for kind in ("when", "after", "at"))
        assert when.answer == ("From 100.5 to 104.5 seconds." if "red" in when.question else "From 108.5 to 114.5 seconds.")
        assert after.answer == (star if "red" in after.question else "Nothing happens after that.")
        time_s = float(re.findall(r"[\d.]+", at.question)[0])
        assert at.answer == (
            "A red circle moves up." if time_s < 106 else "Nothing happens at that time." if time_s < 107 else star
        )
        found = ask(rng, SCENE, "localize", "seconds")
        assert found.question == localize(re.findall(r'query "(.*?)"', found.question)[0])
        marked = {SCENE.markers_s.index(entry["start"]) for entry in json.loads(found.answer)}
        assert found.about is not None and marked == {first for first, _ in found.about}


def test_localisation_asks_for_what_is_there_what_is_not_and_what_is_there_twice() -> None:
    answers = [json.loads(ask(random.Random(i), scene, "localize", "seconds").answer) for i, scene in enumerate(scenes(400))]
    counts = [len(answer) for answer in answers]
    assert 0.15 < counts.count(0) / 400 < 0.35
    assert sum(count > 1 for count in counts) > 40


def test_times_are_asked_and_answered_in_seconds_and_as_hours_minutes_seconds() -> None:
    turns = [turn for seed, scene in enumerate(scenes()) for turn in conversation(random.Random(seed), scene, 4)]
    timed = [turn for turn in turns if turn.kind in ("dense", "localize", "when", "at")]
    clock = re.compile(r"\d:\d\d:\d\d\.\d")
    written = [bool(clock.search(turn.question + turn.answer)) for turn in timed if turn.answer != "[]"]
    assert 0.1 < sum(written) / len(written) < 0.3
    assert any(turn.kind == "at" and clock.search(turn.question) for turn in timed)
    assert any(turn.kind == "when" and clock.search(turn.answer) for turn in timed)
    for turn in timed:
        if turn.kind in ("dense", "localize") and turn.answer != "[]":
            assert bool(clock.search(turn.answer)) == ("H:MM:SS" in turn.question)
    assert {turn.kind for turn in turns} == set(SHARES)


def test_markers_are_in_seconds_and_as_hours_minutes_seconds(writer: RowWriter) -> None:
    seconds, hms = (writer.text(writer.conversation(SCENE, (), (2, 2), "text", clock).ids) for clock in ("seconds", "hms"))
    assert "<100.5 seconds>" in seconds and "<0:01:40.5>" in hms and "seconds" not in hms


# Tokens


def test_a_prompt_is_what_the_processor_and_the_chat_template_make_of_it(writer: RowWriter, processor: Any) -> None:
    row = writer.prompt(SCENE, "How many?", (2, 3), "text")
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "How many?"}]}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    milliseconds = [round(time_s * 1000) for time_s in SCENE.frame_times_s]
    metadata = VideoMetadata(total_num_frames=milliseconds[-1] + 1, fps=1000.0, frames_indices=milliseconds)
    frames = torch.zeros((16, 3, 64, 96), dtype=torch.uint8)
    out = processor(
        text=[text],
        videos=[frames],
        videos_kwargs={"do_resize": False, "do_sample_frames": False, "video_metadata": [metadata]},
        return_tensors="pt",
        return_mm_token_type_ids=True,
    )
    assert row.ids == out["input_ids"][0].tolist()
    model = random_model(replace(TOY, text=TOY.text | {"num_hidden_layers": 1}), seed=0)
    expected, _ = model.model.get_rope_index(out["input_ids"], out["mm_token_type_ids"], video_grid_thw=out["video_grid_thw"])
    assert torch.equal(torch.tensor(row.positions).T, expected[:, 0])


def test_labels_cover_the_answers_and_nothing_else(writer: RowWriter) -> None:
    turns = conversation(random.Random(1), SCENE, 4)
    row = writer.conversation(SCENE, turns, (2, 2), "text", "seconds")
    for number, turn in enumerate(turns):
        places = [place for place, answer in enumerate(row.answer_of) if answer == number]
        assert [row.ids[place] for place in places] == writer.ids(turn.answer) + [writer.end_id]
        assert row.answer_starts[number] == places[0] - 1
    for token, label, answer in zip(row.ids, row.labels, row.answer_of, strict=True):
        assert label == (NO_LABEL if answer < 0 else token)
    assert len(turns) > 1


def test_without_markers_the_positions_follow_the_clock(writer: RowWriter) -> None:
    row = writer.conversation(SCENE, (), (2, 2), "none", "seconds")
    assert not re.search(r"\d", writer.text(row.ids))
    starts = [row.positions[end - 4][0] for end in row.patch_ends]
    assert np.diff(starts).tolist() == [2 * POSITIONS_PER_SECOND] * 7
    later = writer.conversation(replace(SCENE, start_s=150.0), (), (2, 2), "none", "seconds")
    assert later.positions[later.patch_ends[0]][0] - row.positions[row.patch_ends[0]][0] == 50 * POSITIONS_PER_SECOND


# Batches


def test_longer_videos_come_in_smaller_pictures_and_fewer_at_a_time() -> None:
    shapes_seen = [sample_shape(random.Random(seed), FULL, FULL_STAGES[-1]) for seed in range(500)]
    short, long = ([shape for shape in shapes_seen if (shape.patches > 250) == is_long] for is_long in (False, True))
    assert min(shape.patches for shape in short) < 5 and max(shape.patches for shape in long) > 450
    assert max(shape.rows for shape in long) < max(shape.rows for shape in short) / 10
    assert all(s.grid[0] * s.grid[1] * s.patches <= FULL.visual_tokens_max for s in shapes_seen)
    assert (4, 7) in fitting_grids(FULL, 24) and (4, 7) not in fitting_grids(FULL, 512)
    lengths = np.array([shape.patches for shape in shapes_seen])
    assert 0.35 < (lengths < 40).mean() < 0.65  # log-uniform: half are shorter than the geometric middle


def test_workers_give_the_same_batches_in_the_same_order(writer: RowWriter) -> None:
    def made(step: int) -> Batch:
        return batch_at(writer, TOY, "text", run=0, step=step, progress=0.3)

    alone, together = (batches(5, made, workers=workers, pinned=False) for workers in (0, 2))
    for _ in range(4):
        one, other = next(alone), next(together)
        assert one.seed == other.seed and torch.equal(one.ids, other.ids) and torch.equal(one.asked_about, other.asked_about)


def test_frame_labels_tell_what_is_in_each_patch() -> None:
    labels = frame_labels(SCENE)
    red, circle, up = list(shapes.COLORS).index("red"), shapes.SHAPES.index("circle"), shapes.ACTIONS.index("moves up")
    assert labels[:3, :3].tolist() == [[red, circle, up]] * 3
    assert labels[3, :3].tolist() == [8, 7, 7]
    assert labels[:, 3].tolist() == [1, 0, 0, 0, 1, 0, 0, 0] and labels[:, 4].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert labels[:, 5].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert labels[1, 6:].tolist() == [0, 1, 0, 2, 5]
    assert (labels < np.array(CLASSES)).all()


# Losses and stages


def test_the_three_losses_weigh_answers_as_computed_by_hand() -> None:
    # An answer of one token with a loss of 3, and one of four tokens with 1 each.
    each, answers = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0]), torch.tensor([0, 1, 1, 1, 1])
    assert answer_loss(each, answers, "token").item() == pytest.approx((3 + 4) / 5)
    assert answer_loss(each, answers, "sample").item() == pytest.approx((3 + 1) / 2)
    # sqrt: weights 1 and 4 x 1/2.
    assert answer_loss(each, answers, "sqrt").item() == pytest.approx((3 + 4 * 0.5) / (1 + 4 * 0.5))


def test_stages_follow_each_other_to_the_end() -> None:
    for stages in (FULL_STAGES, TOY_STAGES):
        assert [stage.name for stage in stages if stage.merger_only] == ["alignment"] == [stages[0].name]
        assert list(dict.fromkeys(stage.name for stage in stages)) == ["alignment", "full", "longer", "longest"]
        assert [s.until for s in stages] == sorted({s.until for s in stages}) and stages[-1].until == 1
        assert [s.patches_max for s in stages] == sorted(s.patches_max for s in stages)
        assert stage_at(stages, 0.0) == stages[0] and stage_at(stages, 1.0) == stages[-1]
        assert stage_at(stages, stages[0].until) == stages[1]
    assert rate_share(0, 0, 10) == 0.1 and rate_share(0.3, 50, 10) == 1 and rate_share(1, 50, 10) == 0.03


def test_the_first_stage_trains_the_merger_only() -> None:
    run = Run(replace(RECIPE, steps=1000), CPU)
    before = weights(run)
    writer = RowWriter()
    for step in range(3):
        run.train_on(batch_at(writer, TOY, "text", run=3, step=step, progress=run.progress))
    changed = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert run.step == 3
    assert {name.split(".")[2] for name in changed} == {"merger", "deepstack_merger_list"}
    assert changed <= set(trained_parameters(run.model, TOY_STAGES[0]))
    run.step = 30  # of 1000: behind the first stage
    run.train_on(batch_at(writer, TOY, "text", run=3, step=30, progress=run.progress))
    late = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert {"model.language_model.embed_tokens.weight", "model.visual.blocks.0.attn.qkv.weight"} <= late


# Training


def test_the_loss_falls_on_one_batch() -> None:
    run = Run(replace(RECIPE, steps=100_000), CPU)
    run.step = 5_000  # behind the first stage and the warm-up
    small = replace(TOY, tokens_per_step=600)
    batch = batch_at(RowWriter(), small, "text", run=0, step=0, progress=0.1)
    first = float(run.losses(batch)[0].detach())
    for _ in range(40):
        run.train_on(batch)
    last = float(run.losses(batch)[0].detach())
    assert first > 5 and last < 0.4 * first


def test_bfloat16_gives_nearly_the_same_loss() -> None:
    run = Run(RECIPE, CPU)
    batch = batch_at(RowWriter(), replace(TOY, tokens_per_step=600), "text", run=0, step=0, progress=0.1)
    exact = torch.stack(run.losses(batch))
    run.mixed = True
    rounded = torch.stack(run.losses(batch))
    rounded.sum().backward()
    assert torch.allclose(exact, rounded, rtol=0.02)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in run.model.parameters())


def test_the_full_size_takes_a_step() -> None:
    run = Run(Recipe("full", steps=100), CPU)
    assert sum(parameter.numel() for parameter in run.model.parameters()) == pytest.approx(11.0e6, rel=0.05)
    run.step = 50
    small = replace(FULL, tokens_per_step=1500, rows_per_step_max=2, grids=((3, 3),))
    batch = batch_at(RowWriter(), small, "text", run=0, step=50, progress=0.05)
    before = weights(run)
    run.train_on(batch)
    assert run.loss > 1 and all(torch.isfinite(value).all() for value in weights(run).values())
    assert sum(not torch.equal(value, before[name]) for name, value in weights(run).items()) > 0.9 * len(before)


@pytest.mark.gpu
def test_full_size_steps_on_a_gpu_are_finite() -> None:
    """64 vision patches a frame, at which cuDNN's attention was seen to give NaN gradients; the kernels are chosen by `Run`."""
    run = Run(Recipe("full", steps=10_000), torch.device("cuda"))
    squares = replace(FULL, grids=((4, 4),))
    for step in (0, 4000, 9000):
        run.step = step
        run.train_on(batch_at(RowWriter(), squares, "text", run=0, step=step, progress=run.progress))
        assert run.step == step + 1 and run.loss == run.loss
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())
    assert run._bad == 0


def test_useless_numbers_are_passed_over_and_then_end_the_run() -> None:
    run = Run(replace(RECIPE, steps=1000), CPU)
    batch = batch_at(RowWriter(), replace(TOY, tokens_per_step=300), "text", run=0, step=0, progress=0.1)
    run.train_on(batch)
    before = weights(run)
    with torch.no_grad():
        run.heads.labels.bias.fill_(float("nan"))
    for _ in range(loop.BAD_STEPS_MAX - 1):
        run.train_on(batch)
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())
    with pytest.raises(TrainingFailed, match="not finite"):
        run.train_on(batch)


class Killed(Exception):
    pass


def test_a_stopped_run_goes_on_exactly_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(RECIPE, tmp_path / "whole", device=CPU)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "REPORT_EVERY", 1)

    def stop(step: int, progress: float, loss: float) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        train(RECIPE, tmp_path / "parts", device=CPU, on_step=stop)
    state = load_state(tmp_path / "parts")
    assert state is not None and state["step"] == 5
    seen: list[int] = []
    again = train(RECIPE, tmp_path / "parts", device=CPU, on_step=lambda step, *_: seen.append(step))
    assert seen == [6, 7, 8]
    assert again.spent_s > state["spent_s"] and again.tokens == whole.tokens and again.loss == whole.loss
    for name, value in weights(whole).items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    with pytest.raises(TrainingRefused, match="another folder"):
        train(replace(RECIPE, loss="token"), tmp_path / "parts", device=CPU)


def test_a_write_that_fails_half_way_leaves_the_old_state(tmp_path: Path) -> None:
    save_state(tmp_path, {"step": 1, "weights": torch.arange(1000)})

    class Refuses:
        def __reduce__(self) -> Any:
            raise Killed

    with pytest.raises(Killed):
        save_state(tmp_path, {"step": 2, "weights": torch.arange(1000), "more": Refuses()})
    state = load_state(tmp_path)
    assert state is not None and state["step"] == 1 and torch.equal(state["weights"], torch.arange(1000))
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_process_killed_while_it_writes_leaves_a_whole_state(tmp_path: Path) -> None:
    save_state(tmp_path, {"step": 0, "weights": torch.zeros(300_000)})
    before = 0
    for pause_s in (0.05, 0.073, 0.11):
        child = os.fork()
        if child == 0:
            for step in range(before + 1, 1_000_000):
                save_state(tmp_path, {"step": step, "weights": torch.full((300_000,), float(step))})
            os._exit(0)
        time.sleep(pause_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = load_state(tmp_path)
        assert state is not None and state["step"] >= before
        assert (state["weights"] == state["step"]).all()
        before = state["step"]
    assert before > 0
    forget_state(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    (tmp_path / STATE_FILE).write_bytes(b"not a state")
    with pytest.raises(TrainingRefused, match="remove it"):
        load_state(tmp_path)


# The checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    run = train(replace(RECIPE, steps=4), folder, device=CPU)
    tiny = replace(TOY, scored=((4, 3),), reply_tokens_max=12)
    write_checkpoint(run, folder, scores(run.model, tiny, "text"))
    forget_state(folder)
    return run, folder


def test_the_folder_is_complete_and_holds_nothing_of_the_training(trained: tuple[Run, Path]) -> None:
    run, folder = trained
    # What it is familiar with is fitted afterwards, see `benchmarks.fit_familiarity`.
    assert {path.name for path in folder.iterdir()} == {path.name for path in DEMO.iterdir()} - {FAMILIAR_FILE} | {"scores.json"}
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    assert names == set(run.model.state_dict()) - {"lm_head.weight"}
    assert not any("heads" in name or "labels" in name or "query" in name for name in names)
    written = json.loads((folder / "scores.json").read_text())
    assert written["recipe"]["seed"] == 3 and {score["kind"] for score in written["scores"]} == set(SHARES)
    assert "## Scores" in (folder / "README.md").read_text()
    # Every form that is promised is one that was asked in training.
    promised = json.loads((folder / "trained_range.json").read_text())["question_forms"]
    asked = [turn.question for i, scene in enumerate(scenes(400)) for turn in conversation(random.Random(i), scene, 4)]
    for form in promised:
        pattern = re.escape(form).replace(r"\{time\}", r"[\d.]+").replace(r"\{thing\}", r"\w+ \w+")
        assert any(re.fullmatch(pattern, question) for question in asked), form


def test_transformers_loads_the_folder(trained: tuple[Run, Path]) -> None:
    run, folder = trained
    assert AutoProcessor.from_pretrained(folder, local_files_only=True).video_token == "<|video_pad|>"
    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    for name, value in run.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.to(torch.bfloat16).float()), name


def test_the_engine_answers_with_the_folder_as_training_saw_it(trained: tuple[Run, Path], writer: RowWriter) -> None:
    _, folder = trained
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.trained.patches_max == 12 and "toy" in str(checkpoint.notice)
    engine = QwenEngine(checkpoint, device="cpu", threads=1)
    backdrop = shapes.background(64, 64, seed=2)
    frames = np.stack([shapes.draw(SCENE.events, float(time_s), backdrop) for time_s in SCENE.frame_times_s])
    timed = TimedFrames(frames, SCENE.frame_times_s)
    session = engine.open([timed], Span(100.0, 116.0), room_tokens=1000)
    logits = session.first_logits("How many events are in the video?")
    said = session.ask("How many events are in the video?", max_new_tokens=8)
    assert "".join(said) == said.text

    row = writer.prompt(SCENE, "How many events are in the video?", (2, 2), "text")
    normalised = torch.from_numpy(frames).permute(0, 3, 1, 2).unsqueeze(0) / 127.5 - 1
    with torch.inference_mode():
        hidden = read(
            AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, attn_implementation=ATTENTION
            ),
            torch.tensor([row.ids]),
            torch.tensor(row.positions).T.unsqueeze(1),
            patchified(normalised, (2, 2)),
            (2, 2),
        )
        ours = engine.model.lm_head(hidden[0, -1])
    assert torch.allclose(ours, logits, atol=1e-3)


def test_the_command_line_makes_a_checkpoint_and_does_not_overwrite_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "toy", replace(TOY, scored=((3, 1),), reply_tokens_max=4, tokens_per_step=300))
    folder = tmp_path / "made"
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0.002", "--size", "toy", "-o", str(folder)])
    assert main() == 0
    assert "is complete" in capsys.readouterr().out
    assert find_checkpoint(str(folder)).trained.frames_max == 24
    assert main() == 1
    assert "already holds a checkpoint" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0", "-o", str(folder)])
    assert main() == 1
    assert "--minutes" in capsys.readouterr().err


# Scores and ablations


def test_replies_in_a_batch_are_those_of_each_prompt_alone(trained: tuple[Run, Path], writer: RowWriter) -> None:
    run, _ = trained
    asked = [(scene, turn.question) for scene, turn in held_out(4, "when", 2) + held_out(4, "dense", 1)]
    together = replies(run.model, writer, asked, (2, 2), "text", seed=0, tokens_max=10)
    assert len(together) == 3
    # Backgrounds depend on the place in the batch, so only the first has the same pictures alone.
    assert replies(run.model, writer, asked[:1], (2, 2), "text", seed=0, tokens_max=10) == together[:1]


def test_overlaps_are_as_computed_by_hand() -> None:
    true = read_times('[{"start": 1.0, "end": 3.0, "description": "A."}, {"start": "0:00:05.0", "end": "0:00:07.0"}]')
    assert true == [(1.0, 3.0, "A."), (5.0, 7.0, "")]
    assert overlap(true, true) == 1
    assert overlap([(2.0, 4.0, "A.")], true[:1]) == pytest.approx(1 / 3)
    assert overlap([(1.0, 3.0, "B.")], true[:1]) == 1
    assert overlap([(1.0, 3.0, "B.")], true[:1], same_text=True) == 0
    assert overlap([*true, (9.0, 9.5, "")], true) == pytest.approx(2 / 3)
    assert read_times("[]") == [] and read_times("no") is None and read_times("3") is None


def test_ablations_train_each_variant_once_and_write_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(TOY, scored=((3, 1),), reply_tokens_max=4, tokens_per_step=300)
    monkeypatch.setitem(SIZES, "toy", tiny)
    first = ablations.ablate(tmp_path, "toy", steps=1, seeds=1, device=CPU)
    assert [(r.recipe.loss, r.recipe.timestamps) for r in first] == list(ablations.VARIANTS)
    text = (tmp_path / "ablations.md").read_text()
    assert sum(line.startswith(("| sqrt", "| token", "| sample")) for line in text.splitlines()) == 4
    assert len(json.loads((tmp_path / "ablations.json").read_text())) == 4
    assert ablations.ablate(tmp_path, "toy", steps=1, seeds=1, device=CPU) == first
    with pytest.raises(TrainingRefused, match="another folder"):
        ablations.ablate(tmp_path, "toy", steps=2, seeds=1, device=CPU)


def test_a_mean_leaves_out_what_was_not_measured() -> None:
    told = Score("localize", 3, 1, 0.5, 0.5, 1.0, iou=None)
    result = ablations.Result(RECIPE, 1.0, 1, (told, replace(told, iou=0.4, patches=6)))
    assert result.mean("iou") == 0.4 and result.mean("exact") == 0.5
    assert result.mean("iou", ("dense",)) != result.mean("iou", ("dense",))  # nan


def test_every_tensor_of_a_batch_goes_to_the_device(writer: RowWriter) -> None:
    batch = batch_at(writer, TOY, "text", run=0, step=0, progress=0.5)
    moved = batch.to(torch.device("meta"))
    assert all(getattr(moved, f.name).is_meta for f in fields(Batch) if torch.is_tensor(getattr(batch, f.name)))


def test_a_stage_without_restriction_trains_everything() -> None:
    model = random_model(TOY, seed=0)
    assert len(trained_parameters(model, Stage("full", 1.0, 4))) == len(list(model.parameters()))
