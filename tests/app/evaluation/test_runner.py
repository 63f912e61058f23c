"""The scores of a few observations, and their report."""

from longview.app.evaluation.report import markdown
from longview.app.evaluation.runner import Scores
from longview.core.timeline import Event, Span

TRUE_EVENTS = [Event(Span(0, 10), "a dog runs"), Event(Span(20, 30), "a cat sleeps")]


def example_scores() -> Scores:
    scores = Scores(videos=1, seconds=60.0)
    scores.add_captions(TRUE_EVENTS, [TRUE_EVENTS[0], TRUE_EVENTS[0], Event(Span(40, 50), "rain falls")])
    ious = scores.add_localization([Span(0, 10)], [Span(0, 9), Span(50, 60)], [1.5, 1.5])
    assert ious == [0.9]
    scores.add_localization([Span(20, 30)], [])
    scores.absent_rejections += [True, True, True, False]
    return scores


def test_summary_has_the_documented_keys() -> None:
    summary = example_scores().summary()
    assert summary["grounding"] == {
        "truths": 2,
        "mIoU": 0.45,
        **{f"R@{n}, IoU {iou}": 0.5 for n in (1, 5) for iou in (0.3, 0.5, 0.7)},
        "R@any": 0.5,
        "false_positive_rate": 0.5,
        "edge_median_s": 0.0,
        "edge_p90_s": 1.0,
        "edge_coverage": 1.0,
        "absent_accuracy": 0.75,
        "absent_queries": 4,
    }
    captions = summary["captions"]
    assert captions.pop("soda") > 0
    assert captions == {
        "recall": 0.5,
        "events": 2,
        "precision": 0.6667,
        "duplicate_rate": 0.3333,
        "hallucination_rate": 0.3333,
    }


def test_summary_of_nothing_has_no_values() -> None:
    summary = Scores().summary()
    assert summary["grounding"]["mIoU"] is None and summary["captions"]["duplicate_rate"] is None
    assert summary["questions"] == summary["search"] == {}


def test_report_lists_metrics_and_worst_results() -> None:
    worst = [
        {"video": "a", "query": "a dog runs", "truth": [[0, 10]], "predicted": [[50, 60]]},
        {"video": "a", "query": "a red ring", "absent": True, "predicted": [[1, 2]]},
    ]
    facts = {"suite": "shapes", "checkpoint": "demo@1", "device": "cpu"}
    text = markdown(facts | {"scores": example_scores().summary(), "worst": worst})
    assert "| grounding: mIoU | 0.450 |" in text
    assert "## Worst results" in text
    assert "- a: a dog runs – true [[0, 10]], predicted [[50, 60]]" in text
    assert "- a: a red ring – true nowhere, predicted [[1, 2]]" in text
