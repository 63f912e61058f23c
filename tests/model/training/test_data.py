"""What training at toy size sees: scenes, questions and answers, prompts and batches."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata

from longview.model.engine.checkpoints import DEMO
from longview.model.tasks.prompts import DENSE_CAPTIONS, localize_prompt
from longview.model.training.auxiliary import CLASSES, frame_labels
from longview.model.training.batches import Batch, batch_at, batches, fitting_grids, sample_shape
from longview.model.training.configs import FULL, SIZES, TOY
from longview.model.training.curriculum import FULL_STAGES
from longview.model.training.modeling import random_model
from longview.model.training.questions import SHARES, ask, conversation
from longview.model.training.rendering import backdrops, draw, event_tables, pixels
from longview.model.training.scenes import HELD_OUT_SEEDS, MAX_RUNS, TRAINING_SEEDS, held_out_seed, training_seed
from longview.model.training.scoring import held_out
from longview.model.training.tokens import NO_LABEL, POSITIONS_PER_SECOND, RowWriter
from longview.video import synthetic
from tests.toy_training import SCENE, scenes


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def writer() -> RowWriter:
    return RowWriter()


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(DEMO, local_files_only=True)


# The world


def test_a_scene_is_the_same_for_the_same_seed_and_never_has_more_than_two_events_at_a_time() -> None:
    for scene, again in zip(scenes(), scenes(), strict=True):
        assert scene == again
        assert scene.visible_events
        for time_s in scene.frame_times_s:
            assert sum(event.start_s <= time_s < event.end_s for event in scene.events) <= synthetic.MAX_CONCURRENT


def test_held_out_scenes_have_seeds_that_training_never_draws() -> None:
    assert TRAINING_SEEDS.stop <= HELD_OUT_SEEDS.start
    ends = [(0, 0, 0), (MAX_RUNS - 1, (1 << 32) - 1, (1 << 12) - 1), (3, 17, 5)]
    assert all(training_seed(*numbers) in TRAINING_SEEDS for numbers in ends)
    assert len({training_seed(*numbers) for numbers in [*ends, (3, 18, 5), (4, 17, 5), (3, 17, 6)]}) == 6
    lengths = {patches for size in SIZES.values() for patches, _ in size.scored}
    drawn = [held_out_seed(patches, kind, index) for patches in lengths for kind in range(6) for index in (0, 127, 65535)]
    assert all(seed in HELD_OUT_SEEDS for seed in drawn)
    assert len(set(drawn)) == len(drawn)
    with pytest.raises(ValueError, match="seed must be"):
        training_seed(MAX_RUNS, 0, 0)


def test_the_seeds_that_training_and_scoring_draw_are_those() -> None:
    drawn: list[int] = []

    class Noted(random.Random):
        def __init__(self, seed: int) -> None:
            drawn.append(seed)
            super().__init__(seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("longview.model.training.batches.random.Random", Noted)
        batch_at(RowWriter(), TOY, "text", run=5, step=9, progress=0.1)
        trained, drawn = drawn, []
        held_out(8, "when", 4)
    assert trained and all(seed in TRAINING_SEEDS for seed in trained)
    assert len(drawn) == 4 and all(seed in HELD_OUT_SEEDS for seed in drawn)


def test_frames_are_those_that_the_project_renders() -> None:
    times = torch.tensor(SCENE.frame_times_s - SCENE.start_s, dtype=torch.float32).unsqueeze(0)
    for scene in (SCENE, *scenes(12)):
        backdrop = synthetic.background(64, 96, seed=1)
        times = torch.tensor(scene.frame_times_s - scene.start_s, dtype=torch.float32).unsqueeze(0)
        ours = draw(event_tables([scene]), times, torch.tensor(backdrop).permute(2, 0, 1)[None, None])[0]
        theirs = np.stack([synthetic.draw(scene.events, float(time_s), backdrop) for time_s in scene.frame_times_s])
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
        assert found.question == localize_prompt(re.findall(r'query "(.*?)"', found.question)[0])
        marked = {SCENE.timestamps_s.index(entry["start"]) for entry in json.loads(found.answer)}
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
    assert all(s.grid[0] * s.grid[1] * s.patches <= FULL.max_visual_tokens for s in shapes_seen)
    assert (4, 7) in fitting_grids(FULL, 24) and (4, 7) not in fitting_grids(FULL, 512)
    lengths = np.array([shape.patches for shape in shapes_seen])
    assert 0.35 < (lengths < 40).mean() < 0.65  # log-uniform: half are shorter than the geometric middle


def test_workers_give_the_same_batches_in_the_same_order(writer: RowWriter) -> None:
    def made(step: int) -> Batch:
        return batch_at(writer, TOY, "text", run=0, step=step, progress=0.3)

    alone, together = (batches(5, made, workers=workers, pinned=False) for workers in (0, 2))
    for _ in range(4):
        one, other = next(alone), next(together)
        assert one.seed == other.seed and torch.equal(one.ids, other.ids) and torch.equal(one.query_targets, other.query_targets)


def test_frame_labels_tell_what_is_in_each_patch() -> None:
    labels = frame_labels(SCENE)
    red, circle, up = list(synthetic.COLORS).index("red"), synthetic.SHAPES.index("circle"), synthetic.ACTIONS.index("moves up")
    assert labels[:3, :3].tolist() == [[red, circle, up]] * 3
    assert labels[3, :3].tolist() == [8, 7, 7]
    assert labels[:, 3].tolist() == [1, 0, 0, 0, 1, 0, 0, 0] and labels[:, 4].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert labels[:, 5].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert labels[1, 6:].tolist() == [0, 1, 0, 2, 5]
    assert (labels < np.array(CLASSES)).all()


# Losses and stages
