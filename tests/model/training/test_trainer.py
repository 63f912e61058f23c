"""The training recipe at toy size: what it trains, that it stops and goes on, and that its checkpoint is one."""

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

from longview.model.engine.checkpoints import DEMO, OOD_DETECTOR_FILE, find_checkpoint
from longview.model.engine.local import LocalEngine
from longview.model.errors import TrainingFailed, TrainingRefused
from longview.model.training import ablations, trainer
from longview.model.training.__main__ import main
from longview.model.training.batches import Batch, batch_at
from longview.model.training.configs import FULL, SIZES, TOY
from longview.model.training.curriculum import FULL_STAGES, TOY_STAGES, Stage, rate_share, stage_at
from longview.model.training.export import write_checkpoint
from longview.model.training.generating import replies
from longview.model.training.losses import answer_loss
from longview.model.training.modeling import random_model, read, trained_parameters
from longview.model.training.questions import SHARES, conversation
from longview.model.training.rendering import patchify
from longview.model.training.scoring import Score, held_out, overlap, read_times, scores
from longview.model.training.state import STATE_FILE, forget_state, load_state, save_state
from longview.model.training.tokens import RowWriter
from longview.model.training.trainer import Trainer, TrainingConfig, train
from longview.video import synthetic
from longview.video.decoder import TimedFrames
from longview.video.timeline import Span
from tests.toy_training import ATTENTION, CPU, RECIPE, SCENE, scenes, weights


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def writer() -> RowWriter:
    return RowWriter()


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(DEMO, local_files_only=True)


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
        assert [s.max_patches for s in stages] == sorted(s.max_patches for s in stages)
        assert stage_at(stages, 0.0) == stages[0] and stage_at(stages, 1.0) == stages[-1]
        assert stage_at(stages, stages[0].until) == stages[1]
    assert rate_share(0, 0, 10) == 0.1 and rate_share(0.3, 50, 10) == 1 and rate_share(1, 50, 10) == 0.03


def test_the_first_stage_trains_the_merger_only() -> None:
    run = Trainer(replace(RECIPE, steps=1000), CPU)
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
    run = Trainer(replace(RECIPE, steps=100_000), CPU)
    run.step = 5_000  # behind the first stage and the warm-up
    small = replace(TOY, tokens_per_step=600)
    batch = batch_at(RowWriter(), small, "text", run=0, step=0, progress=0.1)
    first = float(run.losses(batch)[0].detach())
    for _ in range(40):
        run.train_on(batch)
    last = float(run.losses(batch)[0].detach())
    assert first > 5 and last < 0.4 * first


def test_bfloat16_gives_nearly_the_same_loss() -> None:
    run = Trainer(RECIPE, CPU)
    batch = batch_at(RowWriter(), replace(TOY, tokens_per_step=600), "text", run=0, step=0, progress=0.1)
    exact = torch.stack(run.losses(batch))
    run.mixed = True
    rounded = torch.stack(run.losses(batch))
    rounded.sum().backward()
    assert torch.allclose(exact, rounded, rtol=0.02)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in run.model.parameters())


def test_the_full_size_takes_a_step() -> None:
    run = Trainer(TrainingConfig("full", steps=100), CPU)
    assert sum(parameter.numel() for parameter in run.model.parameters()) == pytest.approx(11.0e6, rel=0.05)
    run.step = 50
    small = replace(FULL, tokens_per_step=1500, max_rows_per_step=2, grids=((3, 3),))
    batch = batch_at(RowWriter(), small, "text", run=0, step=50, progress=0.05)
    before = weights(run)
    run.train_on(batch)
    assert run.loss > 1 and all(torch.isfinite(value).all() for value in weights(run).values())
    assert sum(not torch.equal(value, before[name]) for name, value in weights(run).items()) > 0.9 * len(before)


@pytest.mark.gpu
def test_full_size_steps_on_a_gpu_are_finite() -> None:
    """64 vision patches a frame, at which cuDNN's attention was seen to give NaN gradients; the kernels are chosen by `Run`."""
    run = Trainer(TrainingConfig("full", steps=10_000), torch.device("cuda"))
    squares = replace(FULL, grids=((4, 4),))
    for step in (0, 4000, 9000):
        run.step = step
        run.train_on(batch_at(RowWriter(), squares, "text", run=0, step=step, progress=run.progress))
        assert run.step == step + 1 and run.loss == run.loss
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())
    assert run._bad == 0


def test_useless_numbers_are_passed_over_and_then_end_the_run() -> None:
    run = Trainer(replace(RECIPE, steps=1000), CPU)
    batch = batch_at(RowWriter(), replace(TOY, tokens_per_step=300), "text", run=0, step=0, progress=0.1)
    run.train_on(batch)
    before = weights(run)
    with torch.no_grad():
        run.heads.labels.bias.fill_(float("nan"))
    for _ in range(trainer.MAX_BAD_STEPS - 1):
        run.train_on(batch)
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())
    with pytest.raises(TrainingFailed, match="not finite"):
        run.train_on(batch)


class Killed(Exception):
    pass


def test_a_stopped_run_goes_on_exactly_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(RECIPE, tmp_path / "whole", device=CPU)
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(trainer, "REPORT_EVERY", 1)

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
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    run = train(replace(RECIPE, steps=4), folder, device=CPU)
    tiny = replace(TOY, scored=((4, 3),), max_reply_tokens=12)
    write_checkpoint(run, folder, scores(run.model, tiny, "text"))
    forget_state(folder)
    return run, folder


def test_the_folder_is_complete_and_holds_nothing_of_the_training(trained: tuple[Trainer, Path]) -> None:
    run, folder = trained
    # What it is familiar with is fitted afterwards, see `longview.model.training.ood.fit`.
    assert {path.name for path in folder.iterdir()} == {path.name for path in DEMO.iterdir()} - {OOD_DETECTOR_FILE} | {
        "scores.json"
    }
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.bfloat16}
    assert names == set(run.model.state_dict()) - {"lm_head.weight"}
    assert not any("heads" in name or "labels" in name or "query" in name for name in names)
    written = json.loads((folder / "scores.json").read_text())
    assert written["recipe"]["seed"] == 3 and {score["kind"] for score in written["scores"]} == set(SHARES)
    assert "## Scores" in (folder / "README.md").read_text()
    # Every form that is promised is one that was asked in training.
    promised = json.loads((folder / "trained_range.json").read_text())["question_templates"]
    asked = [turn.question for i, scene in enumerate(scenes(400)) for turn in conversation(random.Random(i), scene, 4)]
    for form in promised:
        pattern = re.escape(form).replace(r"\{time\}", r"[\d.]+").replace(r"\{thing\}", r"\w+ \w+")
        assert any(re.fullmatch(pattern, question) for question in asked), form


def test_transformers_loads_the_folder(trained: tuple[Trainer, Path]) -> None:
    run, folder = trained
    assert AutoProcessor.from_pretrained(folder, local_files_only=True).video_token == "<|video_pad|>"
    model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    for name, value in run.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.to(torch.bfloat16).float()), name


def test_the_engine_answers_with_the_folder_as_training_saw_it(trained: tuple[Trainer, Path], writer: RowWriter) -> None:
    _, folder = trained
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.trained_range.max_patches == 12 and "toy" in str(checkpoint.notice)
    engine = LocalEngine(checkpoint, device="cpu", cpu_threads=1)
    backdrop = synthetic.background(64, 64, seed=2)
    frames = np.stack([synthetic.draw(SCENE.events, float(time_s), backdrop) for time_s in SCENE.frame_times_s])
    timed = TimedFrames(frames, SCENE.frame_times_s)
    session = engine.open_session([timed], Span(100.0, 116.0), capacity_tokens=1000)
    logits = session.first_logits("How many events are in the video?")
    said = session.generate("How many events are in the video?", max_new_tokens=8)
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
            patchify(normalised, (2, 2)),
            (2, 2),
        )
        ours = engine.model.lm_head(hidden[0, -1])
    assert torch.allclose(ours, logits, atol=1e-3)


def test_the_command_line_makes_a_checkpoint_and_does_not_overwrite_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SIZES, "toy", replace(TOY, scored=((3, 1),), max_reply_tokens=4, tokens_per_step=300))
    folder = tmp_path / "made"
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0.002", "--size", "toy", "-o", str(folder)])
    assert main() == 0
    assert "is complete" in capsys.readouterr().out
    assert find_checkpoint(str(folder)).trained_range.max_frames == 24
    assert main() == 1
    assert "already holds a checkpoint" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["training", "--minutes", "0", "-o", str(folder)])
    assert main() == 1
    assert "--minutes" in capsys.readouterr().err


# Scores and ablations


def test_replies_in_a_batch_are_those_of_each_prompt_alone(trained: tuple[Trainer, Path], writer: RowWriter) -> None:
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
    tiny = replace(TOY, scored=((3, 1),), max_reply_tokens=4, tokens_per_step=300)
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
