"""The verbs that index, list, ask and search: the calls of each to the application, and its output."""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longview.app import schemas
from longview.app.cli.console import Context, command, stop
from longview.app.cli.output import printable, write_out
from longview.app.cli.params import (
    ContextTokens,
    End,
    ExistingVideo,
    Start,
    VideoArgument,
    parse_seconds,
    resolve_video,
    span_text,
    warn_if_incomplete,
)
from longview.app.doctor import examine
from longview.app.errors import EXPECTED_ERRORS, BadRequest, OutputFailed
from longview.app.runtime import plan_fields
from longview.app.service import NO_CAPTIONS, NO_EVENTS, ChatTurn, Moment, PlanReport
from longview.indexing.library import VideoEntry
from longview.video.time_text import format_clock, format_time

if TYPE_CHECKING:
    from longview.model.tasks.costs import Cost

log = logging.getLogger(__name__)


@command("json", "model", "decoding", "index-checks")
def index(
    context: Context,
    paths: Annotated[list[Path], typer.Argument(help="Video files.")],
    start: Start = None,
    end: End = None,
    context_tokens: ContextTokens = None,
) -> None:
    """Caption videos and add them to the library.

    Example: longview index holiday.mp4
    """
    start_s, end_s = parse_seconds(start), parse_seconds(end)
    documents: list[schemas.IndexedVideoOut | schemas.FailedVideoOut] = []
    lines: list[str] = []
    failures: list[Exception] = []
    context.print_notice()
    for path in paths:
        try:
            # This process ends after the last file, so no question will need the sessions.
            options: dict[str, Any] = {"start_s": start_s, "end_s": end_s, "context_tokens": context_tokens}
            result = context.follow(context.app.index(path, **options, keep_sessions=False))
        except EXPECTED_ERRORS as error:
            failures.append(error)
            documents.append(schemas.FailedVideoOut(path=str(path), error=schemas.ErrorOut.of(error)))
            lines.append(f"failed: {error}")
            continue
        row = schemas.IndexedVideoOut.of(result)
        documents.append(row)
        spent = f"{_count(row.events, 'event')} in {row.seconds_spent} s"
        lines.append(f"{row.video_id}  {format_time(row.duration_s)}  {spent}  {printable(row.path)}")
        if row.incomplete and not row.events:
            lines.append(f"{row.video_id}  {NO_CAPTIONS}")
    if failures and len(paths) == 1:
        raise failures[0]
    context.print_result(schemas.IndexDocument(videos=documents, notice=context.app.checkpoint.notice), "\n".join(lines))
    if failures:
        raise typer.Exit(1)


@command("json", "model")
def list_(context: Context) -> None:
    """Show the videos of the library.

    Example: longview list
    """
    entries = context.app.videos()
    rows = [schemas.VideoOut.of(entry, is_outdated=context.app.is_outdated(entry)) for entry in entries]
    lines = (
        f"{entry.video_id}  {format_time(entry.duration_s):>10}  {entry.caption_count:>4} events  {entry.title}"
        + ("" if entry.span.duration_s >= entry.duration_s - 0.1 else f"  (only {span_text(entry.span)})")
        + ("  (outdated, re-index)" if row.outdated else "")
        for entry, row in zip(entries, rows, strict=True)
    )
    context.print_result(
        schemas.ListDocument(videos=rows), "\n".join(lines) or "The library is empty; add a video with `longview index FILE`."
    )


@command("json")
def remove(context: Context, video: ExistingVideo) -> None:
    """Remove a video from the library; its file stays.

    Example: longview remove 3f2a
    """
    entry = context.app.video(video)
    context.app.remove(entry)
    context.print_result(
        schemas.RemoveDocument(video_id=entry.video_id, path=str(entry.path)),
        f"Removed {entry.title} from the library; its file {printable(str(entry.path))} is unchanged.",
    )


@command("json", "model", "key-frames", "index-checks")
def plan(
    context: Context,
    video: ExistingVideo,
    start: Start = None,
    end: End = None,
    context_tokens: ContextTokens = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames per second.", show_default=False)] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Maximum number of frames.", show_default=False)] = None,
) -> None:
    """Show which frames a question would need, and what each task would cost.

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
    key_frames_only = context.app.settings.key_frames_only
    document = schemas.PlanDocument(
        **plan_fields(report.plan),
        estimated_seconds=schemas.rounded(report.ask.seconds),
        estimated_bytes=report.estimated_bytes,
        costs=schemas.CostsOut.of(report),
        video=schemas.video_fields(report.video),
        key_frames_only=key_frames_only,
        checkpoint=context.app.checkpoint.identity,
        notice=context.app.checkpoint.notice,
    )
    text = (
        f"{_count(document.frames, 'frame')} of {document.width}x{document.height} in {_count(len(document.windows), 'window')}, "
        f"one every {report.plan.patch_period_s / 2:.2f} s\n"
        f"{document.total_tokens} tokens: {document.visual_tokens} visual, {document.timestamp_tokens} for timestamps, "
        f"the rest for question and reply; at most {max(report.plan.window_tokens)} in one window\n"
        f"Times are accurate to {document.patch_period_s:.2f} s. Frames that stay on screen are decoded once.\n"
        f"Estimated memory on device {context.app.device}: {report.estimated_bytes / 1e9:.1f} GB.\n\n"
        + "\n".join(f"{name:8} {cost}" for name, cost in cost_lines(report))
    )
    if key_frames_only:
        text += "\nWith --key-frames-only, only the key frames among these are decoded; events between two key frames are missed."
    context.print_result(document, text)


def cost_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Yield the name and the cost of each task, as text."""
    captions, localization = report.checks.captions, report.checks.localization
    yield "ask", f"{_cost_text(report.ask)}; a warm session is reused"
    index = _cost_text(report.index)
    if report.index.text_generations:
        index += f", {_count(report.index.text_generations, 'reply')} for chapters and summary"
    yield "index", f"{index}; captions are {_checks_text(verified=captions.verify, refined=captions.refine)}"
    checks = _checks_text(verified=localization.verify, refined=localization.refine)
    per_occurrence = _cost_text(report.occurrence)
    yield "locate", f"{_cost_text(report.locate)}, and {per_occurrence} per occurrence; occurrences are {checks}"


def _cost_text(cost: "Cost") -> str:
    about = "" if cost.is_exact else "about "
    duration = "at an unknown speed" if cost.seconds is None else f"about {cost.seconds:.1f} s"
    return f"{about}{_count(cost.sessions, 'session')}, {about}{_count(cost.generations, 'reply')}, {duration}"


def _count(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"


def _checks_text(**checks: bool) -> str:
    return " and ".join(name if is_on else f"not {name}" for name, is_on in checks.items())


@command("json", "model", "decoding")
def caption(context: Context, video: VideoArgument) -> None:
    """Print a video's captions.

    Example: longview caption 3f2a
    """
    entry = resolve_video(context, video)
    is_outdated = context.app.is_outdated(entry)
    warn_if_incomplete(entry)
    if is_outdated:
        log.warning("These captions are outdated (made by %s); index the video again to renew them.", entry.provenance.checkpoint)
    context.print_notice()
    document = schemas.CaptionDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        events=schemas.EventOut.of_events(item.event for item in context.app.captions(entry)),
        outdated=is_outdated,
        incomplete=[schemas.SpanOut.of(span) for span in entry.incomplete],
        provenance=schemas.ProvenanceOut.of(entry.provenance),
        notice=context.app.checkpoint.notice,
    )
    text = "\n".join(f"{event.start} - {event.end}  {event.text}" for event in document.events)
    context.print_result(document, text or (NO_CAPTIONS if entry.incomplete else NO_EVENTS))


@command("json", "model", "decoding")
def chapters(context: Context, video: VideoArgument) -> None:
    """Print a video's chapters, in YouTube's form, and a summary.

    Example: longview chapters 3f2a
    """
    entry = resolve_video(context, video)
    warn_if_incomplete(entry)
    context.print_notice()
    document = schemas.ChaptersDocument(
        video_id=entry.video_id,
        duration_s=round(entry.duration_s, 3),
        summary=entry.summary,
        chapters=[schemas.ChapterOut(**schemas.SpanOut.fields_of(item.span), title=item.text) for item in entry.chapters],
        provenance=schemas.ProvenanceOut.of(entry.provenance),
        notice=context.app.checkpoint.notice,
    )
    lines = [f"{format_clock(chapter.span.start_s)} {chapter.text}" for chapter in entry.chapters]
    if not entry.summary:
        lines = ["There are no chapters: the video has no captions, or an early version of Longview indexed it. Index it again."]
    context.print_result(document, "\n".join([*lines, "", entry.summary]).strip())


@command("json", "model", "decoding")
def locate(context: Context, video: VideoArgument, query: Annotated[str, typer.Argument(help="What to find.")]) -> None:
    """Find all occurrences of a query, or report its absence.

    Example: longview locate 3f2a "a red circle"
    """
    entry = resolve_video(context, video)
    result = context.follow(context.app.locate(entry, query))
    context.print_notice()
    document = schemas.LocateDocument.of(
        query, entry.video_id, result, context.app.provenance(result.plan), context.app.checkpoint.notice
    )
    lines = [
        f"{span_text(item.span)}  (start and end ±{item.uncertainty_s:.1f} s{'' if item.is_verified else ', not verified'})"
        for item in result.occurrences
    ]
    context.print_result(document, "\n".join(lines) or result.describe_absence(query))


@command("json", "model", "decoding", "ask-checks")
def ask(
    context: Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VIDEO...] [QUESTION]", help="Videos, then the question; without a video, the whole library."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Read questions line by line and keep the videos loaded between them.")
    ] = False,
) -> None:
    """Ask about one video, several videos, or the whole library.

    Example: longview ask 3f2a "What happens at 0:42?"
    """
    words = words or []
    if not words and not interactive:
        raise typer.BadParameter("the question is missing; add it after the videos, or use --interactive.")
    videos, question = (words, None) if interactive else (words[:-1], words[-1])
    if question is not None and not question.strip():
        raise BadRequest("The question is empty; ask something about the video.")
    if question is not None and not videos and len(question.split()) < 2:
        raise BadRequest(
            f'“{question}” is not a question of two words or more; write: longview ask VIDEO "What happens at 0:20?"'
        )
    entries = [resolve_video(context, video) for video in videos]
    if question is not None:
        document, text = _answer(context, entries, question)
        context.print_result(document, text)
        context.print_notice()
        return
    context.print_notice()
    documents: list[schemas.AskDocument | schemas.FailedAnswerOut] = []
    history: list[ChatTurn] = []
    try:
        for line in _read_questions():
            try:
                answer, text = _answer(context, entries, line, history=history)
                history.append(ChatTurn(line, answer.answer))
                documents.append(answer)
            except EXPECTED_ERRORS as error:
                if isinstance(error, OutputFailed):
                    raise
                # One question that cannot be answered does not end the conversation.
                documents.append(schemas.FailedAnswerOut(question=line, error=schemas.ErrorOut.of(error)))
                text = str(error)
            if not context.as_json:
                write_out(text + "\n")
    except KeyboardInterrupt:
        if context.as_json:
            # The answers so far are printed.
            context.print_result(schemas.ConversationDocument(answers=documents), "")
        stop(as_json=False)
    if context.as_json:
        context.print_result(schemas.ConversationDocument(answers=documents), "")


def _read_questions() -> Iterator[str]:
    """Yield lines from the terminal or a pipe until its end, without the empty ones."""
    while True:
        try:
            line = input("? " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield line


def _answer(
    context: Context, entries: Sequence[VideoEntry], question: str, *, history: Sequence[ChatTurn] = ()
) -> tuple[schemas.AskDocument, str]:
    """Answer one question, and print the pieces of the answer for people. Return the document and the text still to print."""
    answer = context.follow(context.app.ask(entries, question, history=history))
    verified = context.app.checks.answers.verify
    document = schemas.AskDocument.of(question, answer, verified=verified, notice=context.app.checkpoint.notice)
    several = len({item.video_id for item in answer.citations}) > 1
    evidence = ", ".join((f"{item.video_id} " if several else "") + span_text(item.span) for item in answer.citations)
    return document, f"\n[evidence: {evidence}]" if evidence else ""


@command("json", "model", "decoding", "search-checks")
def search(
    context: Context,
    query: Annotated[str, typer.Argument(help="What to search for, in any of 16 languages.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of moments.")] = 10,
    video: Annotated[str | None, typer.Option(help="Search only this video.", show_default=False)] = None,
) -> None:
    """Search the captions of the whole library.

    Example: longview search "red circle"
    """
    video_id = resolve_video(context, video).video_id if video else None
    results = context.follow(context.app.search(query, limit=limit, video=video_id))
    context.print_notice()
    lines = [_moment_line(moment) for moment in results.accepted]
    if results.rejected:
        lines.append(
            f"{_count(len(results.rejected), 'result')} hidden: verification did not confirm the caption (see --no-verify)."
        )
    if results.unverified_count and context.app.settings.search_verify is not False:
        lines.append("Some results are not verified; --verify verifies all of them.")
    document = schemas.SearchDocument(
        query=query,
        moments=[schemas.MomentOut.of_moment(moment) for moment in (*results.accepted, *results.rejected)],
        rejected=len(results.rejected),
        notice=context.app.checkpoint.notice,
    )
    where = " in this video" if video else " in the library"
    context.print_result(document, "\n".join(lines) or f"No caption{where} matches “{query}”.")


def _moment_line(moment: Moment) -> str:
    note = "" if moment.verified else "  (not verified)"
    return f"{moment.score:.2f}  {span_text(moment.span)}  {moment.text}  [{moment.title}, {moment.video_id}]{note}"


@command("json", "model")
def doctor(context: Context) -> None:
    """Check this installation and report problems.

    Example: longview doctor
    """
    diagnosis = examine(context.app)
    lines = [f"{name}: {value}" for name, value in diagnosis.facts.items()]
    lines += [f"PROBLEM: {problem}" for problem in diagnosis.problems] or ["No problems found."]
    context.print_result(schemas.DoctorDocument(**diagnosis.facts, problems=list(diagnosis.problems)), "\n".join(lines))
    if diagnosis.problems:
        raise typer.Exit(1)
