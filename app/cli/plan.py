"""The command that plans what a video costs: each source of `index`, the frames of a question, and each task."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command
from longview.app.cli.params import ContextTokens, End, ExistingVideo, Start, parse_seconds
from longview.app.ingest.options import PlanOptions
from longview.app.ingest.planning import FramePlan, PlanReport
from longview.app.ingest.sources.captions import MAX_UNASKED_S
from longview.app.runtime.provenance import plan_fields
from longview.app.text.counts import count_text
from longview.core.sources import source_label

if TYPE_CHECKING:
    from longview.model.tasks.costs import Cost

log = logging.getLogger(__name__)

LABEL_WIDTH = 11
"""Width of the names before the lines, in characters."""
MIN_MINUTES_S = 90.0
"""Duration from which minutes are stated, in seconds."""


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
    """Show what `index` would do, and how long it and other tasks would take; with --verbose also frames, tokens and memory.

    The times follow from what this machine did before.

    Example: longview plan holiday.mp4
    """
    options = PlanOptions(
        start_s=parse_seconds(start),
        end_s=parse_seconds(end),
        fps=fps,
        max_frames=max_frames,
        context_tokens=context_tokens,
    )
    report = context.app.plan(video, options)
    settings, grounding = context.app.settings, context.app.grounding_checkpoint
    document = schemas.PlanDocument(
        sources=[
            schemas.PlannedSourceOut(
                source=name,
                action=decision.action,
                reason=decision.reason,
                estimated_seconds=schemas.rounded(decision.estimated_seconds),
                at_most_seconds=schemas.rounded(report.captions_at_most_s if name == "captions" else None),
                declined_after_seconds=schemas.rounded(report.declined_after_s if name == "captions" else None),
            )
            for name, decision in report.sources.items()
        ],
        frames=frame_plan_document(report.frames) if report.frames else None,
        video=schemas.video_fields(report.video),
        key_frames_only=settings.key_frames_only,
        estimated_seconds=schemas.rounded(report.estimated_seconds),
        checkpoint=context.app.checkpoint.identity,
        grounding_checkpoint=grounding.identity if grounding else None,
        notice=context.app.notice,
    )
    lines = plan_lines(report, context.app.checkpoint.name)
    text = "\n".join(f"{source_label(name):{LABEL_WIDTH}} {line}" for name, line in lines)
    # `--verbose` sets this level.
    if report.frames and log.isEnabledFor(logging.INFO):
        details = "\n".join(f"{source_label(name):{LABEL_WIDTH}} {line}" for name, line in cost_lines(report.frames))
        text += f"\n\n{frames_text(report.frames)}\n\n{details}"
    if report.frames and settings.key_frames_only:
        text += "\nWith --key-frames-only, only the key frames are decoded; events between key frames are missed."
    context.print_result(document, text)


def frame_plan_document(frames: FramePlan) -> schemas.FramePlanOut:
    """Return the document of a plan for frames."""
    return schemas.FramePlanOut(
        **plan_fields(frames.plan),
        estimated_seconds=schemas.rounded(frames.ask.seconds),
        estimated_bytes=frames.estimated_bytes,
        costs=schemas.CostsOut.of(frames),
    )


def frames_text(frames: FramePlan) -> str:
    """Return a plan for frames as text."""
    plan = frames.plan
    words = f"up to {plan.transcript_tokens} for what is said and shown, " if plan.transcript_tokens else ""
    return (
        f"{count_text(plan.frames, 'frame')} of {plan.width}x{plan.height} in {count_text(len(plan.windows), 'window')}, "
        f"one every {plan.patch_period_s / 2:.2f} s\n"
        f"{plan.total_tokens} tokens: {plan.visual_tokens} visual, {plan.timestamp_tokens} for timestamps, {words}"
        f"the rest for question and reply; at most {max(plan.window_tokens)} in one window\n"
        f"Times are accurate to {plan.patch_period_s:.2f} s. Frames that stay on screen are decoded once.\n"
        f"{memory_text(frames.estimated_bytes, frames.device)}"
    )


def memory_text(estimated_bytes: int, device: str) -> str:
    """Return the estimated memory as a sentence. A model on a server takes no memory here but that of the frames."""
    if device == "server":
        return f"Estimated size of the frames that are sent at once: {estimated_bytes / 1e6:.1f} MB."
    return f"Estimated memory on device {device}: {estimated_bytes / 1e9:.1f} GB."


def plan_lines(report: PlanReport, checkpoint: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the time of each source of `index`, of all of them, and of each other task, as text.

    `checkpoint`: the name of the checkpoint that captions.
    """
    for name, decision in report.sources.items():
        if decision.action != "run":
            yield name, f"{'not run' if decision.action == 'skip' else 'nothing to do'}: {decision.reason}"
        elif name == "captions":
            yield name, _captions_text(report, checkpoint)
        else:
            yield name, duration_text(decision.estimated_seconds) + (f", {decision.reason}" if decision.reason else "")
    if any(decision.action == "run" for decision in report.sources.values()):
        yield "in all", duration_text(report.estimated_seconds)
    if report.frames:
        yield "ask", _task_text(report.frames.ask)
        yield (
            "locate",
            f"{_task_text(report.frames.locate)}, and {_task_text(report.frames.occurrence)} for each place that it finds",
        )


def _task_text(cost: "Cost") -> str:
    """Return the time of a task as text, and what a server takes for it."""
    return duration_text(cost.seconds) + _server_text(cost)


def _server_text(cost: "Cost") -> str:
    """Return what is sent to a server, and its price, after a comma; empty for a model that runs here."""
    upload = "" if cost.sent_bytes is None else f", about {cost.sent_bytes / 1e6:.1f} MB to send"
    return upload if cost.usd is None else f"{upload}, about {cost.usd:.4f} US dollars"


def _captions_text(report: PlanReport, checkpoint: str) -> str:
    """Return the time of captions as text, and what it depends on."""
    at_most_s = report.captions_at_most_s
    if at_most_s is not None and at_most_s > MAX_UNASKED_S:
        return f"{duration_text(at_most_s)}, so they are made only with `longview index --yes`"
    if report.declined_after_s is None:
        return duration_text(at_most_s) + (_server_text(report.frames.index) if report.frames else "")
    declined_time = f"{duration_text(report.declined_after_s)} if {checkpoint} cannot caption this kind of video"
    return f"at most {duration_text(at_most_s)}; {declined_time}" if at_most_s is not None else declined_time


def duration_text(seconds: float | None) -> str:
    """Return an estimated duration, rounded as in speech: `about 40 s`, `about 6 min`, `about 1 h 20 min`."""
    if seconds is None:
        return "an unknown time"
    if seconds < MIN_MINUTES_S:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h {rest} min" if hours else f"about {minutes} min"


def cost_lines(frames: FramePlan) -> Iterator[tuple[str, str]]:
    """Yield the cost of each task that looks at frames, as text: sessions, tokens, replies."""
    captions, localization = frames.checks.captions, frames.checks.localization
    text = _cost_text(frames.index)
    if frames.index.text_generations:
        text += f", {count_text(frames.index.text_generations, 'reply')} for chapters and summary"
    yield "captions", f"{text}; captions are {_checks_text(verified=captions.verify, refined=captions.refine)}"
    yield "ask", f"{_cost_text(frames.ask)}; a warm session is reused"
    checks = _checks_text(verified=localization.verify, refined=localization.refine)
    per_occurrence = _cost_text(frames.occurrence)
    yield "locate", f"{_cost_text(frames.locate)}, and {per_occurrence} per occurrence; occurrences are {checks}"


def _cost_text(cost: "Cost") -> str:
    about = "" if cost.is_exact else "about "
    sessions, replies = count_text(cost.sessions, "session"), count_text(cost.generations, "reply")
    tokens = f"{about}{cost.prompt_tokens:,} prompt tokens"
    return f"{about}{sessions}, {tokens}, {about}{replies}, {_seconds_text(cost.seconds)}{_server_text(cost)}"


def _seconds_text(seconds: float | None) -> str:
    return "at an unknown speed" if seconds is None else f"about {seconds:.1f} s"


def _checks_text(**checks: bool) -> str:
    return " and ".join(name if is_on else f"not {name}" for name, is_on in checks.items())
