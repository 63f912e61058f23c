"""A checkpoint that was trained to locate works beside one that verifies: all occurrences are found, and absence is verified."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longview.core.timeline import Span
from longview.model.engine.checkpoints.profiles import read_named_profile
from longview.model.engine.sessions import SessionPool
from longview.model.tasks import costs
from longview.model.tasks.context import TaskContext
from longview.model.tasks.localizer import Localization, locate
from longview.model.tasks.options import LocateOptions
from longview.model.tasks.verifier import Verifier
from longview.video.decoding.decoder import Decoder
from longview.video.probing.probe import VideoInfo, probe
from longview.video.synthetic import ShapesEvent, render
from tests.support.fakes import FakeSession, ScriptedEngine

EVENTS = (
    ShapesEvent(2.0, 7.0, "red", "circle", "moves to the right"),
    ShapesEvent(20.0, 25.0, "green", "square", "stays still"),
    ShapesEvent(33.0, 38.0, "red", "circle", "moves to the right"),
    ShapesEvent(66.0, 71.0, "red", "circle", "moves to the right"),
)
DURATION_S = 75.0
WINDOW_S = 20.0
"""Maximum window of the checkpoint that locates: five windows."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("two") / "thrice.mp4", EVENTS, DURATION_S, fps=12.5))


class Grounding:
    """A checkpoint with the profile of TimeLens. It finds a span of each query in each window: a true one, or an invented one."""

    def __init__(self, decoder: Decoder, broken: Callable[[FakeSession], bool] = lambda session: False) -> None:
        self.engine = ScriptedEngine(self.reply)
        profile = read_named_profile("timelens")
        trained_range = replace(profile.trained_range, caption_window_s=WINDOW_S)
        self.engine.checkpoint = replace(self.engine.checkpoint, profile=profile, trained_range=trained_range)
        self.pool = SessionPool(self.engine, decoder)
        self.broken = broken

    def reply(self, question: str, session: FakeSession) -> str:
        match = re.search(r"by the sentence '(.*)', determining", question)
        assert match is not None
        if self.broken(session):
            return "I am not sure."
        words = match[1].split()
        for event in EVENTS:
            span = event.event.span.clamp(session.window) if event.event.span.overlap_s(session.window) > 0 else None
            if span is not None and span.duration_s > 1 and event.shape in words:
                return f"The event happens in {span.start_s:.1f} - {span.end_s:.1f} seconds."
        middle_s = (session.window.start_s + session.window.end_s) / 2
        return f"The event happens in {middle_s - 1:.1f} - {middle_s + 1:.1f} seconds."


def find(pool: SessionPool, verifier: Verifier, video: VideoInfo, query: str, grounding: Grounding) -> Localization:
    options = LocateOptions(verify=True, refine=False)
    return locate(TaskContext(pool, verifier, video, grounding_pool=grounding.pool), query, options)


def test_all_occurrences_are_found_and_inventions_are_denied(
    pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo
) -> None:
    grounding = Grounding(decoder)
    result = find(pool, verifier, video, "red circle", grounding)
    assert len(grounding.engine.sessions) == 5 == len(result.plan.windows)
    spans = [item.span for item in result.occurrences]
    assert len(spans) == 3 and all(item.is_verified for item in result.occurrences)
    for span, event in zip(spans, (EVENTS[0], EVENTS[2], EVENTS[3]), strict=True):
        assert span.iou(event.event.span) > 0.8
    # It is asked in its own words, and nothing else.
    assert {question.partition("'")[0] for question in grounding.engine.prompts} == {
        "Please find the visual event described by the sentence "
    }


def test_absence_is_stated_by_the_checkpoint_that_verifies(
    pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo
) -> None:
    result = find(pool, verifier, video, "a yellow ring", Grounding(decoder))
    assert result.is_found is False and result.coverage.seconds == pytest.approx(DURATION_S, abs=0.1)


def test_cost_counts_both_checkpoints(pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo) -> None:
    grounding, options = Grounding(decoder), LocateOptions(verify=True, refine=False)
    plan = pool.planner.plan(video, "caption")
    alone = costs.locate_cost(pool, verifier, video, plan, options)
    both = costs.locate_cost(pool, verifier, video, plan, options, grounding.pool)
    find(pool, verifier, video, "a yellow ring", grounding)
    windows = len(grounding.engine.sessions)
    # Each window is asked once, and what it names is denied in a clip.
    assert both.sessions == 2 * windows and both.generations == windows * (1 + verifier.max_verification_replies)
    assert both.prompt_tokens > grounding.engine.prefix_tokens(grounding.pool.planner.plan(video, "caption")) > 0
    assert alone.sessions == len(plan.windows)


def test_malformed_reply_is_reported_as_such(pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo) -> None:
    grounding = Grounding(decoder, broken=lambda session: session.window.contains(45.0))
    result = find(pool, verifier, video, "a yellow ring", grounding)
    assert result.is_found is None
    assert any(span.contains(45.0) for span in result.unresolved) and result.coverage.uncovered
    assert "could not be verified" in result.describe_absence("a yellow ring")


def test_checkpoint_that_denies_nothing_leaves_absence_open_alone(decoder: Decoder, verifier: Verifier, video: VideoInfo) -> None:
    from longview.model.tasks.verifier import FreeFormVerifier

    grounding = Grounding(decoder)
    result = locate(
        TaskContext(grounding.pool, FreeFormVerifier(), video), "red circle", LocateOptions(verify=True, refine=False)
    )
    assert len(result.occurrences) >= 3 and not any(item.is_verified for item in result.occurrences)


def test_times_are_refined_by_the_checkpoint_that_locates(
    pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo, tmp_path: Path
) -> None:
    grounding = Grounding(decoder)
    result = locate(
        TaskContext(pool, verifier, video, grounding_pool=grounding.pool),
        "green square",
        LocateOptions(verify=True, refine=True),
        span=Span(15.0, 32.0),
    )
    (item,) = result.occurrences
    assert item.is_verified and item.span.iou(EVENTS[1].event.span) > 0.9
    assert item.uncertainty_s <= result.plan.patch_period_s


def test_all_is_located_and_refined_before_anything_is_verified(
    pool: SessionPool, verifier: Verifier, decoder: Decoder, video: VideoInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    # If the two take turns on a device, each change moves the weights of both.
    grounding, verify = Grounding(decoder), type(verifier).verify
    prompts_before: list[int] = []

    def record_and_verify(verifier: Verifier, *arguments: Any, **keywords: Any) -> bool | None:
        prompts_before.append(len(grounding.engine.prompts))
        return verify(verifier, *arguments, **keywords)

    monkeypatch.setattr(type(verifier), "verify", record_and_verify)
    options = LocateOptions(verify=True, refine=True)
    result = locate(TaskContext(pool, verifier, video, grounding_pool=grounding.pool), "red circle", options)
    assert len(result.occurrences) == 3
    assert len(prompts_before) >= 3 and set(prompts_before) == {len(grounding.engine.prompts)}
