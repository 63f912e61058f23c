"""Stages cover the whole budget, and the learning rate follows it."""

from longview.model.training.curriculum import FULL_STAGES, TOY_STAGES, rate_factor, stage_at


def test_stages_cover_the_whole_budget() -> None:
    for stages in (FULL_STAGES, TOY_STAGES):
        assert [stage.name for stage in stages if stage.merger_only] == ["alignment"] == [stages[0].name]
        assert list(dict.fromkeys(stage.name for stage in stages)) == ["alignment", "full", "longer", "longest"]
        assert [s.until for s in stages] == sorted({s.until for s in stages}) and stages[-1].until == 1
        assert [s.max_patches for s in stages] == sorted(s.max_patches for s in stages)
        assert stage_at(stages, 0.0) == stages[0] and stage_at(stages, 1.0) == stages[-1]
        assert stage_at(stages, stages[0].until) == stages[1]


def test_learning_rate_rises_and_decays() -> None:
    assert rate_factor(0, 0, 10) == 0.1 and rate_factor(0.3, 50, 10) == 1 and rate_factor(1, 50, 10) == 0.03
