"""Tests of spans."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longview.core.timeline import Span, merge_spans

times = st.floats(0, 1e6)
spans = st.tuples(times, times).map(lambda pair: Span(*sorted(pair)))


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_invalid_span_is_rejected(start_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start_s, end_s)


def test_span_is_half_open() -> None:
    assert Span(1, 2).contains(1)
    assert not Span(1, 2).contains(2)
    assert Span(1, 2).iou(Span(2, 3)) == 0


@given(spans, spans)
def test_iou_and_clamping_agree_on_the_overlap(one: Span, other: Span) -> None:
    overlap_s = one.clamp(other).duration_s
    assert overlap_s == max(0.0, one.overlap_s(other))
    assert one.iou(other) == other.iou(one)
    assert 0 <= one.iou(other) <= 1
    assert one.iou(one) == (1 if one.duration_s else 0)
    inside = one.clamp(other)
    assert other.start_s <= inside.start_s <= inside.end_s <= other.end_s


@given(st.lists(spans, max_size=12), st.floats(0, 1000))
def test_merged_spans_cover_the_same_time_with_gaps(many: list[Span], gap_s: float) -> None:
    result = merge_spans(many, gap_s=gap_s)
    assert all(
        any(merged_span.start_s <= span.start_s and span.end_s <= merged_span.end_s for merged_span in result) for span in many
    )
    assert all(after.start_s - before.end_s > gap_s for before, after in zip(result, result[1:], strict=False))
    assert {edge_s for merged_span in result for edge_s in (merged_span.start_s, merged_span.end_s)} <= {
        edge_s for span in many for edge_s in (span.start_s, span.end_s)
    }
