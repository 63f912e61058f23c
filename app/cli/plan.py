"""The verb that plans what a video costs: each source of `index`, the frames of a question, and each task."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.params import ContextTokens, End, ExistingVideo, Start, parse_seconds
from longview.app.reports import count_text, source_label
from longview.app.runtime import plan_fields
from longview.app.service import FramePlan, PlanReport

if TYPE_CHECKING:
    from longview.model.tasks.costs import Cost


@command("json", "model", "key-frames", "index-checks", "speech", "screen-text")
def plan(
    context: Context,
    video: ExistingVideo,
    start: Start = None,
    end: End = None,
    context_tokens: ContextTokens = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames per second.", show_default=False)] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Maximum number of frames.", show_default=False)] = None,
) -> None:
    """Show what `index` would do, which frames a question would need, and what each task would cost.

    Example: longview plan holiday.mp4
    """
    report = context.app.plan(
        video,
        start_s=parse_seconds(start),
        end_s=parse_seconds(end),
        context_tokens=context_tokens,
        fps=fps,
        max_frames=max_frames,
    )
    settings, grounding = context.app.settings, context.app.grounding_checkpoint
    document = schemas.PlanDocument(
        sources=[
            schemas.PlannedSourceOut(
                source=name,
                action=decision.action,
                reason=decision.reason,
                estimated_seconds=schemas.rounded(_source_seconds(name, report)),
            )
            for name, decision in report.sources.items()
        ],
        frames=frame_plan_document(report.frames) if report.frames else None,
        video=schemas.video_fields(report.video),
        key_frames_only=settings.key_frames_only,
        checkpoint=context.app.checkpoint.identity,
        grounding_checkpoint=grounding.identity if grounding else None,
        notice=context.app.notice,
    )
    text = "\n".join(f"{source_label(name):11} {line}" for name, line in plan_lines(report))
    if report.frames:
        text = frames_text(report.frames, context.app.device) + "\n\n" + text
        if settings.key_frames_only:
            text += "\nWith --key-frames-only, only the key frames among these are decoded; events between key frames are missed."
    context.print_result(document, text)


def frame_plan_document(frames: FramePlan) -> schemas.FramePlanOut:
    """Return the document of a plan for frames."""
    return schemas.FramePlanOut(
        **plan_fields(frames.plan),
        estimated_seconds=schemas.rounded(frames.ask.seconds),
        estimated_bytes=frames.estimated_bytes,
        costs=schemas.CostsOut.of(frames),
    )


def frames_text(frames: FramePlan, device: str) -> str:
    """Return a plan for frames as text."""
    plan = frames.plan
    words = f"up to {plan.words_tokens} for what is said and shown, " if plan.words_tokens else ""
    return (
        f"{count_text(plan.frames, 'frame')} of {plan.width}x{plan.height} in {count_text(len(plan.windows), 'window')}, "
        f"one every {plan.patch_period_s / 2:.2f} s\n"
        f"{plan.total_tokens} tokens: {plan.visual_tokens} visual, {plan.timestamp_tokens} for timestamps, {words}"
        f"the rest for question and reply; at most {max(plan.window_tokens)} in one window\n"
        f"Times are accurate to {plan.patch_period_s:.2f} s. Frames that stay on screen are decoded once.\n"
        f"{memory_text(frames.estimated_bytes, device)}"
    )


def memory_text(estimated_bytes: int, device: str) -> str:
    """Return the estimated memory as a sentence. A model on a server takes no memory here but that of the frames."""
    if device == "server":
        return f"Estimated size of the frames that are sent at once: {estimated_bytes / 1e6:.1f} MB."
    return f"Estimated memory on device {device}: {estimated_bytes / 1e9:.1f} GB."


def plan_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Yield the name and the cost of each source of `index`, and of each other task, as text."""
    for name, decision in report.sources.items():
        if decision.action != "run":
            yield name, f"{'not run' if decision.action == 'skip' else 'nothing to do'}: {decision.reason}"
        elif name == "captions" and report.frames:
            index, captions = report.frames.index, report.frames.checks.captions
            text = _cost_text(index)
            if index.text_generations:
                text += f", {count_text(index.text_generations, 'reply')} for chapters and summary"
            yield name, f"{text}; captions are {_checks_text(verified=captions.verify, refined=captions.refine)}"
        else:
            condition = f", {decision.reason}" if decision.reason else ""
            yield name, _seconds_text(decision.estimated_seconds) + condition
    if report.frames:
        localization = report.frames.checks.localization
        yield "ask", f"{_cost_text(report.frames.ask)}; a warm session is reused"
        checks = _checks_text(verified=localization.verify, refined=localization.refine)
        per_occurrence = _cost_text(report.frames.occurrence)
        yield "locate", f"{_cost_text(report.frames.locate)}, and {per_occurrence} per occurrence; occurrences are {checks}"


def _source_seconds(name: str, report: PlanReport) -> float | None:
    decision = report.sources[name]
    if name == "captions" and decision.action == "run" and report.frames:
        return report.frames.index.seconds
    return decision.estimated_seconds


def _cost_text(cost: "Cost") -> str:
    about = "" if cost.is_exact else "about "
    sessions, replies = count_text(cost.sessions, "session"), count_text(cost.generations, "reply")
    sent = "" if cost.sent_bytes is None else f", about {cost.sent_bytes / 1e6:.1f} MB to send"
    price = "" if cost.usd is None else f", about {cost.usd:.4f} US dollars"
    tokens = f"{about}{cost.prompt_tokens:,} prompt tokens"
    return f"{about}{sessions}, {tokens}, {about}{replies}, {_seconds_text(cost.seconds)}{sent}{price}"


def _seconds_text(seconds: float | None) -> str:
    return "at an unknown speed" if seconds is None else f"about {seconds:.1f} s"


def _checks_text(**checks: bool) -> str:
    return " and ".join(name if is_on else f"not {name}" for name, is_on in checks.items())
