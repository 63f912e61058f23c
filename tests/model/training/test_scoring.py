"""The scores of times equal values computed by hand."""

import pytest

from longview.model.training.scoring import mean_iou, parse_times


def test_mean_iou_equals_values_computed_by_hand() -> None:
    true = parse_times('[{"start": 1.0, "end": 3.0, "description": "A."}, {"start": "0:00:05.0", "end": "0:00:07.0"}]')
    assert true == [(1.0, 3.0, "A."), (5.0, 7.0, "")]
    assert mean_iou(true, true) == 1
    assert mean_iou([(2.0, 4.0, "A.")], true[:1]) == pytest.approx(1 / 3)
    assert mean_iou([(1.0, 3.0, "B.")], true[:1]) == 1
    assert mean_iou([(1.0, 3.0, "B.")], true[:1], same_text=True) == 0
    assert mean_iou([*true, (9.0, 9.5, "")], true) == pytest.approx(2 / 3)


def test_unreadable_reply_has_no_times() -> None:
    assert parse_times("[]") == [] and parse_times("no") is None and parse_times("3") is None
