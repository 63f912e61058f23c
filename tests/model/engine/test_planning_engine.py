"""Plans without the weights are those of the loaded checkpoint, for each family, its tokenizer and its template."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from longview.core.timeline import Span
from longview.model.engine.checkpoints.checkpoints import find_checkpoint
from longview.model.engine.checkpoints.text_processor import TextProcessor
from longview.model.engine.costs.calibration import machine_key
from longview.model.engine.costs.estimates import Estimates
from longview.model.engine.costs.model_shape import Speed
from longview.model.engine.costs.model_sizes import read_sizes
from longview.model.engine.costs.speed_cache import save_speed
from longview.model.engine.local import LocalEngine
from longview.model.engine.planner import Planner
from longview.model.engine.planning_engine import PlanningEngine, open_planning_engine
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo
from tests.support.random_checkpoints import LAYOUTS, save_random_checkpoint
from tests.support.thinking_samples import ALWAYS_THINKING, REPLYING_BY_DEFAULT

SPEED = Speed(flops_per_s=1e9, attention_flops_per_s=5e8, step_s=0.01, step_s_per_token=1e-6)
TEXTS = ("", "A red circle moves.", "  12:34 –\n\n\t灯塔照亮夜里的大海 e\u0301 é", "It's 3,456.7 <|im_end|> seconds", "𝔘 🙂 ﬁ")


def open_both(folder: Path, name: str) -> tuple[LocalEngine, PlanningEngine]:
    engine = LocalEngine(find_checkpoint(name), device="cpu", cpu_threads=1, cache=folder / "cache")
    save_speed(folder / "cache", machine_key(engine.checkpoint.identity, engine.model), SPEED)
    planning = open_planning_engine(engine.checkpoint, cpu_threads=1, precision="auto", cache=folder / "cache", thinking=False)
    assert planning is not None
    return engine, planning


@pytest.mark.parametrize("layout", [*LAYOUTS, "demo"])
def test_plan_and_cost_are_those_of_the_loaded_checkpoint(
    layout: str, tmp_path: Path, decoder: Decoder, shapes_video: VideoInfo
) -> None:
    if layout != "demo":
        save_random_checkpoint(tmp_path / "checkpoint", layout)
    engine, planning = open_both(tmp_path, "demo" if layout == "demo" else str(tmp_path / "checkpoint"))
    sizes = read_sizes(engine.checkpoint.folder, 4)
    assert sizes is not None
    shape, loaded_shape = Estimates(sizes, "cpu").shape, engine.estimates.shape
    # The tables of rotary positions are not in the files; they have less than a thousandth of the size of any checkpoint.
    assert shape.weight_bytes == pytest.approx(loaded_shape.weight_bytes, abs=1000)
    assert replace(shape, weight_bytes=0, text_flops=0) == replace(loaded_shape, weight_bytes=0, text_flops=0)
    assert shape.text_flops == pytest.approx(loaded_shape.text_flops)
    assert [planning.count_tokens(text) for text in TEXTS] == [engine.count_tokens(text) for text in TEXTS]
    assert (planning.reserved_tokens, planning.saves_tokens) == (engine.reserved_tokens, engine.saves_tokens)
    plans = [
        Planner(one, decoder, context_tokens=4096).plan(shapes_video, "caption", span=Span(1.0, 15.0))
        for one in (engine, planning)
    ]
    assert plans[0] == plans[1]
    seconds = [one.estimated_seconds(plans[0], reply_tokens=100, transcript_tokens=50) for one in (engine, planning)]
    assert seconds[0] == pytest.approx(seconds[1])


def test_texts_of_the_template_are_those_of_the_processor(tmp_path: Path) -> None:
    save_random_checkpoint(tmp_path / "checkpoint", "dense")
    engine, _ = open_both(tmp_path, str(tmp_path / "checkpoint"))
    processor = TextProcessor(engine.checkpoint.folder)
    messages = [
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A circle."}]},
        {"role": "user", "content": [{"type": "text", "text": 'And "then"?'}]},
    ]
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == engine.processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    for name in ("video_token", "vision_start_token", "vision_end_token"):
        assert getattr(processor, name) == getattr(engine.processor, name)


def test_checkpoint_is_loaded_where_its_files_do_not_tell_enough(tmp_path: Path) -> None:
    folder, cache = tmp_path / "checkpoint", tmp_path / "cache"
    save_random_checkpoint(folder, "dense")

    def open_without_weights(*, thinking: bool = False) -> PlanningEngine | None:
        checkpoint = find_checkpoint(str(folder))
        save_speed(cache, machine_key(checkpoint.identity, engine.model), SPEED)
        return open_planning_engine(checkpoint, cpu_threads=1, precision="auto", cache=cache, thinking=thinking)

    engine, _ = open_both(tmp_path, str(folder))
    assert (
        open_planning_engine(find_checkpoint(str(folder)), cpu_threads=1, precision="int8", cache=cache, thinking=False) is None
    )
    assert open_planning_engine(find_checkpoint(str(folder)), cpu_threads=1, precision="auto", cache=None, thinking=False) is None
    template = folder / "chat_template.jinja"
    template.write_text(REPLYING_BY_DEFAULT)
    assert open_without_weights() is not None and open_without_weights(thinking=True) is None
    for text in (ALWAYS_THINKING, "{{ raise_exception('no') }}", "{% for %}", "{{ ''.__class__.__mro__ }}"):
        template.write_text(text)
        assert open_without_weights() is None
    template.write_text(REPLYING_BY_DEFAULT)
    config = json.loads((folder / "config.json").read_text())
    for damaged in (config | {"quantization_config": {"quant_method": "fp8"}}, config | {"vision_config": {}}):
        (folder / "config.json").write_text(json.dumps(damaged))
        assert open_without_weights() is None
