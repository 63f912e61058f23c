"""Ablations train each variant once and write one table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from longview.model.errors import TrainingRefused
from longview.model.training.ablations import VARIANTS, Result, run_ablations
from longview.model.training.configs import SIZES, TOY
from longview.model.training.scoring import Score
from tests.support.toy_training import CONFIG, CPU


def test_each_variant_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(TOY, scored=((3, 1),), max_reply_tokens=4, tokens_per_step=300)
    monkeypatch.setitem(SIZES, "toy", tiny)
    results = run_ablations(tmp_path, "toy", steps=1, seeds=1, device=CPU)
    assert [(result.config.loss, result.config.timestamps) for result in results] == list(VARIANTS)
    text = (tmp_path / "ablations.md").read_text()
    assert sum(line.startswith(("| sqrt", "| token", "| sample")) for line in text.splitlines()) == 4
    assert len(json.loads((tmp_path / "ablations.json").read_text())) == 4
    assert run_ablations(tmp_path, "toy", steps=1, seeds=1, device=CPU) == results
    with pytest.raises(TrainingRefused, match="another folder"):
        run_ablations(tmp_path, "toy", steps=2, seeds=1, device=CPU)


def test_mean_ignores_scores_that_were_not_measured() -> None:
    score = Score("localize", 3, 1, 0.5, 0.5, 1.0, iou=None)
    result = Result(CONFIG, 1.0, 1, (score, replace(score, iou=0.4, patches=6)))
    assert result.mean("iou") == 0.4 and result.mean("exact_match") == 0.5
    assert math.isnan(result.mean("iou", ("dense",)))
