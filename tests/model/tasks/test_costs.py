"""The costs of captions and localisation are those that were estimated, and progress follows them; with a scripted engine."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from longview.core.progress import NO_PROGRESS, Progress
from longview.core.timeline import Event, Span
from longview.model.engine.base import WindowRequest
from longview.model.engine.sessions import SessionPool
from longview.model.tasks import costs
from longview.model.tasks.answerer import answer_question
from longview.model.tasks.captioner import Captions, FinishedWindow, caption
from longview.model.tasks.context import TaskContext
from longview.model.tasks.events import run_to_end
from longview.model.tasks.localizer import locate
from longview.model.tasks.options import AnswerOptions, CaptionOptions, LocateOptions
from longview.model.tasks.question import Question
from longview.model.verifiers import verifier_for
from longview.video.decoding.decoder import Decoder, TimedFrames
from longview.video.errors import UnreadableVideo
from longview.video.probing.probe import VideoInfo, probe
from longview.video.sampling_plan import SamplingPlan
from longview.video.synthetic import render
from tests.support.fakes import FakeSession, RecordedProgress, ScriptedEngine, ScriptedSession
from tests.support.task_scripts import (
    CONTEXT_TOKENS,
    PROMPTS,
    VERIFIER,
    check_events,
    clock,
    is_localization,
    is_verification,
    localization,
    scripted,
)

DURATION_S = 180.0
FREE_CAPTIONS = CaptionOptions(verify=False, refine=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoInfo:
    return probe(render(tmp_path_factory.mktemp("costs") / "video.mp4", [], DURATION_S, width=160, height=96, fps=5.0))


TIMELINE = tuple(
    Event(Span(start_s, start_s + 8.0), f"Scene {number} of the talk.") for number, start_s in enumerate(range(2, 180, 12))
)


def describe(prompt: str, session: FakeSession) -> str:
    """Caption the part of the timeline that a window shows; ground any scene; confirm everything."""
    visible = [event for event in TIMELINE if event.span.overlap_s(session.window) > 0]
    if is_verification(prompt):
        return "Yes."
    if is_localization(prompt):
        visible = [event for event in visible if event.text.rstrip(".") in prompt]
        return json.dumps([{"start": event.span.start_s, "end": event.span.end_s} for event in visible])
    assert prompt.endswith(PROMPTS.dense_captions)
    spans = [(event, event.span.clamp(session.window)) for event in visible]
    return json.dumps({f"{clock(span.start_s)} - {clock(span.end_s)}": event.text for event, span in spans})


@pytest.fixture
def counted_pool(decoder: Decoder) -> SessionPool:
    return SessionPool(ScriptedEngine(describe, context_tokens=CONTEXT_TOKENS), decoder)


@pytest.fixture
def plan(counted_pool: SessionPool, video: VideoInfo) -> SamplingPlan:
    plan = counted_pool.planner.plan(video, "caption")
    assert len(plan.windows) == 4
    return plan


def caption_all(
    pool: SessionPool, video: VideoInfo, plan: SamplingPlan, options: CaptionOptions, progress: Progress = NO_PROGRESS
) -> Captions:
    return run_to_end(caption(TaskContext(pool, verifier_for(pool.engine.checkpoint), video, progress=progress), plan, options))


def test_captions_without_checks_take_one_reply_per_window(
    counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan
) -> None:
    cost = costs.captions_cost(TaskContext(counted_pool, VERIFIER, video), plan, FREE_CAPTIONS)
    captions = caption_all(counted_pool, video, plan, FREE_CAPTIONS)
    check_events(captions, *TIMELINE)
    assert len(captions.events) == 15 and captions.coverage.uncovered == ()
    engine = scripted(counted_pool)
    assert (len(engine.sessions), len(engine.prompts), engine.text_prompts) == (4, 4, [])
    assert (cost.sessions, cost.generations, cost.is_exact) == (4, 4, True)
    assert cost.prompt_tokens == plan.visual_tokens + plan.timestamp_tokens


def test_finished_windows_cost_nothing(counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan) -> None:
    costs_left = [
        costs.captions_cost(TaskContext(counted_pool, VERIFIER, video), plan, FREE_CAPTIONS, finished=range(count))
        for count in range(5)
    ]
    assert [(cost.sessions, cost.generations) for cost in costs_left] == [(4, 4), (3, 3), (2, 2), (1, 1), (0, 0)]
    assert [cost.text_generations for cost in costs_left] == [costs_left[0].text_generations] * 5 and costs_left[
        -1
    ].prompt_tokens == 0
    finished: list[FinishedWindow] = []
    for event in caption(TaskContext(counted_pool, VERIFIER, video), plan, FREE_CAPTIONS):
        finished.append(event.value)
        if len(finished) == 3:
            break
    scripted(counted_pool).sessions.clear()
    progress = RecordedProgress()
    captions = run_to_end(
        caption(TaskContext(counted_pool, VERIFIER, video, progress=progress), plan, FREE_CAPTIONS, finished=finished)
    )
    assert len(scripted(counted_pool).sessions) == costs_left[3].sessions
    # It begins at the fraction that is done.
    assert {fraction for fraction in progress.fractions if fraction < 0.75} == {0.0, 0.25, 0.5}
    progress.check_complete()
    check_events(captions, *TIMELINE)
    counted_pool.discard()
    assert captions == caption_all(counted_pool, video, plan, FREE_CAPTIONS)


def test_checks_of_captions_take_more_replies(counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan) -> None:
    options = CaptionOptions(verify=True, refine=True)
    cost = costs.captions_cost(TaskContext(counted_pool, VERIFIER, video), plan, options)
    check_events(caption_all(counted_pool, video, plan, options), *TIMELINE)
    engine = scripted(counted_pool)
    assert len(engine.sessions) > 4 and len(engine.prompts) > 4 + len(TIMELINE)
    assert cost.sessions > 4 and cost.generations > 4 + len(TIMELINE) - 1 and not cost.is_exact


def test_locate_cost_is_that_of_an_absent_query(counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan) -> None:
    engine = scripted(counted_pool)
    engine.script = localization("[]", "No.")
    for verify in (False, True):
        options = LocateOptions(verify=verify, refine=False)
        cost = costs.locate_cost(counted_pool, VERIFIER, video, plan, options)
        engine.prompts.clear()
        assert locate(TaskContext(counted_pool, VERIFIER, video), "a dog", options).is_found is False
        assert (cost.sessions, cost.generations, cost.is_exact) == (len(engine.sessions), len(engine.prompts), True)
        assert cost.generations == (8 if verify else 4)


def test_cost_of_a_verified_answer_includes_its_clip(counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan) -> None:
    options = AnswerOptions(verify=True, captions=FREE_CAPTIONS, localization=LocateOptions(verify=True, refine=True))
    verified = costs.answer_cost(counted_pool, VERIFIER, video, plan, options)
    plain = costs.answer_cost(counted_pool, VERIFIER, video, plan, replace(options, verify=False))
    assert (plain.sessions, plain.generations, plain.is_exact) == (1, 1, True)
    assert (verified.sessions, verified.generations, verified.is_exact) == (2, 2, False)


def test_progress_of_all_windows_is_even(counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan) -> None:
    engine = scripted(counted_pool)
    progress = RecordedProgress()
    at_questions: list[float] = []

    def script(prompt: str, session: FakeSession) -> str:
        at_questions.append(progress.report.fraction)
        return describe(prompt, session)

    engine.script = script
    caption_all(counted_pool, video, plan, FREE_CAPTIONS, progress)
    progress.check_complete()
    # Each window is decoded when its question is asked.
    assert at_questions == pytest.approx([0.1, 0.35, 0.6, 0.85], abs=0.01)


def test_progress_is_complete_if_the_last_window_is_undecodable(
    counted_pool: SessionPool, video: VideoInfo, plan: SamplingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = scripted(counted_pool)
    open_session = engine.open_session

    def fail_at_last(frames: Iterable[TimedFrames], request: WindowRequest, **options: Any) -> ScriptedSession:
        if request.span == plan.windows[-1].span:
            raise UnreadableVideo("No frame of this part of the video can be decoded.")
        return open_session(frames, request, **options)

    monkeypatch.setattr(engine, "open_session", fail_at_last)
    progress = RecordedProgress()
    captions = caption_all(counted_pool, video, plan, FREE_CAPTIONS, progress)
    assert captions.coverage.uncovered == (plan.windows[-1].span,)
    progress.check_complete()


@pytest.mark.parametrize("question", ["What is the talk about?", "When does Scene 7 appear?", "What happens at 0:30?"])
def test_progress_of_answers_is_complete(decoder: Decoder, video: VideoInfo, question: str) -> None:
    def script(prompt: str, session: FakeSession) -> str:
        return describe(prompt, session) if is_localization(prompt) or is_verification(prompt) else "About music."

    pool = SessionPool(ScriptedEngine(script), decoder)
    options = AnswerOptions(verify=False, captions=FREE_CAPTIONS, localization=LocateOptions(verify=True, refine=True))
    for _ in range(2):
        # The second time all sessions are warm.
        progress = RecordedProgress()
        run_to_end(answer_question(TaskContext(pool, VERIFIER, video, progress=progress), Question(question), options))
        assert progress.fractions == sorted(progress.fractions) and progress.fractions[-1] == 1.0


def test_progress_of_localization_does_not_end_with_its_plan(decoder: Decoder, video: VideoInfo) -> None:
    """The plan of several windows detects shots, which has a progress of its own."""
    progress = RecordedProgress()
    at_questions: list[float] = []

    def script(prompt: str, session: FakeSession) -> str:
        at_questions.append(progress.report.fraction)
        return describe(prompt, session)

    pool = SessionPool(ScriptedEngine(script, context_tokens=CONTEXT_TOKENS), decoder)
    options = LocateOptions(verify=True, refine=True)
    result = locate(TaskContext(pool, VERIFIER, video, progress=progress), TIMELINE[7].text, options)
    assert [item.span.iou(TIMELINE[7].span) > 0.8 for item in result.occurrences] == [True]
    progress.check_complete()
    assert at_questions[0] < 0.3 and at_questions == sorted(at_questions) and len(set(at_questions)) >= 4
